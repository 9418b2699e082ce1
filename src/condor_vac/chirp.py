# SPDX-License-Identifier: GPL-3.0-or-later
"""Attributes of a running job's ad in the schedd, set through the starter by condor_chirp.

Works for a job with WantIOProxy while its starter lives. Runs as the job's user, who owns the key to it
(.chirp.config).
"""

from __future__ import annotations

import math
import os
import re
import shutil
import time
from collections.abc import Mapping
from typing import Union

from condor_vac import tools
from condor_vac.errors import VacError

Value = Union[str, int, float, bool, None]

# Where HTCondor's packages put it: Debian, Enterprise Linux, HTCondor's own tarball and older Debian.
LIBEXEC_PATH = "/usr/libexec/condor:/usr/lib/condor/libexec:/usr/local/libexec/condor:/usr/bin"
# The protocol's line and the starter's buffer are longer; this keeps an ad readable as well.
LITERAL_LIMIT = 900
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def literal(value: Value) -> str:
    """``value`` as one ClassAd literal on one line, which every ClassAd parser reads alike.

    A string's backslashes become slashes: the old and the new syntax of ClassAds, both of which a value
    passes through, disagree on them. What cannot be printed becomes U+FFFD, and a long string is cut.
    """
    if value is None:
        return "undefined"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else "undefined"
    return '"' + "".join(_cut([_safe(char) for char in value])) + '"'


def set_attributes(config: str, attributes: Mapping[str, Value], *, timeout: float) -> None:
    """Set each attribute in the job's ad, in order; ``config`` is the job's .chirp.config.

    ``timeout`` is for all together, in seconds. Raises VacError at the first that fails.
    """
    deadline = time.monotonic() + timeout
    program = shutil.which("condor_chirp", path=LIBEXEC_PATH)
    if program is None:
        raise VacError(f"condor_chirp: not found in {LIBEXEC_PATH}; install HTCondor")
    if not os.path.exists(config):
        raise VacError(f"{config}: not there; the job needs WantIOProxy = true and a living starter")
    for name, value in attributes.items():
        if not _NAME.fullmatch(name):
            raise VacError(f"{name!r}: not an attribute name")
        tools.run(
            [program, "set_job_attr", name, literal(value)],
            timeout=max(deadline - time.monotonic(), 0.1),
            environment={"_CONDOR_CHIRP_CONFIG": config},
        )


def _safe(char: str) -> str:
    if char == "\\":
        return "/"
    if char == '"':
        return '\\"'
    return char if char.isprintable() else "\N{REPLACEMENT CHARACTER}"


def _cut(pieces: list[str]) -> list[str]:
    """The pieces that fit; a piece is an escaped character and stays whole."""
    size = 0
    for index, piece in enumerate(pieces):
        size += len(piece.encode())
        if size > LITERAL_LIMIT:
            return pieces[:index]
    return pieces
