# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches what a site or an experiment publishes over https, within bounds that the caller sets.

Used for vacuum pipes, user data templates and images. ``download`` streams to any writer, ``get`` returns
bytes, ``read`` takes a file as well, ``latest`` keeps the last good copy. What a server can do wrong ends in
one FetchError: another status than 200, a body that is longer than allowed or shorter than announced,
compression (never asked for), slowness at any point, and redirects that loop or lead away from https.

Plain http is for this machine's own addresses only. Proxies of the environment are not used, because a
daemon, a hook and an administrator's shell would then see different things; the site's proxy is given as ``Access``.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import re
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from condor_vac import __version__
from condor_vac.base import atomic, http_proxy, public_hosts, urls
from condor_vac.base.http_proxy import Exempt, HttpProxy
from condor_vac.base.urls import FetchError

CHUNK = 1 << 18
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AGENT = f"condor_vac/{__version__}"

Progress = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class Limits:
    """What a fetch may cost: bytes of the body, seconds in all and without a byte, redirects followed."""

    bytes: int
    seconds: float = 60.0
    idle_seconds: float = 20.0
    redirects: int = 5


@dataclass(frozen=True)
class Access:
    """How servers are reached. ``ca`` is a file or directory of CA certificates trusted besides the system's (a grid's
    /etc/grid-security/certificates); ``proxy`` is asked for all hosts but those that it exempts, None for none.

    ``private_hosts`` is given, be it empty, for a URL that the site did not write: it and what it redirects to may lead
    to public addresses and to these hosts alone."""

    ca: str | None = None
    proxy: HttpProxy | None = None
    private_hosts: tuple[Exempt, ...] | None = None


DIRECT = Access()


@dataclass(frozen=True)
class Answer:
    """What came. ``modified`` is False for 304 (nothing was written). ``url`` is the last one after redirects.

    ``etag`` and ``last_modified`` are the server's words, to be handed back as ``known``.
    """

    url: str
    size: int
    modified: bool
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True)
class Known:
    """The validators of an earlier Answer. With them a server may answer 304 (not modified)."""

    etag: str | None = None
    last_modified: str | None = None

    def headers(self) -> dict[str, str]:
        """The conditional request's headers; what could not be a header value is left out."""
        found = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in found.items() if value and value.isascii() and value.isprintable()}


def download(
    url: str,
    write: Callable[[bytes], object],
    limits: Limits,
    known: Known | None = None,
    *,
    access: Access = DIRECT,
    progress: Progress | None = None,
) -> Answer:
    """Stream the body of ``url`` to ``write``, piece by piece. Raises FetchError, and what ``write`` raises.

    What was written before an error is the caller's to throw away. ``progress`` gets bytes so far and the size
    announced, None if there is none.
    """
    deadline = time.monotonic() + limits.seconds
    first = urls.parse(url)
    current = first
    for _hop in range(limits.redirects + 1):
        with contextlib.closing(_Exchange(current, limits, deadline, known, access)) as exchange:
            if exchange.response.status not in REDIRECTS:
                return _answer(exchange, write, limits, known, progress)
            place = exchange.response.headers.get("Location")
        current = _follow(current, place, first)
    raise FetchError(f"{url}: more than {limits.redirects} redirects; give the address that they lead to")


def get(url: str, limits: Limits, *, access: Access = DIRECT) -> bytes:
    """The body of ``url``. Raises FetchError."""
    body = io.BytesIO()
    download(url, body.write, limits, access=access)
    return body.getvalue()


def read(source: str, limits: Limits, *, access: Access = DIRECT) -> bytes:
    """The contents of a file (a path) or of an https URL. Raises VacError.

    Only for a source that the site itself named: what an experiment publishes must never choose a file here.
    """
    return get(source, limits, access=access) if urls.is_url(source) else atomic.read(source, limits.bytes)


def _follow(
    current: urllib.parse.SplitResult, place: str | None, first: urllib.parse.SplitResult
) -> urllib.parse.SplitResult:
    if not place:
        raise FetchError(f"{current.geturl()}: redirects to nowhere; correct the server")
    try:
        joined = urllib.parse.urljoin(current.geturl(), place)
    except ValueError as error:
        raise FetchError(f"{current.geturl()}: redirects to {place[:120]!a}: {error}") from error
    return urls.parse(joined, first)


