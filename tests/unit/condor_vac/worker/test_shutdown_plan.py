# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac shutdowntime``: what an administrator plans, and what it refuses."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from condor_vac.base.errors import VacError
from condor_vac.cli import dispatch
from condor_vac.worker import shutdown_plan
from tests.unit.condor_vac.worker.conftest import Node


def command(*words: str) -> int:
    return dispatch.main(["shutdowntime", *words])


def test_set_show_cancel(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("show") == 1
    before = int(time.time())
    assert command("set", "+3600") == 0
    planned = shutdown_plan.planned(node.store.run_directory)
    assert planned is not None
    assert before + 3600 <= planned <= time.time() + 3600
    capsys.readouterr()
    assert command("--json", "show") == 0
    assert json.loads(capsys.readouterr().out) == {"shutdowntime": planned}
    assert command("set", "4000000000") == 0
    assert shutdown_plan.planned(node.store.run_directory) == 4000000000
    for _ in range(2):
        assert command("cancel") == 0
    assert shutdown_plan.planned(node.store.run_directory) is None


@pytest.mark.parametrize("word", ["3600", "tomorrow", "-5", "+", "", "1e9", "0x10", "9999999999999"])
def test_times_that_make_no_sense(node: Node, word: str) -> None:
    with pytest.raises(SystemExit) as caught:
        command("set", word)
    assert caught.value.code == 2
    assert shutdown_plan.planned(node.store.run_directory) is None


@pytest.mark.parametrize("text", ["", "soon", "12 34", "-1", "1" * 100])
def test_a_file_that_holds_no_time(node: Node, text: str) -> None:
    Path(node.store.run_directory).mkdir()
    Path(node.store.run_directory, "shutdowntime").write_text(text)
    with pytest.raises(VacError, match="shutdowntime"):
        shutdown_plan.planned(node.store.run_directory)


@pytest.mark.parametrize("words", [["show"], ["set", "+3600"], ["cancel"]])
def test_only_a_worker_node_has_a_planned_shutdown(
    words: list[str], node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    (node.base / "worker.json").unlink()
    assert command(*words) == 2
    assert "worker.json: does not exist: this machine is not a worker node; run this on one" in capsys.readouterr().err
    assert shutdown_plan.planned(node.store.run_directory) is None
    # Settings that are wrong do not keep an administrator from a shutdown.
    (node.base / "worker.json").write_text("{")
    assert command("set", "+3600") == 0
