# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenario files that are damaged or nest without end: one line says so, at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import UsageError
from condor_vac.simulate import scenario
from tests.unit.condor_vac.simulate.pools import BASE, changed
from tests.unit.damage import MADE

GOOD = "name: x\n"


@pytest.mark.parametrize(
    "text",
    ["[" * 5000 + "]" * 5000, "{a: " * 5000 + "}" * 5000, "- " * 5000 + "x\n", "? " * 5000 + "x\n",
     "".join(f"{' ' * level}a:\n" for level in range(1000))],
    ids=["flow", "flow mapping", "block", "keys", "indented"],
)  # fmt: skip
def test_deep_nesting_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"nests (more|deeper) than") as caught:
        scenario.load(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", sorted(set(MADE) - {"from the future"}))
def test_a_damaged_file_is_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s.yml"
    path.write_text(GOOD)
    MADE[kind](path)
    with pytest.raises(UsageError) as caught:
        scenario.load(str(path))
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


HUGE = 10**400
# Nine lists in each of nine lists, twelve levels deep: 10^11 texts, which YAML's aliases say in a few lines.
LAUGHS = "x0: &x0 [a,a,a,a,a,a,a,a,a]\n" + "".join(
    f"x{n}: &x{n} [{','.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


def refused(path: Path, text: str) -> str:
    """The one line about a scenario of this text."""
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        scenario.load(str(path))
    line = str(caught.value)
    assert line.startswith(str(path))
    assert line.isprintable()
    assert len(line) < 1000
    return line


PLACES: list[tuple[Any, ...]] = [
    ("seed",), ("duration",), ("negotiation_interval",), ("hosts", "count"), ("hosts", "slots"), ("start_seconds", 1),
    ("cycle_seconds",), ("machinetypes", 0, "share"), ("machinetypes", 0, "max_machines"),
    ("machinetypes", 0, "processors"), ("machinetypes", 0, "queue", 0, "tasks"), ("machinetypes", 0, "queue", 0, "at"),
    ("machinetypes", 0, "queue", 0, "seconds", 1), ("machinetypes", 0, "evidence_share"),
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
@pytest.mark.parametrize("value", [HUGE, -HUGE, 1e300, -1, "@NAN@", "@INF@", [HUGE], {"a": HUGE}], ids=range(8))
def test_a_number_without_sense_is_one_line(tmp_path: Path, place: tuple[Any, ...], value: Any) -> None:
    text = json.dumps(changed(*place, value=value)).replace('"@NAN@"', ".nan").replace('"@INF@"', ".inf")
    assert str(next(part for part in reversed(place) if isinstance(part, str))) in refused(tmp_path / "s.yml", text)


@pytest.mark.parametrize("seconds", [HUGE, -HUGE, 1e300, 0])
def test_a_clock_steps_by_seconds(tmp_path: Path, seconds: float) -> None:
    step = {"kind": "clock_step", "at": 1, "seconds": seconds}
    assert "faults[0]: seconds: is " in refused(tmp_path / "s.yml", json.dumps({**BASE, "faults": [step]}))


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("duration",), 366 * 86400 + 1, "duration: is longer than a year; give at most"),
        (("negotiation_interval",), 0.001, "negotiation_interval: is 0.001; give 1 s or more"),
        (("machinetypes", 0, "queue", 0, "tasks"), 5_000_001, "machinetypes: have more than 5000000 tasks; give fewer"),
        (("hosts",), {"count": 1, "slots": 10_000_001}, "hosts: slots: makes more than 10000000 slots; give fewer"),
        (("hosts",), {"kinds": [{"count": 100, "slots": 100_001}]}, "hosts: kinds: makes more than 10000000 slots"),
        (("name",), "a\x1b[31m", "name: is 'a\\x1b[31m'; give a name of at most 100 printable characters"),
        (("machinetypes", 0, "name"), "a\nb", "name: is 'a\\nb'; give a name"),
        (("name",), "x" * 101, "give a name of at most 100"),
    ],
)
def test_what_would_never_end_or_change_the_terminal(
    tmp_path: Path, place: tuple[Any, ...], value: Any, words: str
) -> None:
    assert words in refused(tmp_path / "s.yml", json.dumps(changed(*place, value=value)))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("duration",), 366 * 86400),
        (("negotiation_interval",), 1),
        (("machinetypes", 0, "queue", 0, "tasks"), 5_000_000),
        (("name",), "x" * 100),
        (("seed",), 10**12),
    ],
)
def test_the_most_that_is_read(tmp_path: Path, place: tuple[Any, ...], value: Any) -> None:
    path = tmp_path / "s.yml"
    path.write_text(json.dumps(changed(*place, value=value)))
    assert scenario.load(str(path)).nodes.total == 8


@pytest.mark.parametrize("place", [("name",), ("seed",), ("start_seconds",), ("machinetypes", 0, "share")])
def test_aliases_do_not_fill_the_memory(tmp_path: Path, place: tuple[Any, ...]) -> None:
    text = LAUGHS + json.dumps(changed(*place, value="@LAUGH@"))[1:-1].replace('"@LAUGH@"', "*x11")
    assert ": is [[[...]" in refused(tmp_path / "s.yml", "{" + text.replace("\n", ",\n") + "}")


@pytest.mark.parametrize(
    "line",
    ["!!bool x", "!!timestamp x", "!!int x", "!!float x", "!!binary x", "!!python/name:os.system ''", "&n [*n]",
     "2026-13-45", "0x" + "f" * 5000, "9" * 5000, "1:" + "59:" * 300 + "59"],
)  # fmt: skip
def test_a_value_that_is_not_as_its_tag_says(tmp_path: Path, line: str) -> None:
    refused(tmp_path / "s.yml", f"name: x\nhosts: {line}\n")


def test_merged_mappings_do_not_fill_the_memory(tmp_path: Path) -> None:
    """Each level of these has nine times the keys of the one before."""
    levels = [f"x{n}: &x{n} {{<<: [{','.join([f'*x{n - 1}'] * 9)}]}}\n" for n in range(1, 12)]
    text = "x0: &x0 {a: 1}\n" + "".join(levels)
    assert "has a merge key (<<); write its keys out" in refused(tmp_path / "s.yml", text)