class _Exchange:
    """One request and its answer on one connection, which is shut down at the deadline.

    A time limit of the socket is not enough: a server that sends a byte now and then never reaches it.
    """

    def __init__(
        self, url: urllib.parse.SplitResult, limits: Limits, deadline: float, known: Known | None, access: Access
    ) -> None:
        self.url = url.geturl()
        self._parts = url
        self._limits = limits
        self._deadline = deadline
        self._expired = threading.Event()
        self._stack = contextlib.ExitStack()
        secure = url.scheme == "https"
        self._host, self._port = url.hostname or "", url.port or (443 if secure else 80)
        self._proxy = _proxy_for(access.proxy, self._host, self._port, secure)
        # Until the proxy has let us through, or has taken the request, it is what does something wrong.
        self._at_proxy = self._proxy is not None
        with self._faults():
            self.response = self._ask(known.headers() if known else {}, access.ca, self._places(access.private_hosts))

    def read(self) -> bytes:
        """The next piece of the body, empty at its end."""
        with self._faults():
            return self.response.read(CHUNK)

    def close(self) -> None:
        """End the connection."""
        self._stack.close()

    def refusal(self) -> FetchError:
        """What an answer without the document means."""
        status, reason = self.response.status, self.response.reason
        if self._proxy is not None and status == 407:
            return self._unwelcome(self._proxy)
        return FetchError(f"{self.url}: the server answered {status} {reason[:80]!a}{self._through()}", status)

    def _places(self, private_hosts: tuple[Exempt, ...] | None) -> list[tuple[str, int]]:
        """Where to connect to, one after the other. Raises FetchError for a server that may not be asked, OSError."""
        proxy, host, port = self._proxy, self._host, self._port
        found = [(host, port)]
        if private_hosts is not None:
            try:
                found = [(text, port) for text in public_hosts.addresses(self.url, host, port, private_hosts)]
            except socket.gaierror:
                # A node may know no names but its proxy's.
                if proxy is None:
                    raise
        return found if proxy is None else [(proxy.host, proxy.port)]

    def _ask(self, headers: dict[str, str], ca: str | None, places: list[tuple[str, int]]) -> http.client.HTTPResponse:
        proxy, host, port = self._proxy, self._host, self._port
        plain = _connected(places, min(self._limits.idle_seconds, self._left()))
        self._stack.callback(plain.close)
        # A TLS socket takes the descriptor of the plain one; this second one ends the connection under both.
        self._end_in_time(self._stack.enter_context(plain.dup()))
        plain.settimeout(self._limits.idle_seconds)
        connection = http.client.HTTPConnection(host, port)
        target = urllib.parse.urlunsplit(("", "", self._parts.path or "/", self._parts.query, ""))
        own = {"Host": self._parts.netloc, "User-Agent": _AGENT, "Connection": "close"}
        if self._parts.scheme == "https":
            if proxy is not None:
                self._connect(plain, proxy)
            connection.sock = _secured(plain, host, ca)
        else:
            connection.sock = plain
            if proxy is not None:
                target, own = f"http://{self._parts.netloc}{target}", {**own, **proxy.headers()}
        self._at_proxy = False
        self._stack.callback(connection.close)
        connection.request("GET", target, headers={**own, "Accept-Encoding": "identity", **headers})
        return connection.getresponse()

    def _connect(self, plain: socket.socket, proxy: HttpProxy) -> None:
        """Have the proxy connect ``plain`` to the server (CONNECT, RFC 9110). Raises FetchError if it refuses."""
        place = http_proxy.authority(self._host, self._port)
        headers = {"Host": place, "User-Agent": _AGENT, **proxy.headers()}
        lines = [f"CONNECT {place} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        plain.sendall("\r\n".join(lines).encode("ascii"))
        answer = http.client.HTTPResponse(plain, method="CONNECT")
        # The server itself is silent until it is greeted, so that nothing of its own is lost here.
        with contextlib.closing(answer):
            answer.begin()
        if answer.status == 407:
            raise self._unwelcome(proxy)
        if not 200 <= answer.status < 300:
            reason = answer.reason[:80]
            raise FetchError(
                f"{self.url}: the proxy {proxy.shown} answered {answer.status} {reason!a} to CONNECT {place}"
            )
        self._at_proxy = False

    def _unwelcome(self, proxy: HttpProxy) -> FetchError:
        if proxy.credentials is None:
            remedy = "asks for a user and a password (407); write it as http://USER:PASSWORD@HOST:PORT"
        else:
            remedy = "does not accept its user and password (407); correct them"
        return FetchError(f"{self.url}: the proxy {proxy.shown} {remedy}")

    def _through(self) -> str:
        return "" if self._proxy is None else f" (through the proxy {self._proxy.shown})"

    def _end_in_time(self, handle: socket.socket) -> None:
        def stop() -> None:
            self._expired.set()
            with contextlib.suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(max(self._deadline - time.monotonic(), 0), stop)
        timer.daemon = True
        timer.start()
        self._stack.callback(timer.join)
        self._stack.callback(timer.cancel)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """What the network does wrong inside, as a FetchError; the connection is closed then."""
        try:
            yield
        except FetchError:
            self.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if self._expired.is_set() or time.monotonic() >= self._deadline:
                raise self._too_slow() from error
            if self._proxy is not None and self._at_proxy:
                shown = self._proxy.shown
                raise FetchError(f"{self.url}: the proxy {shown}: {_said(error, 'it')}; check its address") from error
            raise FetchError(f"{self.url}: {_said(error)}{self._through()}") from error
        if self._expired.is_set():
            self.close()
            raise self._too_slow()

    def _too_slow(self) -> FetchError:
        seconds = self._limits.seconds
        return FetchError(
            f"{self.url}: not complete within {seconds:g} s{self._through()}; is the server slow, or far away?"
        )


def _proxy_for(proxy: HttpProxy | None, host: str, port: int, secure: bool) -> HttpProxy | None:
    """The proxy to ask for this host. Plain http, which is for this machine alone, does not leave it for a proxy."""
    if proxy is None or not proxy.serves(host, port):
        return None
    return proxy if secure or urls.is_loopback(proxy.host) else None


def _connected(places: list[tuple[str, int]], timeout: float) -> socket.socket:
    """A connection to the first place that takes one. Raises OSError."""
    for place in places[:-1]:
        with contextlib.suppress(OSError):
            return socket.create_connection(place, timeout=timeout)
    return socket.create_connection(places[-1], timeout=timeout)


def _secured(plain: socket.socket, host: str, ca: str | None) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    # Python 3.13 made this a default; CAs of grids sign without all that it asks for, such as a key usage (RFC 5280).
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if ca is not None:
        context.load_verify_locations(**({"capath": ca} if os.path.isdir(ca) else {"cafile": ca}))
    return context.wrap_socket(plain, server_hostname=host, suppress_ragged_eofs=False)


def _answer(
    exchange: _Exchange,
    write: Callable[[bytes], object],
    limits: Limits,
    known: Known | None,
    progress: Progress | None,
) -> Answer:
    response, url = exchange.response, exchange.url
    etag, last_modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
    if response.status == 304 and known is not None and known.headers():
        return Answer(url, 0, False, etag or known.etag, last_modified or known.last_modified)
    if response.status != 200:
        raise exchange.refusal()
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise FetchError(f"{url}: sent compressed ({encoding[:20]!a}), which was not asked for; correct the server")
    announced = _announced(response, url, limits)
    size = 0
    for piece in iter(exchange.read, b""):
        size += len(piece)
        if size > limits.bytes:
            raise FetchError(f"{url}: larger than {limits.bytes} bytes; is it the right address?")
        write(piece)
        if progress is not None:
            progress(size, announced)
    if announced is not None and size != announced:
        raise FetchError(f"{url}: ended after {size} of {announced} bytes; try again")
    return Answer(url, size, True, etag, last_modified)


def _announced(response: http.client.HTTPResponse, url: str, limits: Limits) -> int | None:
    """The Content-Length, which does not count where the body comes in chunks. Raises FetchError."""
    lengths = set(response.headers.get_all("Content-Length", []))
    if not lengths or response.chunked:
        return None
    text = lengths.pop()
    if lengths or not re.fullmatch(r"[0-9]{1,18}", text):
        raise FetchError(f"{url}: the server's Content-Length is not a number; correct the server")
    if int(text) > limits.bytes:
        raise FetchError(f"{url}: {text} bytes, more than the {limits.bytes} allowed; is it the right address?")
    return int(text)


def _said(error: Exception, who: str = "the server") -> str:
    """An exception of the network in a few words of one line; ``who`` may not have answered."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted ({error.verify_message}); name its CA"
    if isinstance(error, socket.gaierror):
        return "no such host; check the name and this machine's DNS"
    # Two classes before Python 3.10: the socket's own, and that of errno ETIMEDOUT.
    if isinstance(error, (socket.timeout, TimeoutError)):
        return f"{who} does not answer"
    if isinstance(error, http.client.IncompleteRead):
        return "ended before it was complete; try again"
    if isinstance(error, http.client.HTTPException):
        return f"not HTTP: {type(error).__name__}"
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ascii(words)[1:-1][:200]
