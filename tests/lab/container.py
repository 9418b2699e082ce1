# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as a systemd-nspawn container: what it boots with, its start, its power cut.

The container has the image's tree below an overlay, a link to the lab's bridge, and a unix socket for SSH that the
tree's systemd (256 or later) makes by itself, so that it can be reached before and without its network. Seen:
what this needs of /sys, and no more, is write access to its own network devices (libvirt isolates bridge ports).
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from . import host, images, network, qemu
from .inside import BRIDGE, nspawn, overlay
from .paths import LabError, as_root
from .progress import tail
from .space import Space, step
from .state import Node, Process

CONSOLE = "console.log"
KVM = "kvm"
_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
# For what hangs: on a host with a hundred busy processes half a minute was too little.
_KILL_SECONDS = 600
_NETWORK_DEVICES = """[Unit]
Description=Own network devices can be set up
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=mount --bind /sys/devices/virtual/net /sys/devices/virtual/net
ExecStart=mount -o remount,rw /sys/devices/virtual/net
"""
# Without udev libvirt's driver of devices now and then does not notice that the daemon ends, which then takes 30 s; VMs
# live on whatever ends it.
_LIBVIRTD = """\
[Service]
TimeoutStopSec=3
"""


def files(node: Node, public_key: str, addresses: dict[str, str]) -> dict[str, str]:
    """What makes the tree this node, path to text."""
    return {
        "/root/.ssh/authorized_keys": public_key,
        "/etc/hostname": f"{node.name}\n",
        "/etc/hosts": network.hosts_file(node.name, addresses),
        "/etc/machine-id": f"{qemu.machine_id(node.name)}\n",
        "/etc/fstab": "",
        "/etc/systemd/network/05-lab-segment.network": network.segment_unit("Name=host0", node.number),
        "/etc/systemd/system/libvirtd.service.d/lab.conf": _LIBVIRTD,
        "/etc/systemd/system/lab-network-devices.service": _NETWORK_DEVICES,
        "/etc/systemd/system/sysinit.target.d/lab.conf": "[Unit]\nWants=lab-network-devices.service\n",
        # A login needs none, and all containers share the host's inotify instances (128), of which one takes three.
        "/etc/systemd/system/user@.service.d/lab.conf": "[Unit]\nConditionVirtualization=!container\n",
    }


def start(node: Node, public_key: str, addresses: dict[str, str]) -> Process:
    """Boot the container; returns the process that lives as long as it does. Raises LabError.

    ``addresses``: name to address of the lab's nodes.
    """
    space, place = Space(), node.directory
    for name in ("up", "work", "merged", "export"):
        (place / name).mkdir(parents=True, exist_ok=True)
    (place / "export").chmod(0o700)
    image = images.Image(node.image)
    lower = [image.root] if node.layer is None else [Path(node.layer), image.root]
    spec = {
        "cgroup": space.cgroup_of(node.name),
        "merged": str(place / "merged"),
        "overlay": overlay(place, lower),
        "files": files(node, public_key, addresses),
        "argv": arguments(node),
        "link": f"vb-{node.name}",
        "kvm": str(place / KVM) if host.acceleration().name == "kvm" else None,
    }
    with open(place / CONSOLE, "a", encoding="utf-8") as console:
        child = subprocess.Popen(
            space.command(*step("boot")),
            stdin=subprocess.PIPE,
            stdout=console,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    process = Process.of(child.pid)
    assert child.stdin is not None
    with child.stdin as stdin:
        stdin.write(json.dumps(spec))
    return process


def arguments(node: Node) -> list[str]:
    """The words that boot the container."""
    words = [*nspawn(node.name, node.directory / "merged"), f"--hostname={node.name}", "--boot"]
    words += [f"--network-bridge={BRIDGE}", f"--bind={node.directory / 'export'}:/run/host/unix-export"]
    # A host that virtualises lends its KVM, by a device of the node's own whose mode it may change; elsewhere the role
    # makes what HTCondor looks for.
    return [*words, f"--bind={node.directory / KVM}:/dev/kvm"] if host.acceleration().name == "kvm" else words


def cut(node: Node) -> None:
    """Cut the power: every process of the container is gone, its files stay. Raises LabError."""
    _kill(node, {})


def discard(node: Node) -> None:
    """Have nothing left of the container."""
    if Space().holder() is not None:
        _kill(node, {"merged": str(node.directory / "merged")})
    subprocess.run(as_root("rm", "-rf", "--one-file-system", str(node.directory)), check=True)


def unmount(node: Node) -> Path:
    """Unmount the tree of a container that is off; returns the directory with what it changed."""
    _kill(node, {"merged": str(node.directory / "merged")})
    return node.directory / "up"


def _kill(node: Node, more: dict[str, Any]) -> None:
    space = Space()
    spec = {"cgroup": space.cgroup_of(node.name), "seconds": _KILL_SECONDS, **more}
    space.call("kill", spec)
    if node.process is not None and node.process.alive():
        # It was not yet in its cgroup, or has entered it since.
        node.process.stop()
        space.call("kill", spec)


def evidence(node: Node) -> str:
    """The end of the container's console; a systemd that gets no inotify instance ends with 255 and prints nothing."""
    printed = tail(node.directory / CONSOLE, 20)
    if printed and printed[-1].endswith("ended with 255"):
        number = _INOTIFY.read_text("utf-8").strip()
        printed.append(f"the host's limit of inotify instances ({number}, {_INOTIFY}) may be used up: run fewer nodes")
    return "\n".join(f"  | {line}" for line in printed)


def check_image(image: images.Image) -> None:
    """Raise LabError if the image's systemd has no SSH over a unix socket."""
    if not (image.root / "usr/lib/systemd/system-generators/systemd-ssh-generator").exists():
        raise LabError(f"image {image.name}: its systemd is older than 256, which makes SSH over a unix socket")
