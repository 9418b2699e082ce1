# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of the lab's machines: start, wait for SSH, name, take offline, stop."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from . import emulator, host, images, kept, network, qemu, ssh, state
from .paths import LabError, locked
from .progress import Progress, tail
from .state import Machine

# An emulated machine on a busy host; a healthy one takes a tenth of this.
BOOT_SECONDS = 600


def up(names: Sequence[str], kind: str, memory: int, internet: bool, resume: bool) -> None:
    """Have these machines running and reachable; those that already are stay as they are.

    With ``resume`` an emulated machine goes on from the state that it booted to before, or has it kept now.
    If anything fails or the caller is interrupted, the machines this call started are gone again.
    """
    for name in names:
        state.checked_name(name)
    host.check()
    absent = [name for name in dict.fromkeys(names) if not _is_up(name)]
    image = images.build(kind) if absent else None
    program = emulator.command(host.acceleration()) if absent else []
    started: list[Machine] = []
    states: dict[str, Path] = {}
    try:
        for name in absent:
            assert image is not None
            started.append(_create(name, image, memory, internet))
            if resume and started[-1].acceleration == "tcg":
                states[name] = kept.place(program, started[-1], image, host.acceleration())
            started[-1] = _power_on(started[-1], image, program, states.get(name))
        for machine in started:
            _wait(machine)
        for machine in started:
            if machine.name in states:
                kept.use(machine, states[machine.name])
    except BaseException as error:
        for machine in started:
            _discard(machine.name)
        if isinstance(error, LabError):  # whatever is wrong, the next attempt boots
            kept.forget(states)
        raise
    _tell_names()


def _is_up(name: str) -> bool:
    machine = state.load(name)
    return machine is not None and machine.ready and machine.running()


def _create(name: str, image: images.Image, memory: int, internet: bool) -> Machine:
    """Record a new machine, with a number and a port of its own, in place of a dead one."""
    with locked("machines"):
        old = state.load(name)
        if old is not None:
            old.discard()
        others = state.load_all()
        machine = Machine(
            name=name,
            image=image.name,
            number=old.number if old else network.free_number({other.number for other in others}),
            ssh_port=_free_port({other.ssh_port for other in others}),
            memory=memory,
            internet=internet,
            acceleration=host.acceleration().name,
        )
        shutil.rmtree(machine.directory, ignore_errors=True)
        machine.save()
        return machine


def _free_port(used: set[int]) -> int:
    while (port := network.free_port()) in used:
        pass
    return port


def _power_on(machine: Machine, image: images.Image, program: Sequence[str], booted: Path | None) -> Machine:
    """Start QEMU: from the state that the machine booted to before, if there is one, or with a new disk."""
    command = qemu.command_line(program, machine, image, host.acceleration(), ssh.public_key(), state.segment_port())
    if booted is not None and booted.is_dir():
        command += kept.lay_out(booted, machine)
    else:
        qemu.create_disk(machine, image)
    running = dataclasses.replace(machine, process=qemu.start(command, machine.directory))
    running.save()
    return running


def _wait(machine: Machine) -> None:
    """Wait until the machine takes an SSH login; raise LabError with its console if it does not."""
    console = machine.directory / "console.log"
    with Progress(f"{machine.name} boots ({machine.acceleration})") as progress:
        deadline = time.monotonic() + BOOT_SECONDS
        while not ssh.answers(machine):
            if not machine.running():
                raise LabError(f"{machine.name}: QEMU ended\n" + _evidence(machine))
            if time.monotonic() > deadline:
                raise LabError(f"{machine.name}: no SSH within {BOOT_SECONDS} s\n" + _evidence(machine))
            progress.show(tail(console))
            time.sleep(0.5)
        if machine.internet:
            ssh.run(machine, f"echo nameserver {network.INTERNET_DNS} > /etc/resolv.conf")
        dataclasses.replace(machine, ready=True).save()
        progress.done(f"{machine.name} is up: {machine.address}, ssh port {machine.ssh_port}")


def _evidence(machine: Machine) -> str:
    lines = tail(machine.directory / "console.log", 20) + tail(machine.directory / "qemu.log", 5)
    return "\n".join(f"  | {line}" for line in lines)


def _tell_names() -> None:
    """Write /etc/hosts of every machine that is ready."""
    with locked("names"):
        ready = [machine for machine in state.load_all() if machine.ready and machine.running()]
        addresses = {machine.name: machine.address for machine in ready}
        for machine in ready:
            text = network.hosts_file(machine.name, addresses)
            # In place: a mount or an open editor on the machine keeps seeing the same file.
            ssh.run(machine, f"echo {machine.name} > /etc/hostname; cat > /etc/hosts", stdin=text)


def offline(names: Sequence[str]) -> None:
    """Cut the machines' way out, for good; SSH and the segment stay."""
    for name in names:
        machine = state.require(name)
        if machine.internet:
            ssh.run(machine, ": > /etc/resolv.conf")
            qemu.command(machine.directory, "set_link", name=network.INTERNET_LINK, up=False)
            dataclasses.replace(machine, internet=False).save()


def down(names: Sequence[str]) -> list[str]:
    """Stop these machines, or all, and remove their disks; return the names of those there were."""
    known = names or [path.name for path in sorted(state.machines_dir().glob("*")) if path.is_dir()]
    gone = [name for name in known if _discard(name)]
    _tell_names()
    return gone


def _discard(name: str) -> bool:
    with locked("machines"):
        machine = state.load(name)
        if machine is not None:
            machine.discard()
        return machine is not None
