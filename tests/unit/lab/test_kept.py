# SPDX-License-Identifier: GPL-3.0-or-later
"""The kept state of a machine: what it is good for, how it is made, and what is left when that fails."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab import kept, qemu, ssh
from tests.lab.host import Acceleration
from tests.lab.images import Image
from tests.lab.paths import LabError
from tests.lab.state import Machine

TCG = Acceleration("tcg", ("-accel", "tcg"), 1)
PROGRAM = ("qemu",)


class Qemu:
    """Answers QMP commands as a machine that writes its state does."""

    def __init__(self, states: list[dict[str, Any]]) -> None:
        self.states = states
        self.asked: list[str] = []

    def __call__(self, directory: Path, execute: str, **parameters: Any) -> Any:
        self.asked.append(execute)
        if execute == "migrate":
            Path(directory, str(parameters["uri"]).removeprefix("file:")).write_text("the memory")
        return self.states.pop(0) if execute == "query-migrate" else {}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that has booted."""
    monkeypatch.setenv("VAC_LAB_DIR", str(tmp_path))
    monkeypatch.setattr(ssh, "public_key", lambda: "ssh-ed25519 AAAA lab")
    disk = Image("prepared-1").disk
    disk.parent.mkdir(parents=True)
    disk.write_text("the image")
    made = Machine("box", "prepared-1", 11, 2222, 4096, False, "tcg")
    made.directory.mkdir(parents=True)
    (made.directory / "disk.qcow2").write_text("the layer")
    return made


def place(machine: Machine) -> Path:
    return kept.place(PROGRAM, machine, Image(machine.image), TCG)


def keep(machine: Machine, monkeypatch: pytest.MonkeyPatch, *states: str, **more: str) -> Qemu:
    answers = Qemu([{"status": status, **more} for status in states])
    monkeypatch.setattr(qemu, "command", answers)
    kept.use(machine, place(machine))
    return answers


def test_a_state_is_of_use_to_the_same_machine_whatever_its_ports(machine: Machine) -> None:
    assert place(replace(machine, ssh_port=3333, ready=True)) == place(machine)


@pytest.mark.parametrize("change", [{"memory": 2048}, {"name": "other"}, {"number": 12}, {"internet": True}])
def test_another_machine_has_another_state(machine: Machine, change: dict[str, Any]) -> None:
    assert place(replace(machine, **change)) != place(machine)


def test_an_image_that_was_built_again_or_another_qemu_has_another_state(machine: Machine) -> None:
    before = place(machine)
    assert kept.place(("qemu-12",), machine, Image(machine.image), TCG) != before
    os.utime(Image(machine.image).disk, (1, 1))
    assert place(machine) != before


def test_what_is_kept_is_what_the_next_machine_goes_on_from(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [place(machine).with_name(name) for name in (f"box-{'0' * 16}", f"box-2-{'0' * 16}", ".box-killed")]
    for other in others:
        other.mkdir(parents=True)
    answers = keep(machine, monkeypatch, "active", "completed")
    assert answers.asked[-1] == "cont"
    assert [other.is_dir() for other in others] == [False, True, False]
    (machine.directory / "disk.qcow2").unlink()
    assert kept.lay_out(place(machine), machine) == ["-incoming", "file:memory"]
    assert (machine.directory / "memory").read_text() == "the memory"
    assert (machine.directory / "disk.qcow2").read_text() == "the layer"
    assert (place(machine) / "disk.qcow2").stat().st_ino != (machine.directory / "disk.qcow2").stat().st_ino


def test_a_machine_that_goes_on_is_told_the_time(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(machine, monkeypatch, "completed")
    said: list[str] = []
    monkeypatch.setattr(ssh, "run", lambda machine, script: said.append(script))
    assert keep(machine, monkeypatch).asked == []
    assert [script.partition("=")[0] for script in said] == ["date --set"]


def test_a_state_that_cannot_be_written_is_none_and_the_machine_goes_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LabError, match=r"box: its state cannot be kept: State blocked by non-migratable device"):
        keep(machine, monkeypatch, "active", "failed", **{"error-desc": "State blocked by non-migratable device"})
    assert list(place(machine).parent.iterdir()) == []
    answers = Qemu([{"status": "cancelled"}])
    monkeypatch.setattr(qemu, "command", answers)
    with pytest.raises(LabError, match="cancelled"):
        kept.use(machine, place(machine))
    assert answers.asked[-1] == "cont"


def test_what_is_forgotten_is_gone(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(machine, monkeypatch, "completed")
    kept.forget(["boxes", "other"])
    assert place(machine).is_dir()
    kept.forget(["box"])
    assert not place(machine).exists()
