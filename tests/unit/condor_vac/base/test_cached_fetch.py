# SPDX-License-Identifier: GPL-3.0-or-later
"""cached_fetch and user_data_copy: what serves while a server does not answer, and what never does."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base import cached_fetch
from condor_vac.base.cached_fetch import Copy
from condor_vac.base.errors import VacError
from condor_vac.base.fetch import Limits
from condor_vac.factory import user_data_copy
from condor_vac.model.machinetype import Machinetype
from tests.unit.forward_proxy import forward_proxy
from tests.unit.webserver import WebServer, reply, web_server

LIMITS = Limits(bytes=1000)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="web")
def _web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


def latest(web: WebServer, path: Path, clock: Clock, **options: Any) -> Copy:
    return cached_fetch.latest(f"{web.url}/t", str(path), LIMITS, clock=clock, **options)


def test_the_server_is_asked_each_time_and_the_copy_is_its_bytes(web: WebServer, tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "copy"
    for body in (b"one", b"two\r\n\0"):
        web.routes["/t"] = reply(body)
        assert latest(web, path, clock) == Copy(body, 0.0)
        assert path.read_bytes() == body
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_failing_server_leaves_the_copy_for_as_long_as_the_site_allows(
    web: WebServer, tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "copy"
    web.routes["/t"] = reply(b"good")
    latest(web, path, clock)
    web.routes["/t"] = reply(b"<html>", "500 Oops")
    clock.now += 60
    with pytest.raises(VacError, match="500"):
        latest(web, path, clock)
    copy = latest(web, path, clock, keep_seconds=60)
    assert (copy.data, copy.age) == (b"good", 60.0)
    assert "500" in str(copy.problem)
    clock.now += 1
    with pytest.raises(VacError, match="500"):
        latest(web, path, clock, keep_seconds=60)
    assert path.read_bytes() == b"good"


def test_bytes_of_no_use_do_not_replace_the_copy(web: WebServer, tmp_path: Path, clock: Clock) -> None:
    def check(data: bytes) -> None:
        if data != b"good":
            raise VacError("of no use")

    path = tmp_path / "copy"
    web.routes["/t"] = reply(b"good")
    latest(web, path, clock, check=check)
    web.routes["/t"] = reply(b"bad")
    assert latest(web, path, clock, check=check, keep_seconds=10).problem == "of no use"
    assert path.read_bytes() == b"good"


def test_what_did_not_change_is_not_sent_and_counts_as_confirmed(web: WebServer, tmp_path: Path, clock: Clock) -> None:
    def route(connection: socket.socket, request: str) -> None:
        same = 'If-None-Match: "1"' in request
        (reply(b"", "304 Not Modified") if same else reply(b"good", ETag='"1"'))(connection, request)

    path = tmp_path / "copy"
    web.routes["/t"] = route
    for _ in range(3):
        assert latest(web, path, clock).data == b"good"
        clock.now += 50
    del web.routes["/t"]
    assert latest(web, path, clock, keep_seconds=50).age == 50.0


def test_a_fresh_copy_needs_no_request(web: WebServer, tmp_path: Path, clock: Clock) -> None:
    web.routes["/t"] = reply(b"good")
    latest(web, tmp_path / "copy", clock)
    clock.now += 99
    assert latest(web, tmp_path / "copy", clock, fresh_seconds=100) == Copy(b"good", 99.0)
    assert len(web.requests) == 1
    clock.now += 1
    latest(web, tmp_path / "copy", clock, fresh_seconds=100)
    assert len(web.requests) == 2


@pytest.mark.parametrize("damage", ["data", "origin", "shape", "url", "future", "missing", "negative"])
def test_a_copy_that_does_not_fit_its_origin_is_none(web: WebServer, tmp_path: Path, clock: Clock, damage: str) -> None:
    path, origin = tmp_path / "copy", tmp_path / "copy.origin"
    web.routes["/t"] = reply(b"good")
    latest(web, path, clock)
    recorded = json.loads(origin.read_text())
    if damage == "data":
        path.write_bytes(b"half")
    elif damage == "origin":
        origin.write_text("{")
    elif damage == "shape":
        origin.write_text("[1]")
    elif damage == "missing":
        path.unlink()
    else:
        changes: dict[str, dict[str, Any]] = {
            "url": {"url": "https://other/"},
            "future": {"checked": 1e12},
            "negative": {"checked": -5},
        }
        origin.write_text(json.dumps({**recorded, **changes[damage]}))
    web.routes["/t"] = reply(b"", "404 Gone")
    with pytest.raises(VacError, match="404"):
        latest(web, path, clock, keep_seconds=1e9, fresh_seconds=1e9)
    web.routes["/t"] = reply(b"new")
    assert latest(web, path, clock).data == b"new"


def _machinetype(user_data: str, **keys: Any) -> Machinetype:
    data = {"name": "t", "owner": "vac", "kind": "cernvm", "image": "/i/a.iso", "user_data": user_data, **keys}
    return Machinetype.from_mapping(data, "test")


def test_a_template_at_a_url_is_what_vms_carry(web: WebServer, tmp_path: Path) -> None:
    m = _machinetype(f"{web.url}/t", user_data_last_good_seconds=3600)
    assert m.input_files()["user_data"] == "/var/lib/condor_vac/t/user_data"
    web.routes["/t"] = reply(b"#!/bin/sh\n##user_data_url##\n")
    assert user_data_copy.refresh(m, str(tmp_path)) == []
    assert (tmp_path / "user_data").read_bytes() == b"#!/bin/sh\n##user_data_url##\n"
    web.routes["/t"] = reply(b" \n")
    (printed,) = user_data_copy.refresh(m, str(tmp_path))
    assert "empty" in printed


def test_a_template_comes_through_the_machinetypes_proxy(web: WebServer, tmp_path: Path) -> None:
    web.routes["/t"] = reply(b"x")
    m = _machinetype(f"{web.url}/t")
    file = user_data_copy.proxy_file(str(tmp_path / "t.json"))
    assert file == str(tmp_path / "t.http_proxy")
    assert user_data_copy.refresh(m, str(tmp_path), file) == [], "without the file"
    with forward_proxy() as proxy:
        Path(file).write_text(json.dumps({"http_proxy": proxy.url, "no_proxy": []}))
        assert user_data_copy.refresh(m, str(tmp_path), file) == []
        assert proxy.requests == [f"GET {web.url}/t HTTP/1.1"]
        proxy.answer = "502 Bad Gateway"
        with pytest.raises(VacError, match=r"^user_data: .*502 'Bad Gateway' \(through the proxy"):
            user_data_copy.refresh(m, str(tmp_path), file)
    Path(file).write_text('{"http_proxy": "http://vac:sesame@squid"}')
    with pytest.raises(VacError, match=r"^user_data: .*t\.http_proxy: http_proxy: '\.\.\.@squid'"):
        user_data_copy.refresh(m, str(tmp_path), file)


def test_without_a_copy_that_the_site_allows_nothing_starts(web: WebServer, tmp_path: Path) -> None:
    m = _machinetype(f"{web.url}/t")
    web.routes["/t"] = reply(b"x")
    user_data_copy.refresh(m, str(tmp_path))
    web.routes["/t"] = reply(b"", "503 Busy")
    with pytest.raises(VacError, match=r"^user_data: .*503"):
        user_data_copy.refresh(m, str(tmp_path))


def test_a_template_in_a_file_needs_no_request(tmp_path: Path) -> None:
    m = _machinetype("/etc/condor_vac/machinetypes/t.user_data")
    assert user_data_copy.refresh(m, str(tmp_path)) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["http://example.org/u", "file:///etc/passwd", "https://a:b@example.org/u", "x:y"])
def test_a_template_is_never_read_from_another_place(url: str) -> None:
    with pytest.raises(VacError, match=r"^test: user_data: "):
        _machinetype(url)
