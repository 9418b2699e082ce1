# SPDX-License-Identifier: GPL-3.0-or-later
"""condor_history's output, an ad at a time, whatever is in it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from condor_vac.base import tools
from condor_vac.base.errors import VacError
from condor_vac.condor import history
from condor_vac.condor.pool import PoolError


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """condor_history's stand-in, a shell script to be written."""
    path = tmp_path / "condor_history"
    monkeypatch.setattr(tools, "find", lambda name: str(path) if name == path.name and path.exists() else None)
    return path


def write(program: Path, script: str) -> None:
    """Write the script."""
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_an_ad_that_cannot_be_read_is_one_error_among_the_others(program: Path) -> None:
    write(
        program,
        """printf '{"A": 1}\\n\\n{"A": \\n[1]\\n{"B": "\\351"}\\n'
        printf '{"C": "'; head -c 200000 /dev/zero | tr '\\0' x; printf '"}\\n{"D": 4}'""",
    )
    found = list(history.ads("True", ["A"]))
    kinds = [type(each) for each in found]
    assert kinds == [dict, VacError, VacError, dict, VacError, dict]
    assert [found[index] for index in (0, 3, 5)] == [{"A": 1}, {"B": "\N{REPLACEMENT CHARACTER}"}, {"D": 4}]
    assert "more than 65536 characters" in str(found[4])


def test_no_depth_of_a_list_hides_an_ad(program: Path, tmp_path: Path) -> None:
    """Python stops at a depth that depends on its version and on who called it."""
    deep = [f'{{"A": {depth}, "B": {"[" * depth}{"]" * depth}}}\n' for depth in range(1, 1100)]
    (tmp_path / "ads").write_text("".join(deep))
    write(program, f"cat {tmp_path}/ads")
    found = history.jobs("True", ["A", "B"], 2000)
    assert [each["A"] for each in found if isinstance(each, dict)] == [*range(1, 1100)]


def test_an_undefined_attribute_is_as_one_that_is_not_there(program: Path) -> None:
    write(program, """printf '{"A": null, "B": 0, "C": "null"}\\n'""")
    assert list(history.ads("True", ["A", "B", "C"])) == [{"B": 0, "C": "null"}]


def test_the_words_that_it_is_started_with(program: Path, tmp_path: Path) -> None:
    write(program, f'printf "%s\\n" "$@" > {tmp_path}/words; echo $CONDOR_CONFIG > {tmp_path}/config')
    assert list(history.ads('Owner == "vac"', ["A", "B"])) == []
    assert (tmp_path / "words").read_text().splitlines() == [
        "-jsonl", "-attributes", "A,B", "-constraint", 'Owner == "vac"',
    ]  # fmt: skip
    assert (tmp_path / "config").read_text().startswith("/")


def test_a_failure_is_its_words_in_one_line(program: Path) -> None:
    write(program, "echo '{\"A\": 1}'; echo 'no\nhistory \033[31m' >&2; exit 3")
    ads = history.ads("True", ["A"])
    assert next(ads) == {"A": 1}
    with pytest.raises(PoolError, match=r"^condor_history: exit code 3: no history \N{REPLACEMENT CHARACTER}\[31m$"):
        next(ads)


def test_a_machine_without_it(program: Path) -> None:
    with pytest.raises(PoolError, match="run this on an access point"):
        list(history.ads("True", ["A"]))


def test_a_reader_that_leaves_ends_it(program: Path) -> None:
    write(program, "yes '{\"A\": 1}'")
    assert len(list(itertools.islice(history.ads("True", ["A"]), 1000))) == 1000
