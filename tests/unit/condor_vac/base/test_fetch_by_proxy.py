# SPDX-License-Identifier: GPL-3.0-or-later
"""fetch through a real forward proxy: what goes through it, what does not, and what it may do wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from condor_vac.base import fetch, http_proxy
from condor_vac.base.fetch import Access, Limits
from condor_vac.base.urls import FetchError
from tests.unit.forward_proxy import ForwardProxy, forward_proxy
from tests.unit.webserver import WebServer, certificate, raw, redirect, reply, web_server

LIMITS = Limits(bytes=300_000, seconds=20, idle_seconds=10)
HASTY = Limits(bytes=100_000, seconds=0.3, idle_seconds=10)
# Nobody has an address for it but the proxy of a test.
URL = "https://images.vac.invalid/vm.iso"
PLACE = "images.vac.invalid:443"


@pytest.fixture(name="pem")
def _pem(tmp_path: Path) -> Path:
    return certificate(tmp_path / "web.pem", "images.vac.invalid", "127.0.0.1")


@pytest.fixture(name="web")
def _web(pem: Path) -> Iterator[WebServer]:
    with web_server(pem) as server:
        server.routes["/vm.iso"] = reply(b"image" * 50_000)
        yield server


@pytest.fixture(name="squid")
def _squid(web: WebServer) -> Iterator[ForwardProxy]:
    with forward_proxy({PLACE: web.port}) as made:
        yield made


def by(url: str, pem: Path | None = None, no_proxy: tuple[str, ...] = ()) -> Access:
    return Access(None if pem is None else str(pem), http_proxy.parse(url, no_proxy))


def refused(url: str, access: Access, limits: Limits = LIMITS) -> str:
    with pytest.raises(FetchError) as caught:
        fetch.get(url, limits, access=access)
    assert str(caught.value).isprintable()
    assert str(caught.value).startswith(f"{url}: ")
    assert "sesame" not in str(caught.value)
    return str(caught.value)


def test_https_goes_through_connect(web: WebServer, squid: ForwardProxy, pem: Path) -> None:
    assert fetch.get(URL, LIMITS, access=by(squid.url, pem)) == b"image" * 50_000
    assert squid.requests == [f"CONNECT {PLACE} HTTP/1.1"]
    assert f"Host: {PLACE}\r\n" in squid.heads[0]
    assert web.requests[0].startswith("GET /vm.iso HTTP/1.1\r\nHost: images.vac.invalid\r\n")
    with pytest.raises(FetchError, match="no such host"):
        fetch.get(URL, LIMITS, access=by(squid.url, pem, (".vac.invalid",)))
    assert len(squid.requests) == 1


def test_no_proxy_means_directly(web: WebServer, squid: ForwardProxy, pem: Path) -> None:
    url = f"{web.url}/vm.iso"
    fetch.get(url, LIMITS, access=by(squid.url, pem, ("127.0.0.0/8",)))
    assert (len(web.requests), squid.requests) == (1, [])
    fetch.get(url, LIMITS, access=by(squid.url, pem, ("127.0.0.1:443",)))
    assert (len(web.requests), len(squid.requests)) == (2, 1)


def test_plain_http_is_asked_of_a_proxy_of_this_machine(squid: ForwardProxy) -> None:
    with web_server() as web:
        web.routes["/a?b"] = reply(b"plain")
        assert fetch.get(f"{web.url}/a?b", LIMITS, access=by(squid.url)) == b"plain"
        assert squid.requests == [f"GET {web.url}/a?b HTTP/1.1"]
        assert fetch.get(f"{web.url}/a?b", LIMITS, access=by("http://squid.vac.invalid:3128")) == b"plain"
        squid.answer = "502 Bad Gateway"
        assert f"502 'Bad Gateway' (through the proxy 127.0.0.1:{squid.port})" in refused(web.url, by(squid.url))
        squid.answer = "407 No"
        assert "asks for a user" in refused(web.url, by(squid.url))


def test_redirects_keep_the_rule(web: WebServer, pem: Path, tmp_path: Path) -> None:
    with web_server(certificate(tmp_path / "other", "other.example", "127.0.0.1")) as other:
        hosts = {PLACE: web.port, "other.vac.invalid:443": web.port, "127.0.0.1:1": other.port}
        with forward_proxy(hosts) as squid:
            web.routes["/far"] = redirect("https://other.vac.invalid/vm.iso")
            with pytest.raises(FetchError, match="not trusted"):
                fetch.get("https://images.vac.invalid/far", LIMITS, access=by(squid.url, pem))
            assert squid.requests == [f"CONNECT {PLACE} HTTP/1.1", "CONNECT other.vac.invalid:443 HTTP/1.1"]
            web.routes["/near"] = redirect("https://images.vac.invalid/vm.iso")
            fetch.get(f"{web.url}/near", LIMITS, access=by(squid.url, pem, ("127.0.0.1",)))
            assert squid.requests[2:] == [f"CONNECT {PLACE} HTTP/1.1"], "the first hop went directly"


def test_tls_is_checked_through_the_proxy(squid: ForwardProxy, pem: Path) -> None:
    assert "certificate is not trusted" in refused(URL, by(squid.url))
    assert f"(through the proxy 127.0.0.1:{squid.port})" in refused(URL, by(squid.url))
    wrong = "https://wrong.vac.invalid/vm.iso"
    with forward_proxy({"wrong.vac.invalid:443": squid._hosts[PLACE]}) as other:
        assert "not trusted" in refused(wrong, by(other.url, pem))


def test_a_proxy_that_asks_who_we_are(web: WebServer, pem: Path) -> None:
    user = "vac:sesame:@/%"
    with forward_proxy({PLACE: web.port}, user=user) as squid:
        assert fetch.get(URL, LIMITS, access=by(squid.with_user(user), pem))
        assert "Proxy-Authorization" not in web.requests[0]
        assert "asks for a user and a password (407)" in refused(URL, by(squid.url, pem))
        assert "does not accept its user and password (407)" in refused(URL, by(squid.with_user("vac:sesame"), pem))


@pytest.mark.parametrize("status", ["502 Bad Gateway", "403 Forbidden \x1b[31m", "302 Found", "101 x"])
def test_a_proxy_that_refuses(squid: ForwardProxy, pem: Path, status: str) -> None:
    squid.answer = status
    message = refused(URL, by(squid.url, pem))
    assert f"the proxy 127.0.0.1:{squid.port} " in message
    assert status[:3] in message


def test_a_proxy_that_is_down_or_unknown(squid: ForwardProxy, pem: Path) -> None:
    squid.close()
    assert f"the proxy 127.0.0.1:{squid.port}: Connection refused; check its address" in refused(
        URL, by(squid.url, pem)
    )
    message = refused(URL, by("http://vac:sesame@squid.vac.invalid:3128", pem))
    assert "the proxy squid.vac.invalid:3128: no such host" in message


@pytest.mark.parametrize("pieces", [[b"SSH-2.0-x\r\n"], [b""], [b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200]])
def test_what_is_not_a_proxy(pem: Path, pieces: list[bytes]) -> None:
    with web_server() as web:
        web.routes[PLACE] = raw(*pieces)
        assert f"the proxy 127.0.0.1:{web.port}: not HTTP" in refused(URL, by(web.url, pem))


def test_a_proxy_that_dawdles(pem: Path) -> None:
    with web_server() as web:
        web.routes[PLACE] = web.drip(b"HTTP/1.1 200 OK\r\nX: ")
        assert "not complete within 0.3 s" in refused(URL, by(web.url, pem), HASTY)
        web.routes[PLACE] = web.silence
        idle = Limits(bytes=10, seconds=3600, idle_seconds=0.3)
        assert f"the proxy 127.0.0.1:{web.port}: it does not answer" in refused(URL, by(web.url, pem), idle)
