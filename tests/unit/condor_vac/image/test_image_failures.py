# SPDX-License-Identifier: GPL-3.0-or-later
"""What a refresh leaves of servers that do not answer, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from condor_vac.cli import dispatch
from condor_vac.image import failures
from condor_vac.image.store import Store
from tests.unit import damage
from tests.unit.condor_vac.image.pages import image, page
from tests.unit.webserver import WebServer, reply


def command(store: Store, action: str, *words: str) -> int:
    return dispatch.main(["image", action, "--directory", store.directory, *words])


def test_a_server_that_is_away_and_comes_back(store: Store, server: WebServer) -> None:
    for number, name in enumerate(("a.iso", "b.iso")):
        server.routes[f"/{name}"] = page(image(70 + number))
        assert command(store, "put", name, f"{server.url}/{name}") == 0
    assert command(store, "refresh") == 0
    assert failures.load(store) == {}
    server.routes["/b.iso"] = reply(b"", "503 Busy")
    assert command(store, "refresh") == 1
    first = failures.load(store)
    assert list(first) == ["b.iso"]
    assert "503" in first["b.iso"].error
    failures.save(store, {"b.iso": "no answer\x1b[2J"}, first["b.iso"].since + 7200)
    (again,) = failures.load(store).values()
    assert (again.since, again.error) == (first["b.iso"].since, "no answer\ufffd[2J")
    server.routes["/b.iso"] = page(image(72))
    assert command(store, "put", "b.iso", f"{server.url}/b.iso") == 0
    assert failures.load(store) == {}
    assert store.names() == ["a.iso", "b.iso"], "the file is no image's record"


@pytest.mark.parametrize("words", [("remove", "b.iso"), ("keep", "a.iso", "c.iso")], ids=lambda words: words[0])
def test_an_image_that_is_removed_has_no_server(store: Store, server: WebServer, words: tuple[str, ...]) -> None:
    for number, name in enumerate(("a.iso", "b.iso", "c.iso")):
        server.routes[f"/{name}"] = page(image(70 + number))
        assert command(store, "put", name, f"{server.url}/{name}") == 0
    server.routes["/b.iso"] = server.routes["/c.iso"] = reply(b"", "503 Busy")
    assert command(store, "refresh") == 1
    assert sorted(failures.load(store)) == ["b.iso", "c.iso"]
    assert command(store, *words) == 0
    assert sorted(failures.load(store)) == ["c.iso"]


@pytest.mark.parametrize("kind", [*damage.MADE])
def test_a_damaged_file_is_none(store: Store, kind: str) -> None:
    with store.lock():
        failures.save(store, {"a.iso": "no answer"}, 1_790_000_000)
        damage.MADE[kind](Path(store.versions_directory, ".refresh.json"))
        assert failures.load(store) in ({}, {"a.iso": failures.Failure(1_790_000_000, "no answer")})
        Path(store.versions_directory, "x").touch()


@pytest.mark.parametrize(
    "text",
    ['{"a.iso": 1}', '{"a.iso": [true, "x"]}', '{"a.iso": ["1", "x"]}', '{"a.iso": [99999999999999, "x"]}', "[]"],
)
def test_what_is_no_failure(store: Store, text: str) -> None:
    with store.lock():
        Path(store.versions_directory, ".refresh.json").write_text(text)
    assert failures.load(store) == {}
