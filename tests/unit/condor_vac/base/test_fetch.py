# SPDX-License-Identifier: GPL-3.0-or-later
"""fetch: what a server may do wrong, done by a real one."""

from __future__ import annotations

import gzip
import io
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from condor_vac.base import fetch, urls
from condor_vac.base.errors import VacError
from condor_vac.base.fetch import Access, Known, Limits
from condor_vac.base.urls import FetchError
from tests.unit.webserver import WebServer, certificate, raw, redirect, reply, web_server

LIMITS = Limits(bytes=100_000, seconds=20, idle_seconds=10)
HASTY = Limits(bytes=100_000, seconds=0.3, idle_seconds=10)


@pytest.fixture(name="web")
def _web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def refused(url: str, limits: Limits = LIMITS, known: Known | None = None) -> str:
    with pytest.raises(FetchError) as caught:
        fetch.download(url, io.BytesIO().write, limits, known)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 99_999, 100_000])
def test_a_body_comes_whole(web: WebServer, size: int) -> None:
    body = bytes(range(256)) * 400
    web.routes["/a?b=c"] = reply(body[:size])
    assert fetch.get(f"{web.url}/a?b=c", LIMITS) == body[:size]
    assert f"Host: 127.0.0.1:{web.port}\r\n" in web.requests[0]


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_of_one_byte_too_many_is_refused(web: WebServer, announced: bool) -> None:
    body = b"x" * 100_001
    web.routes["/"] = reply(body) if announced else raw(b"HTTP/1.1 200 OK\r\n\r\n", body)
    message = refused(f"{web.url}/")
    assert "100000" in message
    assert "right address" in message


def test_ten_gigabytes_announced_are_refused_before_they_come(web: WebServer) -> None:
    web.routes["/"] = web.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")
    assert "10737418240 bytes" in refused(f"{web.url}/")


def test_an_endless_body_ends_at_the_limit(web: WebServer) -> None:
    web.routes["/"] = web.drip(b"HTTP/1.1 200 OK\r\n\r\n", 0, b"x" * 5000)
    assert "larger than 100000" in refused(f"{web.url}/")
    chunk = b"1000\r\n" + b"y" * 4096 + b"\r\n"
    web.routes["/"] = web.drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0, chunk)
    assert "larger than 100000" in refused(f"{web.url}/")


@pytest.mark.parametrize(
    ("status", "number"),
    [
        ("404 Not Found", 404),
        ("500 Internal Server Error", 500),
        ("206 Partial Content", 206),
        ("204 No Content", 204),
        ("304 Not Modified", 304),
        ("403 \x1b[31mevil", 403),
    ],
)
def test_only_200_is_good(web: WebServer, status: str, number: int) -> None:
    web.routes["/"] = reply(b"<html>", status)
    with pytest.raises(FetchError) as caught:
        fetch.get(f"{web.url}/", LIMITS)
    assert caught.value.status == number
    assert str(number) in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123456789"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n5\r\n123"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 5\r\n\r\n1234567890"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n1"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\n1"],
        [b"SSH-2.0-OpenSSH_9.2\r\n"],
        [b""],
        [b"HTTP/1.1 " + b"9" * 70_000],
        [b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200],
    ],
)
def test_what_is_cut_or_no_http_is_refused(web: WebServer, pieces: list[bytes]) -> None:
    web.routes["/"] = raw(*pieces)
    assert refused(f"{web.url}/").startswith(f"{web.url}/: ")


def test_compression_that_was_not_requested_is_not_unpacked(web: WebServer) -> None:
    bomb = gzip.compress(b"\0" * 10_000_000)
    assert len(bomb) < LIMITS.bytes
    web.routes["/"] = reply(bomb, Content_Encoding="gzip")
    assert "compressed" in refused(f"{web.url}/")
    assert "Accept-Encoding: identity\r\n" in web.requests[0]


@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n"],
)
def test_a_server_that_drips_is_left_at_the_deadline(web: WebServer, head: bytes) -> None:
    web.routes["/"] = web.drip(head)
    assert "not complete within 0.3 s" in refused(f"{web.url}/", HASTY)


def test_a_silent_server_is_left(web: WebServer) -> None:
    web.routes["/"] = web.silence
    assert "not complete within" in refused(f"{web.url}/", HASTY)


@pytest.mark.slow
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12"],
    ids=["nothing", "half a header", "no body", "half a body"],
)
def test_a_server_that_falls_silent_does_not_answer(tmp_path: Path, head: bytes, secure: bool) -> None:
    pem = certificate(tmp_path / "pem", "127.0.0.1") if secure else None
    with web_server(pem) as web:
        web.routes["/"] = web.drip(head, 3600)
        with pytest.raises(FetchError, match=r"/: the server does not answer$"):
            fetch.get(
                f"{web.url}/",
                Limits(bytes=10, seconds=3600, idle_seconds=0.3),
                access=Access(str(pem) if pem else None),
            )


def test_no_server_and_no_such_host(web: WebServer) -> None:
    web.close()
    assert "refused" in refused(f"{web.url}/")
    assert "no such host" in refused("https://no-such-host.invalid/x")


def test_redirects_are_followed_to_the_limit(web: WebServer) -> None:
    for number in range(5):
        web.routes[f"/{number}"] = redirect(f"{number + 1}" if number % 2 else f"{web.url}/{number + 1}", "307 x")
    web.routes["/5"] = reply(b"here")
    answer = fetch.download(f"{web.url}/0", io.BytesIO().write, LIMITS)
    assert answer.url == f"{web.url}/5"
    assert "more than 4 redirects" in refused(f"{web.url}/0", Limits(bytes=10, redirects=4))


