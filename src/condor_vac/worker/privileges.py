# SPDX-License-Identifier: GPL-3.0-or-later
"""Doing a piece of work as the job's user: in a child that gives root up for good.

Root's programs touch a user's files only this way, so that a link or a race in them reaches no further
than that user's own rights do.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import time
from collections.abc import Callable
from typing import Any

from condor_vac.base.errors import UsageError, VacError

_ANSWER_LIMIT = 1 << 20
# POSIX has the number; the module signal costs 0.4 ms of the 27 of vac_lease's start.
_SIGKILL = 9


def run_as(uid: int, gid: int, work: Callable[[], Any], *, timeout: float) -> Any:
    """The JSON-able result of ``work`` done as ``uid``/``gid`` with that user's groups, within ``timeout`` s.

    A VacError of the work is raised again here with its message. A process that is the user already does the
    work itself. Raises VacError if it cannot be done or takes too long.
    """
    if os.geteuid() == uid:
        return work()
    if uid < 1 or gid < 1:
        raise VacError(f"uid {uid}, gid {gid}: no work is done as root; a lease belongs to a user")
    groups = _groups(uid, gid)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(writer, (uid, gid, groups), work)
    os.close(writer)
    try:
        answer = _read(reader, time.monotonic() + timeout)
    finally:
        os.close(reader)
        os.kill(child, _SIGKILL)
        os.waitpid(child, 0)
    return _result(answer, uid, timeout)


def _groups(uid: int, gid: int) -> list[int]:
    """The user's groups, asked for before the child exists: a look-up may need threads and locks."""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return [gid]
    return os.getgrouplist(name, gid)


def _child(writer: int, identity: tuple[int, int, list[int]], work: Callable[[], Any]) -> None:
    """Become the user, work, answer, and leave without running anything of the parent's."""
    answer: dict[str, Any] = {}
    try:
        uid, gid, groups = identity
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        try:
            answer = {"result": work()}
        except VacError as error:
            answer = {"error": str(error), "usage": isinstance(error, UsageError)}
        with os.fdopen(writer, "wb") as stream:
            stream.write(json.dumps(answer).encode() + b"\n")
    finally:
        # A programming error: only its traceback shows where. Then end in every case.
        if not answer:
            import traceback  # noqa: PLC0415 - 1.3 ms of 21, for this alone

            traceback.print_exc()
        os._exit(0)


def _read(reader: int, deadline: float) -> bytes:
    answer = b""
    while len(answer) <= _ANSWER_LIMIT:
        ready, _writable, _failed = select.select([reader], [], [], max(deadline - time.monotonic(), 0))
        chunk = os.read(reader, 65536) if ready else b""
        if not chunk:
            break
        answer += chunk
    return answer


def _result(answer: bytes, uid: int, timeout: float) -> Any:
    if not answer.endswith(b"\n"):
        raise VacError(f"work as uid {uid}: not finished within {timeout:g} s or failed; see standard error")
    values = json.loads(answer)
    if "error" in values:
        raise (UsageError if values["usage"] else VacError)(values["error"])
    return values["result"]
