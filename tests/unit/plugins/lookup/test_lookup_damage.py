# SPDX-License-Identifier: GPL-3.0-or-later
"""One pipe of any damage among good ones: the good ones are returned in the same run, the bad one is named once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleLookupError
from ansible_collections.vacuum.htcondor.plugins.filter import machinetypes as filters
from ansible_collections.vacuum.htcondor.plugins.lookup import machinetypes

from tests.unit.damage import MADE
from tests.unit.webserver import Route, WebServer, raw, redirect, reply, web_server

OFFER = {"suffix": "prod", "root_image": "https://vo.example/i.iso", "user_data": "https://vo.example/u"}
PIPE = json.dumps({"machinetypes": [OFFER]}).encode()


# Each reads pipes by programs of their own.
pytestmark = pytest.mark.slow


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(machinetypes.display, "warning", found.append)
    return found


@pytest.fixture(name="web")
def _web() -> Iterator[WebServer]:
    with web_server() as server:
        server.routes["/good"] = reply(PIPE)
        yield server


def look(tmp_path: Path, pipes: Any, unread: str = "leave_out", **options: Any) -> list[str]:
    (found,) = machinetypes.LookupModule().run([pipes], {}, cache=str(tmp_path / "cache"), unread=unread, **options)
    return list(found)


def checked(tmp_path: Path, bad: str, web: WebServer, warnings: list[str]) -> None:
    """The bad pipe before a good one: left out and named once."""
    pipes = {"bad": {"url": bad}, "good": {"url": f"{web.url}/good"}}
    assert look(tmp_path, pipes) == ["good-prod"]
    assert len(warnings) == 1
    assert warnings[0].startswith("vacuum_pipes.bad: ")
    assert warnings[0].endswith(": left out; what the pool has of it stays as it is")
    assert warnings[0].isprintable()
    assert len(warnings[0]) < 500


@pytest.mark.parametrize("kind", sorted(set(MADE) - {"from the future", "a dangling link", "a link to itself"}))
def test_a_file(tmp_path: Path, kind: str, web: WebServer, warnings: list[str]) -> None:
    path = tmp_path / "pipe"
    path.write_bytes(PIPE)
    MADE[kind](path)
    checked(tmp_path, str(path), web, warnings)


@pytest.mark.parametrize("kind", ["a dangling link", "a link to itself"])
def test_a_file_that_is_not_there_is_the_sites_mistake(tmp_path: Path, kind: str, web: WebServer) -> None:
    path = tmp_path / "pipe"
    path.write_bytes(PIPE)
    MADE[kind](path)
    with pytest.raises(AnsibleLookupError, match=r"vacuum_pipes\.bad\.url: "):
        look(tmp_path, {"a": {"url": f"{web.url}/good"}, "bad": {"url": str(path)}})


ROUTES: dict[str, Route] = {
    "missing": reply(b"", "404 Not Found"),
    "an error": reply(b"", "500 \x1b[31m"),
    "empty": reply(b""),
    "truncated": reply(PIPE[:40]),
    "ends early": reply(PIPE, Content_Length=str(len(PIPE) + 5)),
    "wrong encoding": reply(b"\xff\xfe\x00" + PIPE),
    "not an object": reply(b"[1]"),
    "deeply nested": reply(b'{"a":' * 100_000),
    "huge": reply(b" " * (2 << 20)),
    "not HTTP": raw(b"\x1b[2J\r\n\r\n"),
    "no answer": raw(),
    "a redirect loop": redirect("/bad"),
    "a redirect inside": redirect("https://10.0.0.1/x?\x1b"),
    "no entry": reply(b'{"machinetypes": []}'),
    "too many entries": reply(json.dumps({"machinetypes": [OFFER] * 65}).encode()),
}


@pytest.mark.parametrize("kind", ROUTES)
def test_a_server(tmp_path: Path, kind: str, web: WebServer, warnings: list[str]) -> None:
    web.routes["/bad"] = ROUTES[kind]
    checked(tmp_path, f"{web.url}/bad", web, warnings)


def test_a_slow_server_costs_a_play_one_time_limit(tmp_path: Path, web: WebServer, warnings: list[str]) -> None:
    """A play reads its pipes several times."""
    web.routes["/bad"] = lambda connection, _request: void(web.ending.wait(60))
    pipes = {"bad": {"url": f"{web.url}/bad"}, "c": {"url": f"{web.url}/good"}}
    assert look(tmp_path, pipes) == ["c-prod"]
    asked = len([request for request in web.requests if " /bad " in request])
    assert look(tmp_path, pipes) == ["c-prod"]
    assert len([request for request in web.requests if " /bad " in request]) == asked
    assert "does not answer" in warnings[0]
    assert "s ago)" in warnings[1]


def void(_value: object) -> None:
    """Nothing: a route sends what it wants."""


def test_all_entries_of_a_pipe_that_cannot_be_deployed(tmp_path: Path, web: WebServer, warnings: list[str]) -> None:
    web.routes["/bad"] = reply(
        json.dumps({"machinetypes": [{**OFFER, "root_image": "https://127.0.0.1/i.iso"}]}).encode()
    )
    pipes: dict[str, dict[str, Any]] = {"bad": {"url": f"{web.url}/bad"}, "c": {"url": f"{web.url}/good"}}
    assert look(tmp_path, pipes) == ["c-prod"]
    assert [line.partition(" is left out")[0] for line in warnings] == ["vacuum_pipes.bad: bad-prod"]
    pipes["bad"]["private_hosts"] = ["127.0.0.1"]
    assert look(tmp_path, pipes) == ["bad-prod", "c-prod"]


@pytest.mark.parametrize(
    ("names", "own", "silent"),
    [
        (["a-prod", "c"], {}, ["a-b"]),
        ([], {}, ["a", "a-b", "c"]),
        (["a-b-x", "c-1"], {}, ["a"]),
        (["a-x", "a-b", "c"], {}, []),
        (["a-own", "c-x"], {"a-own": {"kind": "cernvm", "image": "i", "user_data": "u"}}, ["a", "a-b"]),
        (["a-x", "c-x"], {"a-x": {"max_machines": 3}}, ["a-b"]),
    ],
)
def test_which_pipes_offer_nothing(names: list[str], own: dict[str, Any], silent: list[str]) -> None:
    found: dict[str, Any] = {name: {"image": "i.iso"} for name in names}
    assert filters.silent_pipes(found, {"a": {}, "a-b": {}, "c": {}}, own) == silent
    assert filters.silent_pipes(found, None) == []


def test_images_of_pipes_say_where_they_may_be_from() -> None:
    one = {"image": "https://x/i.iso", "pipe_urls": {"image": "10.0.0.1", "user_data": ""}}
    other = {"image": "https://x/i.iso", "pipe_urls": {"image": "a,b"}}
    assert filters.images({"p": one, "q": other})["i.iso"]["private_hosts"] == "10.0.0.1,a,b"
    assert filters.images({"p": {**one, "pipe_urls": {"image": ""}}})["i.iso"]["private_hosts"] == ""
    for free in ({"image": "https://x/i.iso"}, {**one, "pipe_urls": {"user_data": ""}}):
        assert "private_hosts" not in filters.images({"p": one, "own": free})["i.iso"]
