# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of the VMs of a day: each VM's bar, lanes without overlap, and columns that account for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from condor_vac.page import picture
from condor_vac.page.classes import DONE, DRY, FAILED, NODE, WORDS, WORKS
from condor_vac.page.picture import COLUMNS, LEAST_SECONDS, MOST_BARS, Bar, Window
from condor_vac.page.style import SHEET

NOW = 1_764_000_000.0
DAY = Window(NOW - 86400, NOW)


def bars(drawn: Element) -> list[Element]:
    """The rectangles of VMs, without the squares of crosses."""
    return [each for each in drawn.iter("rect") if each.get("width", "").endswith("%")]


def per_cent(each: Element) -> tuple[float, float, float]:
    """Left, right and top."""
    left, width = (float(each.get(key, "").rstrip("%")) for key in ("x", "width"))
    return left, left + width, float(each.get("y", ""))


def test_a_bar_is_where_its_vm_was() -> None:
    drawn = picture.draw(
        [
            Bar(NOW - 43200, NOW - 21600, DONE, "wn1", "50.0 & more"),
            Bar(NOW - 21600, None, WORKS, "wn1", "51.0"),
            Bar(NOW - 200_000, NOW - 64800, DRY, "wn2", "52.0"),
        ],
        DAY,
    )
    places = {each.findtext("title"): (each.get("class"), *per_cent(each)[:2]) for each in bars(drawn)}
    assert places == {
        "50.0 & more": (DONE, 50.0, 75.0), "51.0": (WORKS, 75.0, 100.0), "52.0": (DRY, 0.0, 25.0),
    }  # fmt: skip
    assert [each.text for each in drawn.iter("text")][-2:] == ["wn1", "wn2"]


def test_failures_have_a_cross_besides_their_colour() -> None:
    drawn = picture.draw([Bar(NOW - 10, NOW - 10, NODE, "wn1", "a"), Bar(NOW - 10, NOW - 5, DONE, "wn1", "b")], DAY)
    assert len([each for each in drawn.iter("path") if each.get("class") == "cross"]) == 1
    crossed = {name for name in WORDS if list(picture.swatch(name).iter("path"))}
    assert crossed == FAILED


@given(st.lists(st.tuples(st.floats(0, 90000), st.floats(0, 90000), st.sampled_from("abc")), min_size=1, max_size=40))
@example([(86229.0, 0.0, "a"), (87093.0, 86229.0, "a")])
def test_bars_of_a_host_never_lie_upon_each_other(times: list[tuple[float, float, str]]) -> None:
    made = [Bar(NOW - early, max(NOW - early, NOW - late), DONE, host, "x") for early, late, host in times]
    places = sorted((top, left, right) for left, right, top in map(per_cent, bars(picture.draw(made, DAY))))
    assert len(places) == len(made)
    for (top, _, right), (below, left, _) in _pairs(places):
        # Both have three decimals, and so has the width.
        assert top != below or right <= left + 2e-3


def _pairs(places: list[tuple[float, float, float]]) -> Iterator[tuple[tuple[float, ...], tuple[float, ...]]]:
    # itertools.pairwise is of Python 3.10.
    return zip(places, places[1:])


@given(
    st.lists(
        st.tuples(st.floats(-90000, 0), st.none() | st.floats(0, 90000), st.sampled_from([DONE, DRY, NODE])),
        min_size=1,
    )
)
def test_columns_hold_all_the_time_and_all_the_ends(vms: list[tuple[float, float | None, str]]) -> None:
    made = [
        Bar(NOW + start, None if life is None else min(NOW + start + life, NOW), name, "wn1", "x")
        for start, life, name in vms
    ]
    mean, ends = picture.columns(made, DAY)
    for name in (DONE, DRY, NODE):
        mine = [bar for bar in made if bar.of_class == name]
        shown = sum(
            max(0.0, (bar.end or NOW) - max(bar.start, DAY.begin)) for bar in mine if (bar.end or NOW) > DAY.begin
        )
        assert sum(mean[name]) * 86400 / COLUMNS == pytest.approx(shown, abs=1)
        assert min(mean[name]) >= -1e-9
        assert sum(ends[name]) == sum(bar.end is not None for bar in mine)


def test_ten_thousand_vms_make_no_larger_a_picture_than_a_thousand() -> None:
    sizes = []
    for number in (MOST_BARS, 1000, 10_000):
        made = [Bar(NOW - 86000 * n / number, NOW - 80000 * n / number, DONE, f"wn{n}", "x") for n in range(number)]
        sizes.append(len(list(picture.draw(made, DAY).iter())))
    assert sizes[0] >= 2 * MOST_BARS
    assert max(sizes[1:]) <= 2 * 2 * COLUMNS * len(WORDS) + 100
    assert sizes[2] <= 1.1 * sizes[1]


@pytest.mark.parametrize(("first", "seconds"), [(10, LEAST_SECONDS), (5000, 5000), (86400, 86400), (9e9, 86400)])
def test_the_window_begins_with_the_first_vm_of_the_day(first: float, seconds: float) -> None:
    assert picture.window([NOW - first, NOW - 5], NOW, 86400) == Window(NOW - seconds, NOW)
    assert picture.window([], NOW, 86400) == Window(NOW - LEAST_SECONDS, NOW)


@pytest.mark.parametrize("seconds", [900, 5000, 20_000, 86400])
def test_times_of_day_are_few_and_whole(seconds: float) -> None:
    drawn = picture.draw([Bar(NOW - seconds, NOW, DONE, "wn1", "x")], Window(NOW - seconds, NOW))
    times = [each.text or "" for each in drawn.iter("text") if re.fullmatch(r"\d\d:\d\d", each.text or "")]
    assert 3 <= len(times) <= 9
    assert len(set(times)) == len(times)


def test_no_time_is_an_error() -> None:
    for moment in (-1e12, 0.0, 1e12):
        assert re.fullmatch(r"\d\d:\d\d", picture.clock(moment))


@pytest.mark.parametrize("name", WORDS)
def test_each_class_has_a_colour(name: str) -> None:
    assert re.search(rf"\.{name} \{{ fill: var\(--{name}\)", SHEET)
    assert f"--{name}: #" in SHEET
