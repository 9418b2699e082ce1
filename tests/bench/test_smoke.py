# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmarks still run and their reports can be read. Figures of such sizes mean nothing.

Of those that need a lab machine only what runs on this one is tried: playbooks, programs and reports.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import decide, metrics
from tests.bench.converge import __main__ as converge
from tests.bench.factory.report import show
from tests.bench.vm_start import __main__ as vm_start
from tests.integration import chroot

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = ("-i", "localhost,")


def test_the_factory_s_bench_measures_and_reports() -> None:
    if reason := chroot.missing():
        pytest.skip(reason)
    argv = (sys.executable, "-m", "tests.bench.factory", "--json", "--jobs", "5", "--own", "5", "--damaged", "2")
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout)
    assert [(step["foreign"], step["own"]) for step in result["foreign"]] == [(5, 50)]
    assert [(step["foreign"], step["own"]) for step in result["own"]] == [(0, 5)]
    for step in (*result["foreign"], *result["own"]):
        for part in (step["cycle"], step["submit"]):
            for who in ("ours", "seed"):
                assert part[who]["wall"] > 0
                assert part[who]["client"] > 0
                assert part[who]["schedd"] >= 0
    table = show(result)
    assert f"HTCondor {result['condor']} (trixie)" in table
    assert table.count("\n| 5 | 50 |") == 1
    assert "more VMs of our own, 2 of them with a damaged ad:" in table


def test_the_memory_s_bench_measures() -> None:
    if reason := chroot.missing():
        pytest.skip(reason)
    argv = (sys.executable, "-m", "tests.bench.memory", "--jobs", "2", "--vms", "5")
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout)
    assert set(result["running"]) == {"condor_schedd", "condor_shadow", "condor_starter"}
    assert all(0 < one["Pss"] <= one["Rss"] for one in result["running"].values())
    assert [step["vms"] for step in result["queue"]] == [0, 5]
    assert all(step["schedd"] > 0 and step["factory"] > 0 for step in result["queue"])


def test_the_roles_bench_reports_and_names_a_goal_that_was_missed() -> None:
    trips = {"worker": 12, "runtime": 3}
    figures = [
        converge.Figure("roles", 1, 4.0, trips),
        converge.Figure("builtin", 1, 40.0, {"builtin": 90}),
        converge.Figure("roles", 2, 9.0, trips),
        converge.Figure("builtin", 2, 18.0, {"builtin": 90}),
    ]
    report = converge.report(figures)
    assert report[1].split() == ["1", "4.0", "s", "40.0", "s", "10.0"]
    assert "round trips, roles: runtime 3, worker 12" in report
    assert converge.missed(figures) == ["2 nodes: builtin modules take 2.0 times as long, not 3"]


@pytest.mark.parametrize("playbook", converge.PLAYBOOKS.values())
def test_the_roles_bench_s_playbooks_are_read(playbook: str) -> None:
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        (program, *INVENTORY, "--syntax-check", playbook), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_vm_start_bench_reports() -> None:
    one = {"prepare": 0.5, "xml": 0.25, "exit": 0.25, "written": 2048.0, "image": 1024.0}
    half = {key: value / 2 for key, value in one.items()}
    table = vm_start.table({"seed": [one, one], "ours": [half, one]}).splitlines()
    assert table[0] == "| | HTCondorVMs, 1st | ours, 1st | HTCondorVMs, 2th | ours, 2th | ours/HTCondorVMs, median |"
    assert "| sum, s | 1.00 | 0.50 | 1.00 | 1.00 | 0.75 |" in table
    assert "| written, KiB | 2 | 1 | 2 | 2 | 0.75 |" in table


@pytest.mark.parametrize("name", vm_start.PROGRAMS)
def test_the_vm_start_bench_s_programs_can_be_read(name: str) -> None:
    path = vm_start.HERE / name
    text = path.read_text("utf-8")
    if "python" in text.splitlines()[0] or path.suffix == ".py":
        assert ast.parse(text).body
    elif "bash" in text.splitlines()[0]:
        subprocess.run(("bash", "-n", path), check=True)
    else:
        # awk has no such option, but reads the whole program before it ends at once.
        subprocess.run(("awk", "-v", "x=1", "-f", path), stdin=subprocess.DEVNULL, capture_output=True, check=True)


def test_the_bench_of_a_node_s_load_measures_and_reports() -> None:
    if os.getuid() != 0:
        pytest.skip("needs root: acts as several users")
    argv = (sys.executable, "-m", "tests.bench.node_load", "--json", "--vms", "1", "3")
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout)
    assert [row["vms"] for row in result] == [1, 3]
    assert all(value > 0 for row in result for value in row.values())


def test_the_metrics_bench_measures() -> None:
    found = metrics.measure(20)
    assert found["vms"] == 20
    assert min(found["metrics"], found["status"], found["ratio"], found["percent"]) > 0


def test_the_bench_of_a_decision_measures(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["decide", "--vms", "1000", "--json"])
    assert decide.main() == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["small"]["vms"], result["large"]["vms"]) == (100, 1000)
    assert all(result[size][which] > 0 for size in ("small", "large") for which in ("first", "median"))
