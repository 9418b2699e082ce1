# SPDX-License-Identifier: GPL-3.0-or-later
"""Ads as HTCondor's own writer makes them: plain values are read back, and nothing in them is ever evaluated."""

from __future__ import annotations

import importlib
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.base.errors import VacError
from condor_vac.condor.classads import AD_LIMIT, Ad

TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters='"\\'), max_size=60)
PLAIN = st.one_of(st.integers(-(10**17), 10**17), st.booleans(), TEXT)


def written(values: dict[str, Any]) -> str:
    """The ad in old syntax by HTCondor's writer."""
    ad = importlib.import_module("classad2").ClassAd()
    for name, value in values.items():
        ad[name] = value
    return str(ad.printOld())


@given(PLAIN)
def test_what_htcondor_writes_is_read_back(value: Any) -> None:
    ad = Ad(written({"A": value, "B": 7}), "job ad")
    ad.check()
    assert (ad.value("a"), ad.value("B")) == (value, 7)
    assert type(ad.value("A")) is type(value)


def test_what_is_not_there() -> None:
    ad = Ad("\n# comment\nA = undefined\nB = UNDEFINED\n", "job ad")
    ad.check()
    assert (ad.value("A"), ad.value("B"), ad.value("C")) == (None, None, None)


EXPRESSIONS = {
    "half a character": 'substr("\u00e9", 0, 1)',
    "a reference": "B",
    "a reference to itself": "A",
    "a conditional": 'ifThenElse(isUndefined(VM_WORKING_DIR), "good", "b d")',
    "arithmetic": "1 + 1",
    "a list": '{"x"}',
    "a nested ad": "[x = 1]",
    "error": "error",
    "a real": "1.5",
    "an octal number": "010",
    "a number of 40 digits": "1" * 40,
    "two strings": '"a" "b"',
    "an escaped quote": r'"a\"b"',
    "a backslash": r'"a\b"',
    "deep nesting": "(" * 100_000 + "1" + ")" * 100_000,
    "digits of another script": "\u0663",
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_is_refused_by_name(name: str) -> None:
    ad = Ad(f"A = {EXPRESSIONS[name]}\nB = 7\n", "job ad")
    ad.check()
    with pytest.raises(VacError, match=r"^job ad: A: must be a whole number, .*; no expression is evaluated") as caught:
        ad.value("A")
    assert str(caught.value).isprintable()
    assert ad.value("B") == 7


def test_a_chain_of_attributes_costs_nothing() -> None:
    """Each of 60 doubles the one before: a petabyte of text, were one of them evaluated."""
    lines = ['A0 = "0123456789abcdef"', *(f"A{n} = strcat(A{n - 1}, A{n - 1})" for n in range(1, 60))]
    with pytest.raises(VacError, match="no expression is evaluated"):
        Ad("\n".join(lines), "job ad").value("A59")


@pytest.mark.parametrize(
    "value",
    [
        'x\nOwner = "root"\nY = "',
        # By these the lines alone are whole: the old syntax takes \" at a line's end for a backslash and the end.
        'x"\nOwner = "root"\nY = 1 // ',
        'x"\nOwner = undefined\nY = 1 // ',
    ],
)
def test_an_attribute_that_a_value_smuggles_in_does_not_count(value: str) -> None:
    text = written({"Z": value}) + 'Owner = "vac"\n'
    assert re.search("^Owner = (?!.vac)", text, re.MULTILINE), "HTCondor writes the line end as it is"
    ad = Ad(text, "job ad")

    def owner() -> object:
        ad.check()
        return ad.value("Owner")

    with pytest.raises(VacError, match=r"is not one attribute|is there twice"):
        owner()


def test_an_attribute_may_be_there_twice_with_one_value() -> None:
    """vm-gahp adds lines to an ad that has them."""
    assert Ad('A = "x"\na = "x"\n', "job ad").value("A") == "x"
    with pytest.raises(VacError, match="job ad: A: is there twice, with different values"):
        Ad('A = "x"\na = "y"\n', "job ad").value("A")


@pytest.mark.parametrize(
    "text",
    ["A = " + " " * (AD_LIMIT - 10), "A" * (AD_LIMIT - 1), 'A = "' + '\\"' * (AD_LIMIT // 2 - 10), "\n" * AD_LIMIT],
)
def test_no_ad_takes_long(text: str) -> None:
    before = time.monotonic()
    Ad(text, "job ad")
    assert time.monotonic() - before < 20, "what grows as the square of an ad's size takes hours"


def test_an_ad_that_is_none_is_refused() -> None:
    with pytest.raises(VacError, match="more than 1048576 characters"):
        Ad("A = 1\n" * 200_000, "job ad")
