# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults of an inventory as one line each, and what is wrong with a value by its entry in an argument spec."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import one_line

# A value that is not known: it takes facts of nodes, or is at fault itself, which has a line of its own.
UNKNOWN = object()
# What Ansible's filter ``bool`` takes for true or false; it takes every other text for false.
TRUE = frozenset({"true", "yes", "on", "1"})
FALSE = frozenset({"false", "no", "off", "0"})
# Words of an option that are not about its values.
_ABOUT = ("version_added", "description", "default", "required")
_KINDS = {
    "bool": "must be true or false",
    "int": "must be a whole number",
    "float": "must be a number",
    "dict": "must be a mapping of names to values",
    "list": "must be a list, such as [a, b]",
}
_SHOWN = 80


def line(subject: str, *parts: str) -> str:
    """One line: *subject* (a variable, a key), then its value or what is wrong with it, then the remedy."""
    return one_line(": ".join((subject, *parts)))


def shown(value: object) -> str:
    """A value as a message has it. What is inside a mapping may be secret."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list, tuple)) for item in value):
        return "a list"
    return one_line(repr(value) if isinstance(value, str) else str(value), _SHOWN)


def nearest(word: str, words: Iterable[str], cutoff: float = 0.7) -> str | None:
    """The word most like *word*, None if none is near."""
    return next(iter(difflib.get_close_matches(word, sorted(words), 1, cutoff)), None)


def correction(word: str, words: Collection[str]) -> str:
    """``correct it to X``, with the nearest of *words*, or with all of them if none is near."""
    near = nearest(word, words)
    return f"correct it to {near or 'one of ' + ', '.join(sorted(words))}"


def known(value: object) -> bool:
    """Whether nothing in a value is UNKNOWN."""
    if isinstance(value, Mapping):
        return all(known(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(known(item) for item in value)
    return value is not UNKNOWN


def remedy(value: object, option: Mapping[str, Any]) -> str | None:
    """What a value must be by its option in an argument spec; None if it is that.

    Stricter than Ansible, which takes ``a,b`` for a list, ``k=v`` for a mapping, and a list for text.
    """
    kind = str(option.get("type", "str"))
    if not _is_kind(value, kind):
        return _KINDS.get(kind, "must be text")
    bare = {word: item for word, item in option.items() if word not in _ABOUT}
    outcome = ArgumentSpecValidator({"value": bare}).validate({"value": value})
    if not outcome.error_messages:
        return None
    choices = [str(choice) for choice in option.get("choices", ())]
    if not choices:
        elements = f" of type {option['elements']}" if kind == "list" else ""
        return f"{_KINDS.get(kind, 'must be text')}{elements}"
    wrong = next((str(item) for item in _items(value) if str(item) not in choices), "")
    near = nearest(wrong, choices)
    beginning = "must be a list of" if kind == "list" else "must be one of"
    return f"{beginning} {', '.join(choices)}{f'; did you mean {near}?' if near else ''}"


def _items(value: object) -> Iterable[object]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _is_kind(value: object, kind: str) -> bool:
    """Whether a value can be of a kind at all; null is a text that is empty, and nothing else."""
    if kind == "bool":
        return isinstance(value, (bool, int, str)) and str(value).lower() in TRUE | FALSE
    if kind == "dict":
        return isinstance(value, Mapping)
    if kind == "list":
        return isinstance(value, (list, tuple))
    if kind in {"int", "float"}:
        return isinstance(value, (int, float, str)) and not isinstance(value, bool)
    return not isinstance(value, (Mapping, list, tuple))
