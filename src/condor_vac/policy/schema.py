# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks, of which the schemas of the factory's state file are made; each raises ValueError with place and fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], None]

# Either way: times in seconds, durations and counts are far below it, and sums and products of such numbers finite.
MOST = 1e12


def number(value: Any) -> None:
    """A number; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -MOST <= value <= MOST:
        raise ValueError(f"must be a number from {-MOST:g} to {MOST:g}")


def natural(value: Any) -> None:
    """A whole number from 0."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise ValueError(f"must be a whole number, 0 or more, at most {MOST:g}")


def flag(value: Any) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")


def text(value: Any) -> None:
    """A text."""
    if not isinstance(value, str):
        raise ValueError("must be a text")


def matching(pattern: str) -> Check:
    """A text that the regular expression matches from end to end."""

    def check(value: Any) -> None:
        text(value)
        if not re.fullmatch(pattern, value):
            raise ValueError("must not have other characters than such a name has")

    return check


def one_of(*words: str) -> Check:
    """One of these texts."""

    def check(value: Any) -> None:
        text(value)
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")

    return check


def exactly(wanted: int) -> Check:
    """This number and no other."""

    def check(value: Any) -> None:
        natural(value)
        if value != wanted:
            raise ValueError(f"must be {wanted}")

    return check


def optional(inner: Check) -> Check:
    """What ``inner`` accepts, or null."""

    def check(value: Any) -> None:
        if value is not None:
            inner(value)

    return check


def many(inner: Check) -> Check:
    """A list of any length."""

    def check(value: Any) -> None:
        if not isinstance(value, list):
            raise ValueError("must be a list")
        for place, item in enumerate(value):
            _inside(str(place), inner, item)

    return check


def row(*inner: Check) -> Check:
    """A list with one item for each check."""

    def check(value: Any) -> None:
        if not isinstance(value, list) or len(value) != len(inner):
            raise ValueError(f"must be a list of {len(inner)} items")
        for place, (each, item) in enumerate(zip(inner, value)):
            _inside(str(place), each, item)

    return check


def by_name(inner: Check) -> Check:
    """An object with any keys."""

    def check(value: Any) -> None:
        for name, item in _object(value).items():
            _inside(repr(name), inner, item)

    return check


def anything_by_name(value: Any) -> None:
    """An object with any keys and values."""
    _object(value)


def record(**keys: Check) -> Check:
    """An object with these keys, all of them and no others."""

    def check(value: Any) -> None:
        found = _object(value)
        for name in keys:
            if name not in found:
                raise ValueError(f"{name}: missing")
        for name, item in found.items():
            if name not in keys:
                raise ValueError(f"{name!r}: unknown key")
            _inside(name, keys[name], item)

    return check


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    return value


def _inside(name: str, check: Check, value: Any) -> None:
    try:
        check(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
