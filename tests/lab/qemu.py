# SPDX-License-Identifier: GPL-3.0-or-later
"""QEMU: the command line of a machine, its start, and the few QMP commands the lab gives it."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import images, network
from .host import Acceleration
from .images import Image
from .paths import CHECKOUT, LabError
from .progress import tail
from .state import Node, Process

# Mitigations make an emulated processor far slower and protect nothing on a throw-away machine.
DISK = "disk.qcow2"
_KERNEL = "root=/dev/nvme0n1 rw console=ttyS0 mitigations=off nokaslr audit=0 systemd.show_status=1"


def machine_id(name: str) -> str:
    """Return the machine's id: the same for a name in this checkout, different for two machines."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{CHECKOUT.as_uri()}#{name}").hex


def _credential(name: str, text: str) -> str:
    return f"io.systemd.credential.binary:{name}={base64.b64encode(text.encode()).decode()}"


def command_line(
    program: Sequence[str], machine: Node, image: Image, accel: Acceleration, public_key: str, segment_port: int
) -> list[str]:
    """Return the command that runs the machine; it must be started in the machine's directory.

    `program` is the words that start QEMU.
    systemd takes key and address from SMBIOS strings, so the disk needs no change before it boots.
    """
    identity = f"systemd.hostname={machine.name} systemd.machine_id={machine_id(machine.name)}"
    credentials = ",".join([
        "value=" + _credential("ssh.authorized_keys.root", public_key),
        "value=" + _credential(
            "network.network.10-lab-segment", network.segment_unit(network.SEGMENT_DEVICE, machine.number)
        ),
    ])  # fmt: skip
    return [
        *program,
        "-name", f"lab-{machine.name}", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc",
        *accel.arguments, "-smp", str(accel.processors), "-m", str(machine.memory),
        "-uuid", str(uuid.UUID(machine_id(machine.name))),
        "-kernel", str(image.kernel), "-append", f"{_KERNEL} {identity}", "-smbios", f"type=11,{credentials}",
        "-drive", f"if=none,id=root,file={DISK},format=qcow2,cache=unsafe,discard=unmap,detect-zeroes=unmap",
        "-device", "nvme,drive=root,serial=lab,addr=0x6",
        *network.devices(machine.number, machine.ssh_port or 0, segment_port, machine.internet),
        "-device", "virtio-rng-pci", "-serial", "file:console.log", "-qmp", "unix:qmp.sock,server=on,wait=off",
    ]  # fmt: skip


def create_disk(machine: Node, image: Image) -> None:
    """Make the machine's own disk, an empty layer over the image."""
    images.build_disk(image)
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image.disk), DISK]
    done = subprocess.run(command, cwd=machine.directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"cannot make the disk of {machine.name}: {done.stderr.strip()}")


def start(command: list[str], directory: Path) -> Process:
    """Start QEMU in the background, detached from the caller's terminal, and return its process.

    Raises LabError with QEMU's own words if it ends at once.
    """
    log = directory / "qemu.log"
    with open(log, "w", encoding="utf-8") as stream:
        child = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    process = Process.of(child.pid)
    try:
        child.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        return process
    raise LabError("QEMU ended at once: " + " ".join(tail(log, 5)))


def command(directory: Path, execute: str, **parameters: Any) -> Any:
    """Give a running machine one QMP command and return its answer; raises LabError if refused."""
    with _connect(directory) as stream:
        json.loads(stream.readline())
        for request in ({"execute": "qmp_capabilities"}, {"execute": execute, "arguments": parameters}):
            stream.write(json.dumps(request).encode() + b"\n")
            stream.flush()
            answer = _answer(stream)
    return answer


def _connect(directory: Path) -> Any:
    # Through the directory's descriptor: a socket's path has room for 107 bytes only.
    handle = os.open(directory, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(10)
            link.connect(f"/proc/self/fd/{handle}/qmp.sock")
            return link.makefile("rwb")
    except OSError as error:
        raise LabError(f"no answer from QEMU in {directory}: {error}") from error
    finally:
        os.close(handle)


def _answer(stream: Any) -> Any:
    while True:
        message = json.loads(stream.readline())
        if "error" in message:
            raise LabError(f"QEMU refused: {message['error'].get('desc')}")
        if "return" in message:
            return message["return"]
