# SPDX-License-Identifier: GPL-3.0-or-later
"""A real forward proxy on loopback, for CONNECT and for absolute http URLs, that resolves names by a test's table."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import threading
import urllib.parse
from collections.abc import Iterator, Mapping


class ForwardProxy:
    """Connects clients to ``hosts`` (HOST:PORT → port on loopback; any other goes to its own port on loopback).

    ``requests`` are the request lines that came, ``heads`` their headers. ``user`` is USER:PASSWORD if it asks for one,
    ``answer`` a status line (such as ``502 Bad Gateway``) with which it refuses everything.
    """

    def __init__(self, hosts: Mapping[str, int] | None = None, user: str = "", answer: str = "") -> None:
        self.requests: list[str] = []
        self.heads: list[str] = []
        self.answer = answer
        self._hosts = dict(hosts or {})
        self._user = user
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def with_user(self, user: str) -> str:
        """The proxy's URL with USER:PASSWORD in it."""
        name, _, password = user.partition(":")
        quoted = f"{urllib.parse.quote(name, safe='')}:{urllib.parse.quote(password, safe='')}"
        return self.url.replace("//", f"//{quoted}@")

    def close(self) -> None:
        """End the proxy; connections end with their clients."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # A client that gives up is its own affair.
        with contextlib.suppress(OSError), client:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(4096)
                if not piece:
                    return
                head += piece
            text = head.decode("latin-1")
            line, _, headers = text.partition("\r\n")
            self.requests.append(line)
            self.heads.append(headers)
            refusal = self._refusal(headers)
            if refusal:
                client.sendall(f"HTTP/1.1 {refusal}\r\nContent-Length: 4\r\n\r\nno!\n".encode())
                return
            self._forward(client, line, headers)

    def _refusal(self, headers: str) -> str:
        wanted = base64.b64encode(self._user.encode()).decode()
        if self._user and f"Proxy-Authorization: Basic {wanted}\r\n" not in headers:
            return "407 Proxy Authentication Required"
        return self.answer

    def _forward(self, client: socket.socket, line: str, headers: str) -> None:
        method, target, _ = line.split(" ")
        place = target if method == "CONNECT" else urllib.parse.urlsplit(target).netloc
        port = self._hosts.get(place, int(place.rpartition(":")[2]))
        try:
            server = socket.create_connection(("127.0.0.1", port))
        except OSError:
            client.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            return
        with server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = urllib.parse.urlsplit(target)._replace(scheme="", netloc="").geturl()
                own = "".join(f"{one}\r\n" for one in headers.split("\r\n") if one and not one.startswith("Proxy-"))
                server.sendall(f"{method} {path} HTTP/1.1\r\n{own}\r\n".encode("latin-1"))
            _relay(client, server)


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Bytes both ways until either ends."""
    peers = {one: other, other: one}
    while True:
        for ready in select.select(list(peers), [], [])[0]:
            piece = ready.recv(65536)
            if not piece:
                return
            peers[ready].sendall(piece)


@contextlib.contextmanager
def forward_proxy(hosts: Mapping[str, int] | None = None, user: str = "", answer: str = "") -> Iterator[ForwardProxy]:
    """A proxy for the time of the block."""
    made = ForwardProxy(hosts, user, answer)
    try:
        yield made
    finally:
        made.close()
