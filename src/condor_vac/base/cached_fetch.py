# SPDX-License-Identifier: GPL-3.0-or-later
"""What is at a URL now, with a copy that serves while its server does not answer, as long as the site allows.

The copy is ``PATH``, exactly the bytes that came; ``PATH.origin`` (JSON) records their URL, when
the server last confirmed them, and the validators by which it can answer that nothing changed. A copy whose
origin does not fit it (a crash between the two, another URL) counts as none. ``PATH.problem`` records for a while that
the server was slow to fail, so that who asks again at once does not wait again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from condor_vac.base import atomic, fetch, json_text
from condor_vac.base.errors import VacError
from condor_vac.base.fetch import Access, Known, Limits

ORIGIN_SUFFIX = ".origin"
PROBLEM_SUFFIX = ".problem"
# A fetch that fails sooner costs nobody anything.
SLOW_SECONDS = 5
RETRY_SECONDS = 120
# What an experiment hands out may hold its secrets.
MODE = 0o640
_ORIGIN_LIMIT = 1 << 14


@dataclass(frozen=True)
class Copy:
    """The bytes, the seconds since the server confirmed them, and why they could not be had anew (or None)."""

    data: bytes
    age: float
    problem: str | None = None


@dataclass(frozen=True)
class _Origin:
    url: str
    sha256: str
    checked: float
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True)
class _Problem:
    url: str
    when: float
    text: str


def latest(
    url: str,
    path: str,
    limits: Limits,
    *,
    fresh_seconds: float = 0,
    keep_seconds: float = 0,
    check: Callable[[bytes], object] | None = None,
    access: Access = fetch.DIRECT,
    clock: Callable[[], float] = time.time,
) -> Copy:
    """What ``url`` has. A copy younger than ``fresh_seconds`` is taken without asking the server.

    ``check`` raises VacError for bytes that are of no use. They, or a server that fails, leave the copy as it
    is; it is then returned, with the problem, if it is not older than ``keep_seconds``, else VacError is
    raised. A copy from the future counts as none, because its age is unknown. A server that took SLOW_SECONDS or more
    to fail is asked again after RETRY_SECONDS.
    """
    now = clock()
    origin, data = _load(path, url, limits.bytes)
    age = now - origin.checked if origin is not None else -1.0
    if data is not None and 0 <= age < fresh_seconds:
        return Copy(data, age)
    try:
        _still_slow(path, url, now)
        fetched, answer = _fetch(url, limits, origin, access)
        if fetched is not None and check is not None:
            check(fetched)
    except VacError as error:
        if clock() - now >= SLOW_SECONDS:
            problem = _Problem(url, now, str(error))
            atomic.write(path + PROBLEM_SUFFIX, json.dumps(asdict(problem)).encode(), MODE)
        if data is not None and 0 <= age <= keep_seconds:
            return Copy(data, age, str(error))
        raise
    current = data if fetched is None else fetched
    if current is None:
        raise VacError(f"{url}: the server reports no change, but there is no copy; try again")
    if current != data:
        atomic.write(path, current, MODE)
    digest = hashlib.sha256(current).hexdigest()
    new = _Origin(url, digest, now, answer.etag, answer.last_modified)
    atomic.write(path + ORIGIN_SUFFIX, json.dumps(asdict(new)).encode(), MODE)
    return Copy(current, 0.0)


def _still_slow(path: str, url: str, now: float) -> None:
    """Raises VacError where this URL's server was slow to fail just now."""
    if not os.path.exists(path + PROBLEM_SUFFIX):
        return
    try:
        found = _Problem(**json_text.loads(atomic.read(path + PROBLEM_SUFFIX, _ORIGIN_LIMIT)))
        recent = found.url == url and 0 <= now - found.when < RETRY_SECONDS
    except (VacError, TypeError, ValueError):
        # Whatever is wrong with it, the server is asked.
        return
    if recent:
        raise VacError(f"{found.text} (tried {now - found.when:.0f} s ago)")


def _fetch(url: str, limits: Limits, origin: _Origin | None, access: Access) -> tuple[bytes | None, fetch.Answer]:
    """The body, None if it is what we have."""
    known = None if origin is None else Known(origin.etag, origin.last_modified)
    body = io.BytesIO()
    answer = fetch.download(url, body.write, limits, known, access=access)
    return (body.getvalue() if answer.modified else None), answer


def _load(path: str, url: str, limit: int) -> tuple[_Origin | None, bytes | None]:
    if not os.path.exists(path) or not os.path.exists(path + ORIGIN_SUFFIX):
        return None, None
    try:
        origin = _Origin(**json_text.loads(atomic.read(path + ORIGIN_SUFFIX, _ORIGIN_LIMIT)))
        data = atomic.read(path, limit)
        fits = origin.url == url and origin.sha256 == hashlib.sha256(data).hexdigest() and origin.checked >= 0
    except (VacError, TypeError, ValueError):
        # Whatever is wrong with it, what the server has will replace it.
        return None, None
    return (origin, data) if fits else (None, None)
