# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands on a terminal after all that was written to it, and what a pipe gets."""

from __future__ import annotations

import io
import os
import re
import shutil

import pytest

from tests.demo import screen as module
from tests.demo.screen import Screen


class Clock:
    now = 500.0

    def __call__(self) -> float:
        return self.now


def shown(text: str) -> list[str]:
    """The lines that a terminal shows after a text with the sequences for `up` and `clear to the end`."""
    rows: list[str] = [""]
    row = 0
    for part in re.split(r"(\x1b\[\d+F|\x1b\[J|\n)", text):
        up = re.fullmatch(r"\x1b\[(\d+)F", part)
        if up:
            row -= int(up.group(1))
            assert row >= 0, "above the top"
        elif part == "\x1b[J":
            del rows[row:]
            rows.append("")
        elif part == "\n":
            row += 1
            if row == len(rows):
                rows.append("")
        else:
            assert "\x1b" not in part
            rows[row] += part
    return rows[:-1]


@pytest.fixture
def size(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    size = [80, 24]
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size(size))
    return size


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_on_a_terminal_the_table_stays_below_the_lines(size: list[int], clock: Clock) -> None:
    stream = io.StringIO()
    screen = Screen(stream, terminal=True, clock=clock)
    screen.say("first")
    screen.show(["a 1", "b 1"], "brief")
    screen.show(["a 2", "b 2", "c 2"], "brief")
    screen.say("second", "third")
    assert shown(stream.getvalue()) == ["first", "second", "third", "a 2", "b 2", "c 2"]
    screen.show(["a 3"], "brief")
    assert shown(stream.getvalue()) == ["first", "second", "third", "a 3"]
    screen.leave()
    screen.say("fourth")
    screen.show(["x"], "brief")
    screen.clear()
    assert shown(stream.getvalue()) == ["first", "second", "third", "a 3", "fourth"]
    assert "brief" not in stream.getvalue()


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 6), (20, 2), (200, 3)])
def test_the_block_never_wraps_nor_scrolls(columns: int, lines: int, size: list[int], clock: Clock) -> None:
    size[:] = [columns, lines]
    stream = io.StringIO()
    screen = Screen(stream, terminal=True, clock=clock)
    screen.show([f"{number} " + "x" * 300 for number in range(30)], "")
    block = shown(stream.getvalue())
    assert len(block) == min(30, lines - 1)
    assert {len(line) for line in block} == {columns - 1}


def test_a_terminal_that_changes_its_size_is_followed(size: list[int], clock: Clock) -> None:
    screen = Screen(io.StringIO(), terminal=True, clock=clock)
    assert screen.width == 79
    size[0] = 120
    assert screen.width == 119
    size[0] = 5
    assert screen.width == module.NARROWEST


def test_without_a_terminal_there_is_a_line_at_least_every_ten_seconds_and_no_control(clock: Clock) -> None:
    stream = io.StringIO()
    screen = Screen(stream, terminal=False, clock=clock)
    times = []
    for _ in range(100):
        clock.now += 0.5
        before = stream.tell()
        screen.show(["a", "table"], screen.stamp("still there"))
        if stream.tell() != before:
            times.append(clock.now - 500)
    gaps = [later - earlier for earlier, later in zip([0.0, *times], times)]
    assert times
    assert max(gaps) <= 10
    assert min(gaps) >= 5
    assert all(re.fullmatch(r"\[ *\d+ s\] still there", line) for line in stream.getvalue().splitlines())


def test_without_a_terminal_news_put_the_brief_line_off(clock: Clock) -> None:
    stream = io.StringIO()
    screen = Screen(stream, terminal=False, clock=clock)
    for _ in range(10):
        clock.now += 5
        screen.say("news")
        screen.show(["table"], "brief")
    assert set(stream.getvalue().splitlines()) == {"news"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "term", "terminal"),
    [
        (Terminal(), "xterm", True),
        (Terminal(), "dumb", False),
        (Terminal(), None, False),
        (io.StringIO(), "xterm", False),
    ],
)
def test_a_terminal_is_what_can_be_redrawn(
    stream: io.StringIO, term: str | None, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    assert Screen(stream).terminal is terminal
