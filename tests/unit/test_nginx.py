# SPDX-License-Identifier: GPL-3.0-or-later
"""The nginx of the tests of HTTP sharing: fetched once, whole or not at all, however many ask for it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.http import node

APT = """#!/bin/sh
echo started >> "$LOG"
[ "$(ls)" = "" ] || { echo "somebody else is here" >&2; exit 1; }
: > nginx_1.2_amd64.deb
[ ! -e "$LOG.fails" ]
"""
DPKG = """#!/bin/sh
mkdir -p "$3/usr/sbin"
cp "$2" "$3/usr/sbin/nginx"
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for apt-get and dpkg-deb; what the first one does is in this file."""
    (tmp_path / "bin").mkdir()
    for name, text in (("apt-get", APT), ("dpkg-deb", DPKG)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setattr(node, "CACHE", tmp_path / "cache" / "nginx")
    return tmp_path / "log"


def _ask(results: Any) -> None:
    try:
        results.put(node.nginx().exists())
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        results.put(repr(error))


def test_many_at_once_have_one_and_it_is_fetched_once(log: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_ask, args=(results,)) for _ in range(8)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=300) for _ in workers] == [True] * 8
    for worker in workers:
        worker.join()
    assert log.read_text() == "started\n"


def test_half_a_package_is_never_used(log: Path) -> None:
    Path(f"{log}.fails").touch()
    with pytest.raises(subprocess.CalledProcessError):
        node.nginx()
    assert not node.CACHE.exists()
    Path(f"{log}.fails").unlink()
    assert node.nginx().exists()
    assert [path.name for path in node.CACHE.parent.iterdir() if not path.name.startswith(".")] == ["nginx"]
