# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac smoke``: its table, JSON and exit codes, and the causes of VMs that do not start."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from condor_vac.cli import explain, smoke
from condor_vac.cli.dispatch import main
from condor_vac.smoke import trial, vms
from condor_vac.smoke.vms import Result
from tests.unit.condor_vac.standins import StandInPool

NODES = [{"name": "wn1", "machine": "wn1.example.org", "subnet": "192.168.86.0/24", "sharing": ["http", "nfs"]},
         {"name": "wn2", "machine": "wn2.example.org", "subnet": "192.168.86.0/24", "sharing": ["nfs"]}]  # fmt: skip
SLOT = {"Machine": "wn1", "HasVM": True, "VM_AvailNum": 8, "VM_Memory": 1 << 20, "Cpus": 8, "Memory": 65536}


def results(bad: Sequence[str] = ()) -> list[Result]:
    found = []
    for number, vm in enumerate(vms.of_nodes(vms.read_nodes(json.dumps(NODES)))):
        failed = vm.name in bad
        found.append(Result(vm, not failed, None if failed else 20.0 + number, "held: no image" if failed else ""))
    return found


def test_the_table_has_a_row_for_each_node_and_a_column_for_each_check() -> None:
    assert smoke.lines(results(["smoke-1-nfs-300"]), None) == [
        "NODE  http 200  http 300  nfs 200  nfs 300",
        "wn1   ok 20 s   ok 23 s   ok 21 s  ok 24 s",
        "wn2   -         -         ok 22 s  failed",
        "wn2:  nfs 300:  held: no image",
        "6 VMs, 5 good, 1 failed",
    ]


def test_a_narrow_terminal_gets_lines_that_fit() -> None:
    found = smoke.lines(results(["smoke-1-nfs-300", "smoke-0-http-200"]), 40)
    assert max(map(len, found)) <= 40
    assert " ".join(found).count("held: no image") == 2


@pytest.mark.parametrize(("bad", "code"), [([], 0), (["smoke-0-nfs-200"], 1)])
def test_json_and_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bad: list[str], code: int
) -> None:
    (tmp_path / "nodes.json").write_text(json.dumps(NODES))
    monkeypatch.setattr(trial.Trial, "run", lambda self, image, owner, progress: results(bad))
    assert main(["smoke", "run", str(tmp_path / "nodes.json"), "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    failed = [f"{entry['node']} {entry['sharing']} {entry['code']}" for entry in found if not entry["ok"]]
    assert failed == ["wn1 nfs 200" for _ in bad]
    assert found[0] == {
        "node": "wn1", "machine": "wn1.example.org", "sharing": "http", "code": 200, "ok": True,
        "seconds": 20.0, "cause": "",
    }  # fmt: skip


def test_ctrl_c_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*words: Any) -> None:
        raise KeyboardInterrupt

    (tmp_path / "nodes.json").write_text(json.dumps(NODES))
    monkeypatch.setattr(trial.Trial, "run", stop)
    assert main(["smoke", "run", str(tmp_path / "nodes.json")]) == 1
    assert capsys.readouterr().err == "condor_vac smoke: stopped; its jobs and files are removed\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_like_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    (tmp_path / "nodes.json").write_text(json.dumps(NODES))

    def signalled(*words: Any) -> list[Result]:
        signal.raise_signal(number)
        return []

    monkeypatch.setattr(trial.Trial, "run", signalled)
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert main(["smoke", "run", str(tmp_path / "nodes.json")]) == 1
        assert capsys.readouterr().err == "condor_vac smoke: stopped; its jobs and files are removed\n"
        assert signal.getsignal(number) is signal.SIG_IGN, "it gives the signal back"
    finally:
        signal.signal(number, before)


def test_wrong_nodes_are_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smoke", "run", str(tmp_path / "absent.json")]) == 2
    (tmp_path / "nodes.json").write_text("{}")
    assert main(["smoke", "run", str(tmp_path / "nodes.json")]) == 2
    assert "must be a list of nodes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("slots", "matches", "named"),
    [
        ([], (0, 0), "no slot of wn1"),
        (
            [{"Machine": "wn1", "HasVM": False, "VMOfflineReason": "no\nlibvirt"}],
            (0, 0),
            "wn1 offers no VMs: no libvirt",
        ),
        ([SLOT], (1, 0), "suit the VM, but START accepts it on none (condor_config_val START on wn1; a clause of the"),
        ([SLOT], (0, 0), "meets the requirements of the VM (condor_status -vm wn1)"),
        ([SLOT], (1, 1), "it starts in its turn"),
    ],
)
def test_why_a_vm_waits(slots: list[dict[str, Any]], matches: tuple[int, int], named: str) -> None:
    pool: Any = StandInPool()
    pool.machines, pool.matches = slots, (*matches, [])
    why = explain.waiting("wn1", {}, "7.0", pool)
    assert named in why
    assert "7.0" not in why, "its job is removed before anybody reads this"
    pool.failing.add("slots")
    assert "slots failed" in explain.waiting("wn1", {}, "7.0", pool)
