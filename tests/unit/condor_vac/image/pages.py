# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of the tests, and the pages of a web server that has them."""

from __future__ import annotations

import hashlib
import random
import socket
from pathlib import Path

from condor_vac.image.store import Store
from tests.unit.webserver import Route, reply


def image(seed: int, size: int = 300_000) -> bytes:
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def page(body: bytes, etag: str = "", modified: str = "") -> Route:
    """A page that a server with validators has."""

    def route(connection: socket.socket, request: str) -> None:
        same = (etag and f"If-None-Match: {etag}\r\n" in request) or (
            modified and f"If-Modified-Since: {modified}\r\n" in request
        )
        answer = reply(b"", "304 Not Modified") if same else reply(body, ETag=etag, Last_Modified=modified)
        answer(connection, request)

    return route


def contents(store: Store, name: str = "vm.iso") -> bytes:
    return Path(store.directory, name).read_bytes()
