# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the image tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from condor_vac.image import fetch as image_fetch
from condor_vac.image.store import Store
from condor_vac.worker.lease import store as lease_store
from tests.unit.grid import Authority
from tests.unit.webserver import WebServer, web_server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "grid")


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as made:
        yield made


@pytest.fixture
def https(tmp_path: Path, authority: Authority) -> Iterator[WebServer]:
    """A server whose certificate the grid's CA vouches for."""
    certificate, key = authority.issue("web", "/DC=org/CN=127.0.0.1", extensions="subjectAltName=IP:127.0.0.1\n")
    both = tmp_path / "web.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    with web_server(both) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(image_fetch, "RESERVE_BYTES", 0)
    monkeypatch.setattr(lease_store.Store.__init__, "__defaults__", (str(tmp_path / "run"),))
    return Store(str(tmp_path / "images"))
