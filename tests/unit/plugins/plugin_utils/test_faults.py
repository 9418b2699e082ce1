# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a value by its option, and how it is said."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import faults

SHARING = {"type": "list", "elements": "str", "choices": ["nfs", "http"]}
STATE = {"type": "str", "choices": ["present", "absent", "held"], "default": "present"}


YES_OR_NO: tuple[Any, ...] = (True, False, "true", "False", "yes", "no", "on", "off", "1", "0", 1, 0)
NOT_YES_OR_NO: tuple[Any, ...] = ("maybe", "", "y", "t", "wahr", 2, None, [])
NO_NUMBER: tuple[Any, ...] = ("soon", "1.5", True, None, {}, [1])
NO_LIST: tuple[Any, ...] = ("nfs,http", "nfs", None, {"nfs": 1})
NO_MAPPING: tuple[Any, ...] = ("a=b", '{"a": 1}', None, [])


@pytest.mark.parametrize(
    ("value", "option"),
    [
        *((value, {"type": "bool"}) for value in YES_OR_NO),
        *((value, {"type": "int"}) for value in (0, -3, "30", 7)),
        *((value, {"type": "float"}) for value in (0, 1.5, "0.25")),
        *((value, {"type": "str"}) for value in ("", "x", 3, True, None)),
        *((value, {"type": "path"}) for value in ("/a", "a/b")),
        ({}, {"type": "dict"}),
        ({"a": [1]}, {"type": "dict"}),
        ([], SHARING),
        (["http", "nfs"], SHARING),
        ([3, "4"], {"type": "list", "elements": "int", "choices": [3, 4]}),
        ("held", STATE),
    ],
)  # fmt: skip
def test_what_is_right_has_no_remedy(value: Any, option: dict[str, Any]) -> None:
    assert faults.remedy(value, option) is None


@pytest.mark.parametrize(
    ("value", "option", "remedy"),
    [
        *((value, {"type": "bool"}, "must be true or false") for value in NOT_YES_OR_NO),
        *((value, {"type": "int"}, "must be a whole number") for value in NO_NUMBER),
        ("much", {"type": "float"}, "must be a number"),
        (False, {"type": "float"}, "must be a number"),
        ({}, {"type": "str"}, "must be text"),
        (["a"], {"type": "path"}, "must be text"),
        *((value, {"type": "dict"}, "must be a mapping of names to values") for value in NO_MAPPING),
        *((value, SHARING, "must be a list, such as [a, b]") for value in NO_LIST),
        (["nfs", "htp"], SHARING, "must be a list of nfs, http; did you mean http?"),
        ([2], {"type": "list", "elements": "int", "choices": [3, 4]}, "must be a list of 3, 4"),
        (["a"], {"type": "list", "elements": "int"}, "must be a list, such as [a, b] of type int"),
        ("presents", STATE, "must be one of present, absent, held; did you mean present?"),
        ("stopped", STATE, "must be one of present, absent, held"),
    ],
)  # fmt: skip
def test_what_is_wrong_has_a_remedy(value: Any, option: dict[str, Any], remedy: str) -> None:
    assert faults.remedy(value, option) == remedy


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("maybe", "'maybe'"),
        (3, "3"),
        ("a\nb\x1b[2J", r"'a\nb\x1b[2J'"),
        ({"token": "sesame"}, "a mapping"),
        ([{"token": "sesame"}], "a list"),
        (["nfs", 3], "['nfs', 3]"),
        ("x" * 200, "'" + "x" * 78 + "…"),
    ],
)
def test_a_value_is_shown_on_one_short_line_without_what_may_be_secret(value: Any, shown: str) -> None:
    assert faults.shown(value) == shown


def test_the_correction_is_the_nearest_word_or_all_of_them() -> None:
    assert faults.correction("memory_bm", ["memory_mb", "image"]) == "correct it to memory_mb"
    assert faults.correction("colour", ["memory_mb", "image"]) == "correct it to one of image, memory_mb"


@pytest.mark.parametrize(
    ("value", "known"),
    [(None, True), ([{"a": [1]}], True), (faults.UNKNOWN, False), ([{"a": [faults.UNKNOWN]}], False)],
)
def test_what_is_unknown_is_found_at_any_depth(value: Any, known: bool) -> None:
    assert faults.known(value) is known
