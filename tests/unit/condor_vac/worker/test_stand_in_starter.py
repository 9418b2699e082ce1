# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for a starter knows who asks, on a machine on which ports are used again."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.unit.condor_vac.worker.conftest import GID, ROOT, UID
from tests.unit.condor_vac.worker.starter import owner


def _connected(port: int, peer: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A connection from this port (0 for any) to a listening socket: its two ends."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(("127.0.0.1", port))
    client.connect(peer.getsockname())
    return client, peer.accept()[0]


@pytest.mark.skipif(not ROOT, reason="needs root, to have a socket of another user")
def test_an_ended_connection_from_the_same_port_is_not_taken_for_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as earlier, socket.create_server(("127.0.0.1", 0)) as later:
        client, server = _connected(0, earlier)
        port = client.getsockname()[1]
        client.close()
        server.close()
        client, server = _connected(port, later)
        with client, server:
            os.fchown(client.fileno(), UID, GID)
            table = [line.split()[1:3] for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
            assert [local for local, _ in table].count(f"0100007F:{port:04X}") == 2
            assert owner(port, later.getsockname()[1]) == UID
            assert owner(port, earlier.getsockname()[1]) == 0
