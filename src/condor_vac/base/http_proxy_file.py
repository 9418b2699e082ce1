# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that holds a site's HTTP proxy, whose password belongs into no argument list and no environment.

One JSON object, ``{"http_proxy": "http://...", "no_proxy": ["..."]}``, readable by who fetches alone.
"""

from __future__ import annotations

import os
import sys

from condor_vac.base import atomic, http_proxy, json_text
from condor_vac.base.errors import UsageError
from condor_vac.base.http_proxy import HttpProxy

# Of a worker node, for its images; root's.
NODE_FILE = "/etc/condor_vac/http_proxy.json"
STANDARD_INPUT = "-"
OPTION_HELP = 'file with the HTTP proxy, {"http_proxy": "http://HOST:PORT", "no_proxy": []}; - for standard input'
_LIMIT = 1 << 16
_KEYS = {"http_proxy", "no_proxy"}


def load(path: str | None) -> HttpProxy | None:
    """The proxy in a file; None without one (``path`` is None), and where it names none. Raises VacError."""
    if path is None:
        return None
    data = sys.stdin.buffer.read(_LIMIT) if path == STANDARD_INPUT else atomic.read(path, _LIMIT)
    try:
        found = json_text.loads(data)
    except ValueError as error:
        # Not the error's own words, which could show a part of the file.
        raise UsageError(f"{path}: not JSON; correct the file") from error
    if not isinstance(found, dict) or set(found) - _KEYS:
        raise UsageError(f"{path}: must hold one JSON object with http_proxy and no_proxy; correct the file")
    try:
        return http_proxy.parse(found.get("http_proxy"), found.get("no_proxy"))
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def load_if_there(path: str) -> HttpProxy | None:
    """As ``load``, but None if there is no such file. Raises VacError."""
    return load(path) if os.path.exists(path) else None
