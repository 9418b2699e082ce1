# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``make test`` counts and shows at its end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run import counts, table
from tests.run.counts import Counts
from tests.run.running import ROOT, Place
from tests.run.scheduler import ENDED, FAILED, HUNG, NOT_RUN, PASSED, Result
from tests.run.stages import Stage

TESTS = """
import pytest
def test_good(): pass
def test_bad(): assert False
def test_other(): assert True
@pytest.fixture
def broken(): raise OSError
def test_error(broken): pass
@pytest.mark.skip(reason="why")
def test_skipped(): pass
@pytest.mark.xfail
def test_expected(): assert False
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, "run")


def junit(place: Place, stage: str, *suites: tuple[int, int, int, int]) -> None:
    """JUnit files with (tests, failures, errors, skipped)."""
    place.counts(stage).mkdir()
    for number, (tests, failures, errors, skipped) in enumerate(suites):
        suite = f'<testsuite tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}"/>'
        (place.counts(stage) / f"{number}.xml").write_text(f"<testsuites>{suite}</testsuites>")


def ran(place: Place, *results: tuple[str, str, float], before: dict[str, float] | None = None) -> list[str]:
    """The table's lines after stages with a name, a result and seconds."""
    for name, _, _ in results:
        if not place.log(name).exists():
            place.log(name).write_text("")
    stages = [Stage(name, ("true",)) for name, _, _ in results]
    ended = {name: Result(word, seconds) for name, word, seconds in results}
    return table.text(stages, ended, before or {}, place, 12.4).splitlines()