def test_redirect_loops_end(web: WebServer) -> None:
    web.routes["/a"], web.routes["/b"] = redirect("/b"), redirect("/a")
    assert "more than 5 redirects" in refused(f"{web.url}/a")
    assert len(web.requests) == 6


@pytest.mark.parametrize(
    "place",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://example.org/x",
        "//example.org/x",
        "http://[::1",
        "https://user:word@127.0.0.1/",
        "https://ex\xe4mple.org/",
        "",
    ],
)
def test_redirects_away_from_https_are_refused(web: WebServer, place: str) -> None:
    web.routes["/"] = redirect(place)
    refused(f"{web.url}/")
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/x",
        "http://192.168.1.1/x",
        "file:///etc/passwd",
        "/etc/passwd",
        "https:///x",
        "https://a:sesame@127.0.0.1/",
        "ftp://a:sesame@127.0.0.1/",
        "https://127.0.0.1:99999/",
        "https://127.0.0.1:0/",
        "https://127.0.0.1/a b",
        "https://127.0.0.1/a\r\nHost: x",
        "https://127.0.0.1/\xe9",
        "https://127.0.0.1/" + "a" * 3000,
        "HTTPS//x",
        "",
    ],
)
def test_urls_that_are_not_fetched(url: str) -> None:
    message = refused(url)
    assert "sesame" not in message
    with pytest.raises(FetchError):
        urls.check_url(url)


def test_an_unchanged_page_is_not_sent_again(web: WebServer) -> None:
    def route(connection: socket.socket, request: str) -> None:
        same = 'If-None-Match: "e1"\r\n' in request and "If-Modified-Since: Mon" in request
        answer = reply(b"", "304 Not Modified") if same else reply(b"new", ETag='"e1"', Last_Modified="Mon")
        answer(connection, request)

    web.routes["/"] = route
    body = io.BytesIO()
    answer = fetch.download(f"{web.url}/", body.write, LIMITS)
    known = Known(answer.etag, answer.last_modified)
    assert known == Known('"e1"', "Mon")
    again = fetch.download(f"{web.url}/", body.write, LIMITS, known)
    assert (body.getvalue(), again.modified, again.etag) == (b"new", False, '"e1"')


def test_validators_cannot_add_headers(web: WebServer) -> None:
    web.routes["/"] = reply(b"x")
    fetch.download(f"{web.url}/", io.BytesIO().write, LIMITS, Known('"a"\r\nX: y', "M\xf6n"))
    assert "X: y" not in web.requests[0]
    assert "If-" not in web.requests[0]


def test_an_error_of_the_writer_is_not_an_error_of_the_network(web: WebServer) -> None:
    web.routes["/"] = reply(b"x")

    def full(_piece: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fetch.download(f"{web.url}/", full, LIMITS)


def test_progress_names_what_came_and_what_will(web: WebServer) -> None:
    seen: list[tuple[int, int | None]] = []
    web.routes["/"] = reply(b"x" * 50_000)
    fetch.download(f"{web.url}/", io.BytesIO().write, LIMITS, progress=lambda *step: seen.append(step))
    assert seen[-1] == (50_000, 50_000)


def test_a_proxy_of_the_environment_is_not_used(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    web.routes["/"] = reply(b"direct")
    assert fetch.get(f"{web.url}/", LIMITS) == b"direct"


def test_tls_wants_a_trusted_certificate_for_this_host(tmp_path: Path) -> None:
    good = certificate(tmp_path / "good.pem", "127.0.0.1")
    other = certificate(tmp_path / "other.pem", "example.org")
    with web_server(good) as web:
        web.routes["/"] = reply(b"safe")
        assert fetch.get(f"{web.url}/", LIMITS, access=Access(str(good))) == b"safe"
        assert "not trusted" in refused(f"{web.url}/")
        web.routes["/"] = web.drip(b"HTTP/1.1 200 OK\r\n\r\n")
        with pytest.raises(FetchError, match=r"not complete within 0\.3 s"):
            fetch.get(f"{web.url}/", HASTY, access=Access(str(good)))
        web.routes["/"] = redirect(web.url.replace("https", "http"))
        with pytest.raises(FetchError):
            fetch.get(f"{web.url}/", LIMITS, access=Access(str(good)))
    with web_server(other) as web, pytest.raises(FetchError, match="not trusted"):
        fetch.get(f"{web.url}/", LIMITS, access=Access(str(other)))


def test_a_tls_server_that_does_not_shake_hands_is_left() -> None:
    with web_server() as web:
        url = web.url.replace("http", "https")
        web.routes["/"] = web.silence
        assert "not complete within" in refused(f"{url}/", HASTY)
        assert "does not answer" in refused(f"{url}/", Limits(bytes=10, seconds=3600, idle_seconds=0.3))


def test_a_source_may_be_a_file(web: WebServer, tmp_path: Path) -> None:
    web.routes["/"] = reply(b"from the web")
    path = tmp_path / "template"
    path.write_bytes(b"from a file")
    assert fetch.read(str(path), LIMITS) == b"from a file"
    assert fetch.read(f"{web.url}/", LIMITS) == b"from the web"
    with pytest.raises(VacError, match="larger than 3 bytes"):
        fetch.read(str(path), Limits(bytes=3))
    with pytest.raises(FetchError, match="must be https"):
        fetch.read("file:///etc/hostname", LIMITS)
