# SPDX-License-Identifier: GPL-3.0-or-later
"""How a VM ended: its shutdown message, its runtime, and what they mean (HSF-TN-2016-04)."""

from __future__ import annotations

import re
from dataclasses import dataclass

TEXT_LIMIT = 256
_CODE = re.compile(rb"([1-9][0-9]{2})(?:[ \t]|$)")
_KINDS = {1: "host_request", 2: "success", 3: "no_work", 4: "banned", 5: "site", 6: "experiment"}


@dataclass(frozen=True)
class Outcome:
    """``code`` 100 to 999 or None; ``text`` printable, one line; ``abort``: back off; ``kind`` a word."""

    code: int | None
    text: str
    abort: bool
    kind: str


def parse(message: bytes | None, runtime: float, fizzle_seconds: float) -> Outcome:
    """The outcome of a VM that lived ``runtime`` seconds and left ``message`` (None: no readable one)."""
    first = re.split(rb"[\r\n]", message or b"", maxsplit=1)[0]
    found = _CODE.match(first)
    if found is None:
        fizzled = not runtime >= fizzle_seconds
        return Outcome(None, _safe_text(first), fizzled, "fizzle" if fizzled else "none")
    code = int(found[1])
    return Outcome(code, _safe_text(first[found.end() :]), code >= 300, _KINDS.get(code // 100, "agent"))


def _safe_text(raw: bytes) -> str:
    decoded = raw[: 4 * TEXT_LIMIT].decode("utf-8", "replace").strip()
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in decoded)[
        :TEXT_LIMIT
    ]
