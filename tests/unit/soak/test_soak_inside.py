# SPDX-License-Identifier: GPL-3.0-or-later
"""What is seen of a node: VMs, what is broken, and what was left of VMs on it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.soak import inside

UUID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A worker node with nothing on it, whose programs print nothing."""
    for name in ("RUN", "EXECUTE", "CONSOLES", "FACTORIES", "MACHINETYPES"):
        place = tmp_path / name
        place.mkdir()
        monkeypatch.setattr(inside, name, place)
    for name in ("leases", "watch", "http"):
        (tmp_path / "RUN" / name).mkdir()
    (tmp_path / "RUN" / "lock").touch()
    monkeypatch.setattr(inside, "is_worker", lambda: True)
    monkeypatch.setattr(inside, "run", lambda *argv: "")
    return tmp_path


def test_on_a_clean_node_nothing_is_left(node: Path) -> None:
    (node / "EXECUTE" / "dir_17.recover").touch()
    assert inside.left() == {}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (f"RUN/leases/{UUID}.json", "lease"),
        (f"RUN/leases/.{UUID}.json.abc", "lease"),
        ("RUN/http/192.168.86.10", "nginx directory"),
        (f"RUN/watch/{UUID}.json", "watch's file"),
        ("RUN/shutdowntime", "file of the run directory"),
        ("EXECUTE/dir_17", "sandbox"),
        (f"CONSOLES/vac-{UUID}.console", "console"),
    ],
)
def test_what_is_left_of_a_vm(node: Path, path: str, kind: str) -> None:
    (node / path).touch()
    assert inside.left() == {kind: [Path(path).name]}


def test_what_programs_show_of_a_vm(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = {
        "ps": "PID ELAPSED COMMAND\n  7   12 /usr/bin/qemu-system-x86_64 -name guest=vac\n  8 3 sleep 600\n",
        "virsh": "vac_head.lab_1.0\n",
        "ip": "3: vnet7: <BROADCAST>\n",
    }
    monkeypatch.setattr(inside, "run", lambda *argv: printed.get(argv[0], ""))
    assert inside.left() == {
        "process": ["7 12 /usr/bin/qemu-system-x86_64 -name guest=vac"],
        "domain": ["vac_head.lab_1.0"],
        "address filter": ["vac_head.lab_1.0"],
        "network device": ["vnet7"],
    }


def test_vms_by_their_leases(node: Path) -> None:
    (node / f"RUN/leases/{UUID}.json").write_text(json.dumps({"domain": "vac_head.lab_17.3"}))
    (node / "RUN/leases/damaged.json").write_text("{")
    assert inside.leases() == {UUID: "17.3"}


def watch(monkeypatch: pytest.MonkeyPatch, result: str, age: float, said: str = "") -> list[str]:
    """What is wrong with vac_watch whose last run began so long ago and ended so."""
    began = int((time.clock_gettime(time.CLOCK_MONOTONIC) - age) * 1e6)
    shown = {"systemctl": f"Result={result}\nExecMainStartTimestampMonotonic={began}\n", "journalctl": said}
    monkeypatch.setattr(inside, "run", lambda *argv: shown[argv[0]])
    return inside.watch_trouble()


def test_a_run_of_vac_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = "vac_watch: vac_1.0: the job's starter at 127.0.0.1:1: no answer within 10 s\n"
    assert watch(monkeypatch, "success", 5) == []
    assert watch(monkeypatch, "success", 100) == ["vac_watch: its last run began too long ago"]
    assert watch(monkeypatch, "exit-code", 5, silent) == []
    assert watch(monkeypatch, "exit-code", 5, f"{silent}vac_watch: x: not a lease\n") == ["vac_watch: x: not a lease"]


def test_a_program_that_fails_or_hangs_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*argv: str) -> str:
        raise subprocess.CalledProcessError(1, argv, stderr="cannot\nconnect")

    monkeypatch.setattr(inside, "run", run)
    broken: list[str] = []
    assert inside.tried("libvirt", broken, "virsh") == ""
    assert broken == ["libvirt: cannot connect"]


@pytest.mark.parametrize(
    ("last", "trouble"),
    [
        ({"error": None, "time": 0}, ""),
        ({"error": "the schedd does not answer", "time": 0}, "the schedd does not answer"),
        ({"error": None, "time": -900}, "its last cycle was 9"),
        ({}, "KeyError"),
        (None, "TypeError"),
    ],
)
def test_a_factorys_state(node: Path, last: Any, trouble: str) -> None:
    path = node / "FACTORIES" / "work" / "state.json"
    path.parent.mkdir()
    # The times are seconds from now, which is when the test runs.
    if last and "time" in last:
        last = {**last, "time": time.time() + last["time"]}
    path.write_text(json.dumps({"last": last}))
    found = inside.factory_trouble(path)
    assert (not found) if not trouble else trouble in found[0]