def row(lines: list[str], name: str) -> list[str]:
    return next(line.split() for line in lines if line.startswith(f"{name} "))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_every_pytest_run_of_a_stage_leaves_its_counts(place: Place, tmp_path: Path, workers: tuple[str, ...]) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    place.counts("unit").mkdir()
    code = f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    # In two processes, each with a file of its own.
    for _ in range(2):
        argv = [sys.executable, "-c", code, "-p", "tests.junit", "-p", "no:cacheprovider", *workers, str(tmp_path)]
        subprocess.run(
            argv,
            env={"PATH": "/usr/bin", "VAC_JUNIT_DIRECTORY": str(place.counts("unit"))},
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
    assert counts.read(place.counts("unit")) == Counts(passed=4, failed=4, skipped=4)


def test_counts_of_several_files_are_added(place: Place) -> None:
    junit(place, "unit", (10, 1, 2, 3), (5, 0, 0, 0), (2, 0, 0, 2))
    assert counts.read(place.counts("unit")) == Counts(passed=9, failed=3, skipped=5)


def test_a_file_that_was_cut_off_is_a_failure(place: Place) -> None:
    junit(place, "unit", (3, 0, 0, 0))
    (place.counts("unit") / "cut.xml").write_text('<testsuites><testsuite tests="3" fail')
    assert counts.read(place.counts("unit")) == Counts(passed=3, failed=1)


@pytest.mark.parametrize(
    ("word", "suites", "expected"),
    [
        (PASSED, [], Counts(passed=1)),
        (FAILED, [], Counts(failed=1)),
        (NOT_RUN, [], Counts(failed=1)),
        (ENDED, [], Counts(failed=1)),
        (PASSED, [(4, 0, 0, 1)], Counts(passed=3, skipped=1)),
        (FAILED, [(4, 2, 0, 0)], Counts(passed=2, failed=2)),
        # Idempotence, or a stage that hung after its tests.
        (FAILED, [(4, 0, 0, 0)], Counts(passed=4, failed=1)),
        (HUNG, [(4, 0, 0, 1)], Counts(passed=3, failed=1, skipped=1)),
    ],
)
def test_a_stage_that_did_not_pass_has_a_failure(
    place: Place, word: str, suites: list[tuple[int, int, int, int]], expected: Counts
) -> None:
    junit(place, "some", *suites)
    assert counts.of_stage(Result(word, 1.0), place.counts("some")) == expected


def test_the_table_has_each_stage_and_the_last_line_has_the_sum(place: Place) -> None:
    junit(place, "unit", (12, 0, 0, 2))
    junit(place, "drift", (3, 1, 0, 0))
    lines = ran(
        place,
        ("unit", PASSED, 51.2),
        ("drift", FAILED, 300.0),
        ("pool", HUNG, 900.4),
        ("kinds", NOT_RUN, 0.0),
        before={"unit": 63.0, "drift": 200.0, "old": 1.0},
    )
    assert row(lines, "unit") == ["unit", "passed", "10", "0", "2", "51", "-12"]
    # What failed early was not faster.
    assert row(lines, "drift") == ["drift", "FAILED", "2", "1", "0", "300"]
    assert row(lines, "pool") == ["pool", "HUNG", "0", "1", "0", "900"]
    assert row(lines, "kinds") == ["kinds", "not", "run", "0", "1", "0", "0"]
    assert lines[-2:] == ["12 s altogether", "12 passed, 3 failed, 2 skipped"]
    assert re.fullmatch(r"\d+ passed, \d+ failed, \d+ skipped", lines[-1])


def test_the_first_run_has_nothing_to_be_compared_with(place: Place) -> None:
    assert row(ran(place, ("unit", PASSED, 51.2)), "unit") == ["unit", "passed", "1", "0", "0", "51"]


def test_seconds_of_passed_stages_are_saved_and_those_of_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "seconds.json"
    assert counts.earlier(path) == {}
    counts.keep(path, {}, {"unit": Result(PASSED, 50.04), "lint": Result(PASSED, 9.0)})
    counts.keep(path, counts.earlier(path), {"unit": Result(FAILED, 3.0), "lint": Result(PASSED, 8.0)})
    assert counts.earlier(path) == {"unit": 50.0, "lint": 8.0}
    assert [one.name for one in path.parent.iterdir()] == ["seconds.json"]


@pytest.mark.parametrize(
    ("log", "complaint"),
    [
        ("FAILED tests/x.py::test_y - boom\n1 failed in 3 s\n", "FAILED tests/x.py::test_y - boom 1 failed in 3 s"),
        ("ERROR tests/x.py::test_y\n", "ERROR tests/x.py::test_y"),
        (f"FAILED x.py::y\n{'!' * 90} Interrupt {'=' * 90}\n", "FAILED x.py::y  Interrupt "),
        ("\x1b[31mmsg: no disk\x1b[0m\nrest\n", "msg: no disk rest"),
        ("FAILED - RETRYING: wait\nE   assert 1\n", "E   assert 1"),
        ("FAILED x.py::y - boom\n1\n2\nERROR    x > verify: Executed: Failed\n", "FAILED x.py::y - boom 1 2"),
        ("ERROR    Molecule executed 1 scenario (1 failed)\n", "ERROR    Molecule executed 1 scenario (1 failed)"),
        ("all\nsilent\n\n", "silent"),
        ("", "(no output)"),
    ],
)
def test_a_failed_stage_s_complaints_come_after_the_table(place: Place, log: str, complaint: str) -> None:
    place.log("unit").write_text(log)
    lines = ran(place, ("unit", FAILED, 1.0), ("lint", PASSED, 1.0))
    assert lines[lines.index("unit:") + 1] == f"  {complaint}"
    assert "lint:" not in lines


def test_complaints_are_few_and_short(place: Place) -> None:
    place.log("unit").write_text(
        "".join(f"FAILED tests/x.py::test_{number} - {'x' * 999}\n\n\n" for number in range(9))
    )
    found = table.complaints(place.log("unit"))
    assert [line[:25] for line in found] == [f"FAILED tests/x.py::test_{number}" for number in (6, 7, 8)]
    assert {len(line) for line in found} == {table.COMPLAINT_WIDTH}
