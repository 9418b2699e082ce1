# SPDX-License-Identifier: GPL-3.0-or-later
"""The conftest.py of a directory marks the tests of that directory and no others of the same session."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A directory for each conftest.py that marks tests, and a test outside of them that looks like theirs.
HOSTILE = "tests/integration/hostile/test_lease.py"
GROUPED = ("tests/integration/factory/test_kill.py", "tests/integration/modules/test_condor_modules.py")
FOREIGN = """import pytest
@pytest.mark.parametrize("suite", ["trixie", "sid"])
def test_foreign(suite): pass
"""
COLLECT = """
import json, os, sys, pytest
os.getuid = lambda: int(sys.argv[1])
class Marks:
    def pytest_collection_finish(self, session):
        marks = {item.nodeid: [[mark.name, str(mark.kwargs or mark.args)] for mark in item.own_markers
                               if mark.name in ("skip", "xdist_group")] for item in session.items}
        print("MARKS" + json.dumps(marks))
words = ["-q", "--collect-only", "-p", "no:cacheprovider", "-c", "pyproject.toml", "--rootdir", ".", *sys.argv[2:]]
sys.exit(pytest.main(words, plugins=[Marks()]))
"""


GROUPS = """import os, pathlib, pytest
@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("group", [pytest.param(n, marks=pytest.mark.xdist_group(n)) for n in ("trixie", "sid")])
def test_one(number, group):
    with open(pathlib.Path(__file__).with_name(group), "a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)
"""


@pytest.mark.slow
def test_a_group_of_tests_runs_on_one_worker(tmp_path: Path) -> None:
    """What the marks are for: otherwise each worker would start a pool of each version."""
    (tmp_path / "test_groups.py").write_text(GROUPS)
    words = ["-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadgroup", "--rootdir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pytest", *words, str(tmp_path)], check=True, capture_output=True)
    workers = {suite: set((tmp_path / suite).read_text().split()) for suite in ("trixie", "sid")}
    assert [len(found) for found in workers.values()] == [1, 1]
    assert workers["trixie"] != workers["sid"]


def marks(uid: int, *paths: str) -> dict[str, list[list[str]]]:
    """The marks that conftest.py files give to the tests of these files, by test; collected as this user."""
    done = subprocess.run(
        [sys.executable, "-c", COLLECT, str(uid), *paths], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("MARKS"))
    return dict(json.loads(line.removeprefix("MARKS")))


@pytest.fixture
def foreign(tmp_path: Path) -> str:
    path = tmp_path / "test_foreign.py"
    path.write_text(FOREIGN)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("uid", [0, 1000])
def test_only_the_hostile_tests_are_skipped_for_who_is_not_root(uid: int, foreign: str) -> None:
    found = marks(uid, HOSTILE, foreign, "tests/unit/condor_vac/model/test_outcome.py")
    skipped = {name for name, given in found.items() if any(mark == "skip" for mark, _ in given)}
    hostile = {name for name in found if name.startswith(HOSTILE)}
    assert len(hostile) > 40
    assert len(found) > len(hostile) + 2
    assert skipped == (hostile if uid else set())


def test_only_tests_of_a_pool_are_grouped_by_its_version(foreign: str) -> None:
    found = marks(0, *GROUPED, foreign)
    for path in GROUPED:
        mine = {name: given for name, given in found.items() if name.startswith(path)}
        assert mine
        for name, given in mine.items():
            suite = "sid" if "[sid" in name else "trixie"
            assert given == [["xdist_group", f"('{suite}',)"]], name
    others = [given for name, given in found.items() if "test_foreign" in name]
    assert others == [[], []]
