# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the plain values of an ad in the old syntax, as hooks and the XML script get their job's.

Every expression of an ad is its submitter's. To evaluate one can take any time and memory, end the process, and give
something else each time, so nothing is evaluated here: what our programs need of an ad is written there as a number, a
text, true or false by condor_submit and the daemons (HTCondor's submit_utils.cpp, vm_gahp_server.cpp). An ad is one
attribute a line, as sPrintAd writes it.
"""

from __future__ import annotations

import re
from typing import Union

from condor_vac.base.errors import VacError

AD_LIMIT = 1 << 20
_NAME = r"[A-Za-z_][A-Za-z0-9_.]*"
# As HTCondor writes them: a number that begins with 0 would be octal.
_INTEGER = r"-?(0|[1-9][0-9]{0,17})"
# The old syntax and the new one read a backslash in different ways, and no value that we use has one.
_TEXT = r'"[^"\\]*"'
_WORDS = {"true": True, "false": False, "undefined": None}

Value = Union[int, bool, str, None]


class Ad:
    """One ad, read-only; attribute names are case-insensitive, as HTCondor's are."""

    def __init__(self, text: str, source: str) -> None:
        """Take the lines of ``text`` apart; ``source`` names the ad in messages. Raises VacError if it is too long."""
        if len(text) > AD_LIMIT:
            raise VacError(f"{source}: more than {AD_LIMIT} characters; this is not a job ad")
        self.source = source
        self._texts: dict[str, str] = {}
        self._twice: set[str] = set()
        self._wrong: str | None = None
        for line in text.split("\n"):
            if line.strip() and not line.lstrip().startswith("#"):
                self._take(line)

    def _take(self, line: str) -> None:
        name, value = line.partition("=")[0].strip(), line.partition("=")[2].strip()
        if not re.fullmatch(_NAME, name) or not value or value.startswith("=") or not _whole(value):
            self._wrong = self._wrong or line
            return
        if self._texts.setdefault(name.lower(), value) != value:
            self._twice.add(name.lower())

    def check(self) -> None:
        """Whether every line is one attribute; else a line end in some value may pass for others. Raises VacError."""
        if self._wrong is not None:
            raise VacError(f"{self.source}: the line {self._wrong[:80]!a} is not one attribute; correct the ad")

    def value(self, name: str) -> Value:
        """The plain value of the attribute; None where it is missing or undefined.

        Raises VacError for an expression, and for an attribute that has two values: which of them HTCondor takes
        depends on who reads.
        """
        text = self._texts.get(name.lower())
        if text is None:
            return None
        if name.lower() in self._twice:
            raise VacError(f"{self.source}: {name}: is there twice, with different values; remove one")
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        if re.fullmatch(_INTEGER, text):
            return int(text)
        if re.fullmatch(_TEXT, text):
            return text[1:-1]
        raise VacError(
            f"{self.source}: {name}: must be a whole number, true, false or a text without quotes and backslashes; "
            f"no expression is evaluated; it is {text[:80]!a}"
        )


def _whole(value: str) -> bool:
    r"""Whether every string in the value ends. In the old syntax ``\"`` is a quote, or an end at the line's end."""
    ended = value.endswith('"')
    inner = value[:-1] if ended else value
    return (inner.replace('\\"', "").count('"') + ended) % 2 == 0
