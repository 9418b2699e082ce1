# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON of any depth: refused as a whole, or without what is too deep."""

from __future__ import annotations

import json

import pytest

from condor_vac.base.json_text import DEPTH, loads, without_depth


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"a": 1, "b": [2]}', '{"a": 1, "b": [2]}'),
        (f"[{nested(DEPTH - 1)}]", f"[{nested(DEPTH - 1)}]"),
        (f"[1, {nested(DEPTH + 9)}, 2]", f"[1, {'[' * (DEPTH - 1)}null{']' * (DEPTH - 1)}, 2]"),
        (nested(100_000), f"{'[' * DEPTH}null{']' * DEPTH}"),
        ('{"a": ' * 60 + "1" + "}" * 60, '{"a": ' * DEPTH + "null" + "}" * DEPTH),
        (f'["{"[" * 99}", "\\"{{", 3]', f'["{"[" * 99}", "\\"{{", 3]'),
        (f"[{nested(60)}, {nested(60)}]", f"[{', '.join(['[' * (DEPTH - 1) + 'null' + ']' * (DEPTH - 1)] * 2)}]"),
    ],
    ids=["flat", "at the limit", "beside others", "without end", "objects", "in texts", "twice"],
)
def test_what_is_too_deep_is_null(text: str, kept: str) -> None:
    assert without_depth(text) == kept
    assert loads(without_depth(text).encode()) == json.loads(kept)


@pytest.mark.parametrize("text", ["[" * 60, '{"a": ' * 60, nested(60) + "]", "[" * 60 + "]" * 20, '["' + "[" * 60])
def test_what_is_no_json_is_still_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"nests|Extra|Expecting|Unterminated"):
        loads(without_depth(text).encode())
