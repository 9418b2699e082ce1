# SPDX-License-Identifier: GPL-3.0-or-later
"""How the values of a scenario file are read: each is checked by its key, and an error names file, key and remedy.

A converter takes a value and where it is, and returns it checked. It raises ValueError with the remedy.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from condor_vac.base.errors import UsageError

Pair = tuple[float, float]

# Seconds and counts are far below it, and sums and products of such numbers are finite.
MOST = 1e12


class _Shown(reprlib.Repr):
    """A value as an error shows it, short whatever it is: YAML's aliases make values that have no end when printed."""

    def repr_int(self, x: int, level: int) -> str:  # noqa: ARG002 - reprlib's signature
        """Without the digits of a number that has too many of them."""
        return str(x) if abs(x) <= MOST else f"{'below -' if x < 0 else 'above '}{MOST:g}"


_repr = _Shown()
_repr.maxlevel = 2
_repr.maxstring = _repr.maxother = 60


def _is_number(value: Any, least: float) -> bool:
    """Whether it is a number from ``least`` to `MOST`; NaN, true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= MOST


class Reader:
    """Takes keys out of one mapping of the file, checks them, and in the end refuses what is left."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, Mapping):
            raise UsageError(f"{where}: expected keys and values, found {type(data).__name__}")
        self.where = where
        self.left = dict(data)

    def fail(self, key: str, remedy: str) -> UsageError:
        """The error to raise about ``key``."""
        return UsageError(f"{self.where}: {key}: {remedy}")

    def take(self, key: str, convert: Callable[[Any, str], Any], *default: Any) -> Any:
        """The checked value of ``key``; without a default the key must be there."""
        if key not in self.left:
            if default:
                return default[0]
            raise self.fail(key, "is missing; add it")
        value = self.left.pop(key)
        try:
            return convert(value, f"{self.where}: {key}")
        except (TypeError, ValueError) as error:
            raise self.fail(key, str(error)) from error

    def done(self) -> None:
        """Refuse unknown keys: a misspelt one would otherwise be a silent default."""
        for key in self.left:
            raise self.fail(str(key), "is not a key of this part; remove it or correct its spelling")


def number(value: Any, where: str) -> float:  # noqa: ARG001 - every converter has the same signature
    """A number of 0 or more, at most `MOST`."""
    if not _is_number(value, 0):
        raise ValueError(f"is {_repr.repr(value)}; give a number of 0 or more, at most {MOST:g}")
    return float(value)


def positive(value: Any, where: str) -> float:
    """A number above 0, at most `MOST`."""
    if number(value, where) <= 0:
        raise ValueError(f"is {_repr.repr(value)}; give a number above 0")
    return float(value)


def count(value: Any, where: str) -> int:
    """A whole number of 0 or more."""
    if number(value, where) != int(value):
        raise ValueError(f"is {_repr.repr(value)}; give a whole number")
    return int(value)


def some(value: Any, where: str) -> int:
    """A whole number of 1 or more."""
    if count(value, where) < 1:
        raise ValueError(f"is {_repr.repr(value)}; give a whole number of 1 or more")
    return int(value)


def period(value: Any, where: str) -> float:
    """A number of seconds, 1 or more: what happens again after each needs a time that passes."""
    if number(value, where) < 1:
        raise ValueError(f"is {_repr.repr(value)}; give 1 s or more")
    return float(value)


def name(value: Any, where: str) -> str:
    """Printable text, as it goes into tables, at most 100 characters."""
    if not text(value, where).isprintable() or len(value) > 100:
        raise ValueError(f"is {_repr.repr(value)}; give a name of at most 100 printable characters")
    return str(value)


def text(value: Any, where: str) -> str:  # noqa: ARG001
    """Text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"is {_repr.repr(value)}; give text")
    return value


def pair(value: Any, where: str) -> Pair:
    """``[low, high]`` with low not above high."""
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"is {_repr.repr(value)}; give two numbers, [low, high]")
    low, high = number(value[0], where), number(value[1], where)
    if low > high:
        raise ValueError(f"is {_repr.repr(value)}; give the lower number first")
    return low, high


def items(value: Any, where: str) -> list[Any]:  # noqa: ARG001
    """A list; null stands for an empty one."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"is {_repr.repr(value)}; give a list")
    return value


def maybe(convert: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """A converter that also takes null, as None."""
    return lambda value, where: None if value is None else convert(value, where)


def part(value: Any, where: str) -> float:
    """A number from 0 to 1."""
    if number(value, where) > 1:
        raise ValueError(f"is {_repr.repr(value)}; give a number from 0 to 1")
    return float(value)


def step(value: Any, where: str) -> float:  # noqa: ARG001
    """A number of either sign that is not 0."""
    if not _is_number(value, -MOST) or not value:
        raise ValueError(f"is {_repr.repr(value)}; give a number of seconds above or below 0")
    return float(value)


def counts(value: Any, where: str) -> list[int]:
    """A list of at least one whole number of 0 or more."""
    found = [count(each, where) for each in items(value, where)]
    if not found:
        raise ValueError("is empty; give at least one number")
    return found
