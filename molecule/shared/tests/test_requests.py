# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests for leases of sandboxes that are not the caller's: nothing is shared by them, however the node shares."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from boxes import Box, alone, box

__all__ = ["alone", "box"]

EXECUTE = "/var/lib/condor/execute"


def ask(box: Box, verb: str, **request: Any) -> Any:
    """What vac_lease answers the job's user."""
    return box.host.run(
        f"echo {shlex.quote(json.dumps(request))} | runuser -u vac -- sudo -n /usr/local/libexec/vac_lease {verb}"
    )


def acquire(box: Box, sandbox: str) -> Any:
    """What vac_lease answers to the request for a lease of that sandbox, in the way in which the node shares."""
    sharing = json.loads(box.run("cat /etc/condor_vac/worker.json"))["sharing"][0]
    limits = {"fizzle_seconds": 600, "max_wallclock_seconds": 600, "heartbeat_seconds": 0, "evidence_cpu_fraction": 0.3}
    return ask(box, "acquire", sandbox=sandbox, sharing=sharing, domain="vac_x_1.0", machinetype="x", **limits)


def shared(box: Box) -> Any:
    """All that is exported or shown by HTTP."""
    state = box.state()
    return state["exports"], state["shares"], state["leases"]


@contextmanager
def directory(box: Box, owner: str) -> Iterator[str]:
    """A directory where HTCondor's sandboxes are, of that owner."""
    place = f"{EXECUTE}/dir_999999"
    box.run(f"install -d -o {owner} {place}")
    try:
        yield place
    finally:
        box.run(f"rm -rf {place}")


def test_a_sandbox_of_ones_own_is_shared(box: Box) -> None:
    """Else all the others might be refused for another reason."""
    before = shared(box)
    with directory(box, "vac") as place:
        done = acquire(box, place)
        assert done.rc == 0, done.stderr
        lease = json.loads(done.stdout)
        exports, shares, leases = shared(box)
        assert [one["sandbox"] for one in leases] == [place]
        assert exports != before[0] or shares != before[1]
        assert ask(box, "release", uuid=lease["uuid"]).rc == 0
    assert shared(box) == before


@pytest.mark.parametrize("sandbox", ["/", "/etc", "/home", EXECUTE, f"{EXECUTE}/dir_1/..", "/root"])
def test_a_path_that_is_not_a_sandbox_is_refused(box: Box, sandbox: str) -> None:
    before = shared(box)
    done = acquire(box, sandbox)
    assert done.rc == 2
    assert re.search(r"not a job's sandbox|request: sandbox: must be (an absolute|a) path ", done.stderr), done.stderr
    assert shared(box) == before


def test_a_sandbox_of_somebody_else_is_not(box: Box) -> None:
    before = shared(box)
    with directory(box, "daemon") as place:
        done = acquire(box, place)
        assert (done.rc, "use your own sandbox" in done.stderr) == (2, True), done.stderr
        assert shared(box) == before
