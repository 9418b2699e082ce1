# SPDX-License-Identifier: GPL-3.0-or-later
"""A machinetype's VMs over time as inline SVG: a bar for each, or columns where there are too many for bars.

Horizontal places are per cent of the width and vertical ones pixels, so that a picture fits any screen and its text
stays as large as that of the page.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from condor_vac.page.classes import FAILED, WORDS
from condor_vac.page.markup import element

# More VMs than these are drawn as columns: so a picture has some hundred elements, however many VMs there are.
MOST_BARS = 300
# With more hosts than these bars are not grouped by host.
MOST_HOSTS = 24
COLUMNS = 96
# The shortest time that a picture shows.
LEAST_SECONDS = 900.0
_STEPS = (60, 120, 300, 600, 1800, 3600, 7200, 10800)
_MOST_TICKS = 9
_LATEST = 1e11
_BAR, _GAP, _TEXT = 8, 2, 15
_HIGH = {"vms": 120, "ends": 60}


@dataclass(frozen=True)
class Bar:
    """A VM on its host from ``start`` to ``end`` (Unix s; None: it is there); ``label`` appears below the pointer."""

    start: float
    end: float | None
    of_class: str
    host: str
    label: str


@dataclass(frozen=True)
class Window:
    """The time that the pictures of a page show, in Unix seconds."""

    begin: float
    now: float

    def place(self, moment: float) -> float:
        """A moment's place in per cent, within the picture."""
        return 100 * min(1.0, max(0.0, (moment - self.begin) / (self.now - self.begin)))


def window(starts: Iterable[float], now: float, longest: float) -> Window:
    """From the first of these starts on, but neither shorter than `LEAST_SECONDS` nor longer than ``longest``."""
    begin = min(starts, default=now)
    return Window(max(now - longest, min(begin, now - LEAST_SECONDS)), now)


def draw(bars: Sequence[Bar], shown: Window) -> Element:
    """The picture of these VMs, of which there is at least one."""
    parts, height = _bars(bars, shown) if len(bars) <= MOST_BARS else _columns(bars, shown)
    ticks = list(_ticks(shown, height))
    what = f"{len(bars)} VMs from {clock(shown.begin)} to {clock(shown.now)} by how they ended"
    return element(
        "svg", element("title", what), *ticks, *parts, class_="picture", role="img", height=height + _TEXT, width="100%"
    )


def swatch(of_class: str) -> Element:
    """A small picture of the colour of a class, for legends."""
    parts = [element("rect", class_=of_class, width=12, height=12)]
    if of_class in FAILED:
        parts += _cross(6, 6)
    return element("svg", *parts, class_="swatch", width=12, height=12, aria_hidden="true")


def _bars(bars: Sequence[Bar], shown: Window) -> tuple[list[Element], int]:
    hosts = sorted({span.host for span in bars})
    grouped = len(hosts) <= MOST_HOSTS
    groups: dict[str, list[Bar]] = defaultdict(list)
    for span in sorted(bars, key=lambda each: (each.start, each.label)):
        groups[span.host if grouped else ""].append(span)
    parts: list[Element] = []
    top = 2
    for host in sorted(groups):
        if grouped:
            parts.append(element("text", host, x=0, y=top + 10))
            top += _TEXT
        lanes: list[float] = []
        for span in groups[host]:
            lane = _lane(lanes, span, shown)
            parts += _bar(span, top + lane * (_BAR + _GAP), shown)
        top += len(lanes) * (_BAR + _GAP) + 4
    return parts, top


def _lane(lanes: list[float], span: Bar, shown: Window) -> int:
    """The first lane that is free when the VM starts; it is taken until the VM's end."""
    # A short life, or what is shown of one, takes the room that its cross needs.
    end = max(span.end or math.inf, max(span.start, shown.begin) + (shown.now - shown.begin) / 100)
    for number, until in enumerate(lanes):
        if until <= span.start:
            lanes[number] = end
            return number
    lanes.append(end)
    return len(lanes) - 1


