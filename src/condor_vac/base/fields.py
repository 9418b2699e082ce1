# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks for the keys of a JSON settings file: each names in a few words what the value must be.

A check takes the value as JSON gave it and returns the value to use; it raises ValueError with the remedy.
``check_all`` turns that into one line that names the source and the key. Used by machinetype and settings.
The checks made here are rules: they also know the JSON Schema of what they accept, for editors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from condor_vac.base import atomic, json_text
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import (
    INTERFACE_NAME,
    MACHINETYPE_NAME,
    MACHINETYPE_NAME_REMEDY,
    USER_NAME,
    USER_NAME_REMEDY,
)

Check = Callable[[Any], Any]

# A settings file is written by hand or by Ansible; anything near this is not one.
FILE_LIMIT = 1 << 20

# Without what a submit description (`,` `$` quotes blank), vm_disk (`:` `,`) or /etc/exports reads otherwise
_PATH = r"(/[A-Za-z0-9._+@=-]+)+"
_FILE_NAME = r"[A-Za-z0-9_+@=-][A-Za-z0-9._+@=-]{0,127}"


class Rule:
    """A check with the JSON Schema of the values that it accepts.

    A schema cannot express everything: it accepts all that the check accepts, and may accept more.
    """

    __slots__ = ("check", "schema")

    def __init__(self, check: Check, schema: Mapping[str, Any]) -> None:
        self.check = check
        self.schema = schema

    def __call__(self, value: Any) -> Any:
        return self.check(value)


def _whole(pattern: str) -> str:
    """The regular expression that matches the whole text, as JSON Schema needs it."""
    return f"^(?:{pattern})$"


def integer(low: int, high: int) -> Rule:
    """A whole number within the bounds; true and false, which Python counts as numbers, are none."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return Rule(check, {"type": "integer", "minimum": low, "maximum": high})


def number(low: float, high: float) -> Rule:
    """A number within the bounds, as float; NaN is within none."""

    def check(value: Any) -> float:
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not good or not low <= value <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return float(value)

    return Rule(check, {"type": "number", "minimum": low, "maximum": high})


def _boolean(value: Any) -> bool:
    """True or false themselves, not a word or number that stands for them."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


boolean = Rule(_boolean, {"type": "boolean"})


def one_of(*choices: str) -> Rule:
    """One of the words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return Rule(check, {"type": "string", "enum": list(choices)})


def matching(pattern: str, remedy: str) -> Rule:
    """Text that the regular expression matches from end to end."""

    def check(value: Any) -> str:
        # Compiled when it is first needed: of a file's many keys a VM's start meets few.
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(remedy)
        return value

    return Rule(check, {"type": "string", "pattern": _whole(pattern)})


machinetype_name = matching(MACHINETYPE_NAME, MACHINETYPE_NAME_REMEDY)
user_name = matching(USER_NAME, USER_NAME_REMEDY)
interface_name = matching(INTERFACE_NAME, "must be the name of a network interface")
# Like a host name.
space_name = matching(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,254}", "must be letters, digits and . _ : -, like a host name")


def line(limit: int = 4096) -> Rule:
    """One line of printable text (an expression, a label): no line ends, no control characters."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or len(value) > limit or not value.isprintable():
            raise ValueError(f"must be one line of 1 to {limit} printable characters")
        return value

    return Rule(check, {"type": "string", "minLength": 1, "maxLength": limit})


