# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool, two of whose nodes are bad from the start, and the table of the run when it is over."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pools import Pool
from table import table

from tests.lab.paths import LabError

ROOT = Path(__file__).resolve().parents[3]
EXECUTE = "/var/lib/condor/execute"
# Kills each QEMU as soon as libvirt has the domain running: its VMs crash.
BLACK_HOLE = (
    "while sleep 1; do for file in /run/libvirt/qemu/*.xml; do [ -e $file ] || continue;"
    " pid=$(sed -n \"s/^<domstatus state='running' .*pid='\\([0-9]*\\)'.*/\\1/p\" $file 2> /dev/null);"
    ' [ -z "$pid" ] || kill -KILL $pid; done; done'
)


@pytest.fixture(scope="session")
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """The pool; its factory begins when node1 is a black hole and the disk of node2's sandboxes is full."""
    pool = Pool()
    pool.run("node1", "cat > /usr/local/lib/black_hole", BLACK_HOLE)
    pool.run("node1", "systemd-run --quiet --unit=black-hole sh /usr/local/lib/black_hole")
    # Theirs alone, and only now: before, the startd would have said how small it is. There is room for what HTCondor
    # itself puts into a sandbox, not for what a VM needs.
    pool.run("node2", f"mount -t tmpfs -o size=128k,mode=755,uid=condor,gid=condor tmpfs {EXECUTE}")
    pool.release()
    yield pool
    text = _text(pool)
    place = ROOT / ".cache" / "pool"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{os.environ.get('LAB_IMAGE') or 'prepared'}.txt").write_text(text, "utf-8")
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{text}")


def _text(pool: Pool) -> str:
    """The table, to the last look that could be had."""
    with contextlib.suppress(LabError):
        pool.look()
    return table(pool.looks, pool.events) + "\n"
