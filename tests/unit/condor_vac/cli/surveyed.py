# SPDX-License-Identifier: GPL-3.0-or-later
"""An access point with one machinetype, as status, machines and explain find it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from condor_vac.cli.dispatch import main
from condor_vac.factory import state as factory_state
from condor_vac.factory.state import State
from tests.unit.condor_vac.standins import NOW, StandInPool, factory_ad, machinetype

LAST: dict[str, Any] = {
    "time": NOW - 30, "cycle_seconds": 60, "error": None, "submit": 2, "reasons": ["No work for 600 s."],
    "numbers": {"allowed_unproven": 2, "probe_interval_seconds": 900.0},
}  # fmt: skip
SLOT = {"Machine": "wn1", "HasVM": True, "VM_AvailNum": 8, "VM_Memory": 1 << 20, "Cpus": 8, "Memory": 65536}


class Site:
    """A machinetype's file, its factory's state and a pool."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.types = path / "machinetypes"
        self.states = path / "states"
        self.types.mkdir()
        (self.states / "gridpp").mkdir(parents=True)
        self.capsys = capsys
        self.pool = StandInPool([factory_ad()])
        self.write()
        self.keep(State(last=LAST))

    def write(self, **keys: Any) -> None:
        (self.types / "gridpp.json").write_text(json.dumps(machinetype(**keys).to_mapping()))

    def keep(self, state: State) -> None:
        factory_state.save(str(self.states / "gridpp"), state)

    def run(self, *words: str) -> tuple[int, str, str]:
        code = main([*words, "--machinetypes", str(self.types), "--state", str(self.states)])
        captured = self.capsys.readouterr()
        return code, captured.out, captured.err

    def explain(self) -> tuple[int, str]:
        """Exit code, and all sentences in one text."""
        code, out, err = self.run("explain", "gridpp", "--json")
        assert not err
        report = json.loads(out)
        assert bool(report["findings"]) == bool(code)
        words = [f"{finding['what']} -> {finding['remedy']}" for finding in report["findings"]]
        return code, "\n".join([*words, *report["notes"]])