def text(limit: int) -> Rule:
    """Any text without NUL, line ends included; a whole number is taken as its digits, as YAML gives it."""

    def check(value: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or "\0" in value or len(value) > limit:
            raise ValueError(f"must be text of at most {limit} characters without NUL")
        return value

    return Rule(check, {"type": ["string", "integer"], "maxLength": limit})


def _absolute_path(value: Any) -> str:
    """An absolute, normal path of characters that every program here passes on unchanged."""
    if not isinstance(value, str) or not re.fullmatch(_PATH, value) or len(value) > 1024:
        raise ValueError("must be an absolute path of letters, digits and . _ + @ = - (no blank, comma or colon)")
    if {".", ".."} & set(value.split("/")):
        raise ValueError("must be a path without . and .. in it")
    return value


absolute_path = Rule(_absolute_path, {"type": "string", "pattern": _whole(_PATH), "maxLength": 1024})


def _file_name(value: Any) -> str:
    """The name of a file in a known directory: no slash, no leading dot."""
    if not isinstance(value, str) or not re.fullmatch(_FILE_NAME, value):
        raise ValueError("must be a file name of letters, digits and . _ + @ = - (no slash, no leading dot)")
    return value


file_name = Rule(_file_name, {"type": "string", "pattern": _whole(_FILE_NAME)})


def optional(rule: Rule) -> Rule:
    """What ``rule`` accepts, or null."""
    schema = {**rule.schema, "type": [rule.schema["type"], "null"]}
    return Rule(lambda value: None if value is None else rule(value), schema)


def mapping_of(key_rule: Rule, value_rule: Rule, limit: int = 256) -> Rule:
    """An object whose keys and values pass the checks; the error names the key inside."""

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or len(value) > limit:
            raise ValueError(f"must be an object (NAME: value) of at most {limit} entries")
        result = {}
        for key, item in value.items():
            try:
                result[key_rule(key)] = value_rule(item)
            except ValueError as error:
                raise ValueError(f"entry {key!r}: {error}") from error
        return result

    schema = {
        "type": "object",
        "propertyNames": key_rule.schema,
        "additionalProperties": value_rule.schema,
        "maxProperties": limit,
    }
    return Rule(check, schema)


def list_of(item_rule: Rule, limit: int = 64) -> Rule:
    """A list whose items pass the check, as a tuple."""

    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) or len(value) > limit:
            raise ValueError(f"must be a list of at most {limit} items")
        return tuple(item_rule(item) for item in value)

    return Rule(check, {"type": "array", "items": item_rule.schema, "maxItems": limit})


def check_all(data: object, checks: Mapping[str, Check], required: Collection[str], source: str) -> dict[str, Any]:
    """``data`` with every value checked; raises UsageError for the first unknown, missing or wrong key."""
    result, faults = judge(data, checks, required)
    if faults:
        raise UsageError(f"{source}: {faults[0]}")
    return result


def judge(data: object, checks: Mapping[str, Check], required: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """The values of ``data`` that are good, and a line (key, remedy) for each unknown, missing or wrong key."""
    if not isinstance(data, Mapping):
        return {}, [f"must hold one JSON object with the keys {', '.join(sorted(required)) or 'documented'}"]
    faults = [
        f"{key!r}: unknown key; remove it or correct it to one of {', '.join(checks)}"
        for key in data
        if key not in checks
    ]
    faults += [f"{key}: missing; add it" for key in checks if key in required and key not in data]
    result = {}
    for key, value in data.items():
        if key not in checks:
            continue
        try:
            result[key] = checks[key](value)
        except ValueError as error:
            # What is in a mapping may be secret, and the error names the entry.
            faults.append(f"{key}: {error}" + ("" if isinstance(value, Mapping) else f"; it is {_shown(value)}"))
    return result, faults


def load_object(path: str) -> object:
    """The JSON value in the file; raises UsageError for what is not strict JSON or has a key twice."""
    try:
        return json_text.loads(atomic.read(path, FILE_LIMIT), object_pairs_hook=_unique, parse_constant=_no_constant)
    except VacError as error:
        raise UsageError(str(error)) from error
    except ValueError as error:
        raise UsageError(f"{path}: not valid JSON: {error}; correct the file") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [key for key, _value in pairs]
        raise ValueError(f"key {next(key for key in names if names.count(key) > 1)!r} is given twice")
    return result


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a number")


def _shown(value: Any) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
