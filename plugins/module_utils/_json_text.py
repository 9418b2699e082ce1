# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# Made from src/condor_vac/base/json_text.py by python -m tests.shared_file: change that file, not this one.
"""JSON that somebody else may have written, with a bound on how deep it nests.

Python's own parser stops at a depth that depends on its version and on who called it, and what passes it can still be
too deep to be printed or compared.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Nothing that is read here has more than five levels.
DEPTH = 50
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[]}]', re.DOTALL)


def loads(data: bytes, **options: Any) -> Any:
    """The JSON value, by json.loads with these options. Raises ValueError, also for one of more than DEPTH levels."""
    text = data.decode(json.detect_encoding(data), "surrogatepass")
    check_depth(text)
    return json.loads(text, **options)


def without_depth(text: str) -> str:
    """The JSON text with null for each value that begins below DEPTH levels, so that it costs nothing but itself."""
    if text.count("[") + text.count("{") <= DEPTH:
        return text
    kept: list[str] = []
    depth = place = 0
    for token in _TOKEN.finditer(text):
        first = token[0][0]
        if first in "[{":
            depth += 1
            if depth == DEPTH + 1:
                kept += [text[place : token.start()], "null"]
        elif first in "]}":
            depth -= 1
            if depth == DEPTH:
                place = token.end()
    return "".join([*kept, text[place:]]) if depth <= DEPTH else text


def check_depth(text: str) -> None:
    """Raises ValueError for JSON, or YAML that has brackets as JSON does, of more than DEPTH levels."""
    if text.count("[") + text.count("{") <= DEPTH:
        return
    depth = 0
    for token in _TOKEN.finditer(text):
        first = token[0][0]
        depth += (first in "[{") - (first in "]}")
        if depth > DEPTH:
            raise ValueError(f"nests more than {DEPTH} levels deep")
