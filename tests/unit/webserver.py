# SPDX-License-Identifier: GPL-3.0-or-later
"""A real web server on loopback whose answers a test writes byte for byte, with or without TLS."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# Gets the connection and the request's text (lines until the blank one); what it does not send is not sent.
Route = Callable[[socket.socket, str], None]


def reply(body: bytes = b"", status: str = "200 OK", **headers: str) -> Route:
    """A whole answer with its Content-Length; header names with _ for -, and a value of "" leaves one out."""

    def route(connection: socket.socket, _request: str) -> None:
        lines = {"Content-Length": str(len(body)), **{name.replace("_", "-"): text for name, text in headers.items()}}
        head = "".join(f"{name}: {text}\r\n" for name, text in lines.items() if text)
        connection.sendall(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)

    return route


def redirect(place: str, status: str = "302 Found") -> Route:
    """An answer that leads to another address."""
    return reply(b"", status, Location=place)


def raw(*pieces: bytes) -> Route:
    """These bytes and the end of the connection."""

    def route(connection: socket.socket, _request: str) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return route


class WebServer:
    """Answers on loopback by ``routes`` (path with query → Route, else 404); ``requests`` is what came."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.routes: dict[str, Route] = {}
        self.requests: list[str] = []
        # Set when the server ends: a route that dawdles waits for it instead of for a time.
        self.ending = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def drip(self, head: bytes, seconds: float = 0.02, drop: bytes = b"x") -> Route:
        """``head``, then ``drop`` again and again, until the client has had enough."""

        def route(connection: socket.socket, _request: str) -> None:
            connection.sendall(head)
            while not self.ending.wait(seconds):
                connection.sendall(drop)

        return route

    def silence(self, connection: socket.socket, _request: str) -> None:
        """A route: no answer, and no end of the connection."""
        self.ending.wait()

    def close(self) -> None:
        """End the server and all its connections."""
        self.ending.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while not self.ending.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # A client that gives up is what many tests are about.
        with contextlib.suppress(OSError), connection:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    piece = connection.recv(4096)
                    if not piece:
                        return
                    request += piece
                text = request.decode("latin-1")
                self.requests.append(text)
                self.routes.get(text.split(" ", 2)[1], reply(b"", "404 Not Found"))(connection, text)


@contextlib.contextmanager
def web_server(certificate: Path | None = None) -> Iterator[WebServer]:
    """A server for the time of the block."""
    server = WebServer(certificate)
    try:
        yield server
    finally:
        server.close()


def certificate(path: Path, *names: str) -> Path:
    """A file with a key and a self-signed certificate for these host names and addresses (PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    alternatives: list[x509.GeneralName] = []
    for name in names:
        with contextlib.suppress(ValueError):
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
            continue
        alternatives.append(x509.DNSName(name))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path
