# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a run of smoke VMs has its files, on the access point: locked as long as it runs, so that
files of a killed run are not taken for files in use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import re
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

from condor_vac.base.errors import VacError
from condor_vac.base.shared import STATE_DIRECTORY, Universe

# No machinetype can have this name: its directory is here as well.
_NAME = re.compile(r"smoke_[a-z0-9_]+")


class Place(NamedTuple):
    """A run's directory, and whose it and the run's jobs are."""

    path: str
    uid: int
    gid: int

    def jobs(self) -> str:
        """A constraint for the jobs whose files are in it, of its owner alone. Raises VacError."""
        try:
            owner = pwd.getpwuid(self.uid).pw_name
        except KeyError as error:
            raise VacError(f"{self.path}: its owner, uid {self.uid}, is no user here; remove it") from error
        inside = f'substr(Iwd, 0, {len(self.path) + 1}) =?= "{self.path}/"'
        return f'JobUniverse == {Universe.VM} && Owner == "{owner}" && {inside}'


@contextlib.contextmanager
def new(uid: int, gid: int) -> Iterator[Place]:
    """A new directory of the owner's for files and outputs, locked until the context ends. Raises VacError."""
    with contextlib.ExitStack() as held:
        try:
            # Under its name only when it is locked: until then it would look abandoned.
            made = tempfile.mkdtemp(prefix=".smoke_", dir=STATE_DIRECTORY)
            held.enter_context(_locked(made))
            if os.geteuid() == 0:
                os.chown(made, uid, gid)
            path = f"{STATE_DIRECTORY}/{os.path.basename(made)[1:]}"
            os.replace(made, path)
        except OSError as error:
            raise VacError(f"{STATE_DIRECTORY}: {error.strerror}; run this as root on an access point") from error
        yield Place(path, uid, gid)


def abandoned() -> Iterator[Place]:
    """The directories of runs that are no more, each locked until the next is asked for. Raises VacError.

    A user other than root sees their own alone.
    """
    try:
        names = sorted(filter(_NAME.fullmatch, os.listdir(STATE_DIRECTORY)))
    except OSError as error:
        raise VacError(f"{STATE_DIRECTORY}: {error.strerror}; run this as root on an access point") from error
    for name in names:
        path = f"{STATE_DIRECTORY}/{name}"
        with contextlib.suppress(OSError), _locked(path) as fd:
            status = os.fstat(fd)
            if os.geteuid() in {0, status.st_uid}:
                yield Place(path, status.st_uid, status.st_gid)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[int]:
    """The directory, open; raises OSError if it is none, or in use."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield fd
    finally:
        os.close(fd)
