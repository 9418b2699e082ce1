# SPDX-License-Identifier: GPL-3.0-or-later
"""One pool whose history has the VMs, and an environment with AUDITOR's programs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import interpreters
from tests.accounting.vms import HOSTILE, Site, hostile, made, removed
from tests.integration import chroot

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A site whose VMs have ended, in this month and the last; and jobs that are no VMs to be counted."""
    reason = chroot.missing()
    if reason is not None:
        pytest.skip(reason)
    with chroot.Pool("trixie") as pool:
        found = Site(pool)
        now = int(time.time())
        complete = ("condor_qedit", "JobStatus", "4")
        found.leave(made(now), complete)
        ran, *waited = removed(now)
        found.leave([ran], ("condor_qedit", "JobStatus", "2"), ("condor_rm",))
        found.leave(waited, ("condor_rm",))
        found.leave(hostile(now), complete)
        found.leave(made(now)[:3], complete, user="games")
        assert len(HOSTILE) == len(hostile(now))
        yield found


@pytest.fixture(scope="session")
def auditor() -> Path:
    """The directory of AUDITOR's programs."""
    known = interpreters.find()
    python = known.get(interpreters.own(), max(known.items())[1])
    return interpreters.environment("accounting", python, HERE / "requirements.txt").parent


@pytest.fixture
def condor(site: Site, tmp_path: Path) -> Path:
    """A directory with condor_history, which is the pool's own: AUDITOR's programs run beside the pool, not in it."""
    directory = tmp_path / "bin"
    directory.mkdir()
    program = directory / "condor_history"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(site.pool.inside("condor_history"))} "$@"\n')
    program.chmod(0o755)
    return directory
