# SPDX-License-Identifier: GPL-3.0-or-later
"""URLs that an experiment wrote: they lead to public addresses, by their text, by DNS, and after redirects."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base import cached_fetch, fetch, http_proxy, public_hosts
from condor_vac.base.errors import UsageError
from condor_vac.base.fetch import Access, Limits
from condor_vac.base.urls import FetchError
from tests.unit.forward_proxy import forward_proxy
from tests.unit.webserver import WebServer, redirect, reply, web_server

LIMITS = Limits(bytes=1000, seconds=20, idle_seconds=10)
OF_PIPE = Access(private_hosts=())
WORDS = "is not public, and a pipe may name no host of the site's own network"

Resolve = Callable[..., None]


@pytest.fixture(name="web")
def _web() -> Iterator[WebServer]:
    with web_server() as server:
        server.routes["/x"] = reply(b"secret")
        yield server


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Gives names addresses, each time that they are looked up the next one."""
    real, known = socket.getaddrinfo, {}

    def resolve(name: str, *answers: list[str]) -> None:
        known[name] = list(answers)

    def getaddrinfo(host: str, port: int, *arguments: Any, **options: Any) -> Any:
        if host in known:
            answer = known[host].pop(0) if len(known[host]) > 1 else known[host][0]
            return [entry for text in answer for entry in real(text, port, *arguments, **options)]
        return real(host, port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return resolve


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.86.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
        "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
        "2002:7f00:1::", "2002:a00:1::1", "::127.0.0.1", "2001:db8::1", "64:ff9b:1::7f00:1", "fec0::1", "a.name",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not public_hosts.is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "188.184.1.1", "2001:1458::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_addresses_that_are(address: str) -> None:
    assert public_hosts.is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[fe80::1]"])
def test_a_url_whose_text_is_such_an_address(host: str) -> None:
    with pytest.raises(FetchError, match=WORDS):
        public_hosts.check(f"https://{host}/x", ())
    public_hosts.check(f"https://{host}/x", public_hosts.named(["localhost", "::1", "10.0.0.0/8", host.strip("[]")]))
    public_hosts.check(f"https://{host}/x", public_hosts.named("*"))


def test_a_name_is_judged_where_it_is_looked_up() -> None:
    public_hosts.check("https://vo.example/x", ())


@pytest.mark.parametrize(
    ("host", "answer"),
    [("vo.example", ["10.0.0.1"]), ("vo.example", ["8.8.8.8", "10.0.0.1"]), ("2130706433", ["127.0.0.1"])],
)
def test_a_name_of_such_an_address_is_refused_before_anything_is_sent(
    names: Resolve, monkeypatch: pytest.MonkeyPatch, host: str, answer: list[str]
) -> None:
    names(host, answer)
    asked: list[Any] = []
    monkeypatch.setattr(socket, "create_connection", refusing(asked))
    with pytest.raises(FetchError, match=f"{host} has the address (10.0.0.1|127.0.0.1), which {WORDS}"):
        fetch.get(f"https://{host}/x", LIMITS, access=OF_PIPE)
    assert asked == []
    for access in (fetch.DIRECT, Access(private_hosts=public_hosts.named([host]))):
        with pytest.raises(FetchError, match="refused"):
            fetch.get(f"https://{host}/x", LIMITS, access=access)
    assert len(asked) >= 2, "the site's own URLs, and hosts that it names, are asked"


def refusing(asked: list[Any]) -> Callable[..., None]:
    """A connect that records whom it is asked for, and fails."""

    def connect(place: Any, **_options: Any) -> None:
        asked.append(place)
        raise ConnectionRefusedError(111, "Connection refused")

    return connect


def test_a_name_is_looked_up_once(names: Resolve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second answer of a hostile name server, which leads inside, is nothing that anybody asks for."""
    names("vo.example", ["8.8.8.8"], ["127.0.0.1"])
    asked: list[Any] = []
    monkeypatch.setattr(socket, "create_connection", refusing(asked))
    with pytest.raises(FetchError, match="refused"):
        fetch.get("https://vo.example/x", LIMITS, access=OF_PIPE)
    assert asked == [("8.8.8.8", 443)]


def test_the_next_address_is_tried(names: Resolve, web: WebServer) -> None:
    names("localhost", ["127.0.0.99", "127.0.0.1"])
    allowed = Access(private_hosts=public_hosts.named("localhost"))
    assert fetch.get(f"http://localhost:{web.port}/x", LIMITS, access=allowed) == b"secret"


def test_a_redirect_leads_no_further_than_the_url_itself(
    web: WebServer, names: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One loopback address plays a public one, from which a redirect leads to another."""
    is_public = public_hosts.is_public
    monkeypatch.setattr(public_hosts, "is_public", lambda text: text == "127.0.0.1" or is_public(text))
    web.routes["/to-number"] = redirect(f"http://127.0.0.2:{web.port}/x")
    web.routes["/to-name"] = redirect(f"https://inside.example:{web.port}/x")
    web.routes["/to-itself"] = redirect("/x")
    names("inside.example", ["10.0.0.1"])
    assert fetch.get(f"{web.url}/to-itself", LIMITS, access=OF_PIPE) == b"secret"
    before = len(web.requests)
    for path in ("/to-number", "/to-name"):
        with pytest.raises(FetchError, match=WORDS):
            fetch.get(f"{web.url}{path}", LIMITS, access=OF_PIPE)
    assert len(web.requests) == before + 2, "the second request was never sent"


def test_through_a_proxy_the_same_holds_and_names_that_only_it_knows_are_its_own(web: WebServer) -> None:
    with forward_proxy() as proxy:
        known = http_proxy.parse(proxy.url)
        with pytest.raises(FetchError, match=WORDS):
            fetch.get(f"{web.url}/x", LIMITS, access=Access(proxy=known, private_hosts=()))
        assert proxy.requests == []
        allowed = Access(proxy=known, private_hosts=public_hosts.named("127.0.0.1"))
        assert fetch.get(f"{web.url}/x", LIMITS, access=allowed) == b"secret"
        with pytest.raises(FetchError, match=r"no-such-host\.invalid") as caught:
            fetch.get("https://no-such-host.invalid/x", LIMITS, access=Access(proxy=known, private_hosts=()))
        assert "not public" not in str(caught.value)
        assert len(proxy.requests) == 2


@pytest.mark.parametrize("wrong", ["http://x", ["a b/c"], {"a": 1}, 7, ["user:pw@host"]])
def test_hosts_that_the_site_writes_wrong_are_named(wrong: object) -> None:
    with pytest.raises(UsageError, match=r"^private_hosts"):
        public_hosts.named(wrong)


def test_a_copy_serves_where_its_server_has_moved_inside(tmp_path: Path, web: WebServer) -> None:
    path = str(tmp_path / "copy")
    allowed = Access(private_hosts=public_hosts.named("127.0.0.1"))
    cached_fetch.latest(f"{web.url}/x", path, LIMITS, access=allowed)
    copy = cached_fetch.latest(f"{web.url}/x", path, LIMITS, access=OF_PIPE, keep_seconds=60)
    assert copy.data == b"secret"
    assert WORDS in str(copy.problem)