def _bar(span: Bar, top: float, shown: Window) -> list[Element]:
    begin, end = shown.place(span.start), shown.place(shown.now if span.end is None else span.end)
    title = element("title", span.label)
    rect = element(
        "rect",
        title,
        class_=span.of_class,
        x=_percent(begin),
        y=top,
        width=_percent(max(end - begin, 0.2)),
        height=_BAR,
    )
    if span.of_class not in FAILED:
        return [rect]
    # A square of its colour below the cross, as in the legend: a VM that failed at once has no length.
    square = element("rect", element("title", span.label), class_=span.of_class, x=-5, y=-4, width=10, height=_BAR)
    return [rect, element("svg", square, *_cross(0, 0), x=_percent(end), y=top + _BAR / 2, overflow="visible")]


def _cross(x: float, y: float) -> list[Element]:
    line = f"M{x - 3:g} {y - 3:g}l6 6m0-6l-6 6"
    return [element("path", class_="cross", d=line)]


def _columns(bars: Sequence[Bar], shown: Window) -> tuple[list[Element], int]:
    vms, ends = columns(bars, shown)
    parts: list[Element] = []
    top = 0
    for name, values, words in (("vms", vms, "VMs on hosts"), ("ends", ends, "ends in each column")):
        most = max((sum(each[place] for each in values.values()) for place in range(COLUMNS)), default=0.0)
        height = _HIGH[name]
        parts.append(element("text", f"{words}, up to {most:.0f}", x=0, y=top + 11))
        parts += _stack(values, most, top + _TEXT + 2, height)
        top += _TEXT + 2 + height + 6
    return parts, top


def columns(bars: Sequence[Bar], shown: Window) -> tuple[Mapping[str, list[float]], Mapping[str, list[float]]]:
    """By class and column: the mean number of VMs on hosts, and the number of VMs that ended."""
    vms = {each: [0.0] * COLUMNS for each in WORDS}
    ends = {each: [0.0] * COLUMNS for each in WORDS}
    steps = {each: [0.0] * (COLUMNS + 1) for each in WORDS}
    for span in bars:
        begin = shown.place(span.start) / 100 * COLUMNS
        end = shown.place(shown.now if span.end is None else span.end) / 100 * COLUMNS
        first, last = min(int(begin), COLUMNS - 1), min(int(end), COLUMNS - 1)
        mean, step = vms[span.of_class], steps[span.of_class]
        if first == last:
            mean[first] += end - begin
        else:
            mean[first] += first + 1 - begin
            mean[last] += end - last
            # All columns in between, by where they begin and end.
            step[first + 1] += 1
            step[last] -= 1
        if span.end is not None:
            ends[span.of_class][last] += 1
    for name, step in steps.items():
        level = 0.0
        for place in range(COLUMNS):
            level += step[place]
            vms[name][place] += level
    return vms, ends


def _stack(values: Mapping[str, Sequence[float]], most: float, top: float, height: float) -> Iterator[Element]:
    wide = 100 / COLUMNS
    for place in range(COLUMNS):
        low = top + height
        for name, each in values.items():
            high = each[place] / most * height if most else 0.0
            if high < 0.05:
                continue
            low -= high
            title = element("title", f"{WORDS[name]}: {each[place]:.3g}")
            rect = element(
                "rect", title, class_=name, x=_percent(place * wide), y=low, width=_percent(wide * 0.9), height=high
            )
            yield rect


def _ticks(shown: Window, height: float) -> Iterator[Element]:
    """Lines and times of day below, at times that are whole in the local zone."""
    span = shown.now - shown.begin
    step = next((each for each in _STEPS if span / each <= _MOST_TICKS), _STEPS[-1])
    offset = time.localtime(shown.now).tm_gmtoff
    moment = math.ceil((shown.begin + offset) / step) * step - offset
    number = 0
    while moment <= shown.now:
        place = shown.place(moment)
        of_class = "minor" if number % 2 else "major"
        yield element("line", class_=of_class, x1=_percent(place), x2=_percent(place), y1=0, y2=height)
        if 3 <= place <= 97:
            text = clock(moment)
            yield element("text", text, class_=of_class, x=_percent(place), y=height + 12, text_anchor="middle")
        moment += step
        number += 1


def clock(moment: float) -> str:
    """A time of day in the local zone."""
    # Of a time that no clock can have, any is as good.
    return time.strftime("%H:%M", time.localtime(min(max(moment, 0.0), _LATEST)))


def _percent(value: float) -> str:
    return f"{value:.5g}%"
