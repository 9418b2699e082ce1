# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker node grants one VM while it lives, and where the node keeps it.

One JSON file for each lease under /run/condor_vac/leases, root's and readable by all: the domain, the hooks
and vac_watch learn from it what the VM was granted, and a reboot, which ends every VM, empties it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from condor_vac import RUN_DIRECTORY
from condor_vac.base import atomic, fields
from condor_vac.base.errors import UsageError, VacError

# libvirt's own log directory: virtlogd, which is root and confined by SELinux, writes the console there.
CONSOLE_DIRECTORY = "/var/log/libvirt/qemu"
# What a job gets of it, in its sandbox.
CONSOLE_NAME = "console.log"
UUID_PATTERN = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# HTCondor's name of a VM: USER_CLUSTER.PROC, the user with @ as _.
DOMAIN_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,200}_[0-9]{1,10}\.[0-9]{1,10}"
# How long one program waits for the node's lock, altogether, and how long it may hold it each time: then the kernel
# ends it (SIGALRM), and with it its hold. What it did is put right by vac_watch.
PATIENCE_SECONDS = 45.0
HELD_SECONDS = 60.0
_FILE_LIMIT = 1 << 16
_ROOT = "only root changes leases"


class Export(NamedTuple):
    """One directory exported by NFS to one client address."""

    directory: str
    address: str


class Lease(NamedTuple):
    """One VM's lease. Times are Unix s, those named ``_boottime`` are CLOCK_BOOTTIME s, which never steps.

    ``images`` are the versions of the node's images that the VM runs on (image.store.version_of).
    ``stopping`` is null or {"cause", "message", "boottime"}: why vac_watch is ending the VM. ``saved`` is
    true while HTCondor keeps the VM suspended on disk. ``leaves`` is when the VM has to be gone because another job
    gets its slot; null as long as none does.
    """

    uuid: str
    domain: str
    machinetype: str
    uid: int
    gid: int
    user: str
    sandbox: str
    address: str
    mac: str
    hostname: str
    network: str
    filter: str
    gateway: str
    machinefeatures: str
    jobfeatures: str
    joboutputs: str
    sharing: str
    chirp_config: str
    console: str
    created: int
    created_boottime: float
    fizzle_seconds: int
    max_wallclock_seconds: int
    heartbeat_seconds: int
    evidence_cpu_fraction: float
    heartbeat_file: str | None = None
    images: tuple[str, ...] = ()
    started: int | None = None
    started_boottime: float | None = None
    ended: int | None = None
    ended_boottime: float | None = None
    saved: bool = False
    stopping: Mapping[str, Any] | None = None
    leaves: int | None = None
    leaves_boottime: float | None = None

    def to_mapping(self) -> dict[str, Any]:
        """Every field, as JSON can hold it."""
        return self._asdict()

    @classmethod
    def from_mapping(cls, data: object) -> Lease:
        """The lease of ``to_mapping``; fields of another version are left out. Raises VacError."""
        known = {key: value for key, value in data.items() if key in _CHECKS} if isinstance(data, dict) else data
        try:
            return cls(**fields.check_all(known, _CHECKS, _REQUIRED, "not a lease"))
        except UsageError as error:
            raise VacError(str(error)) from error

    def is_of(self, owner: str, job: str) -> bool:
        """Whether the VM is this job's (CLUSTER.PROC) of this owner (USER@DOMAIN)."""
        return self.domain in {f"{user}_{job}" for user in (owner.partition("@")[0], owner.replace("@", "_"))}

    @property
    def label(self) -> str:
        """How lines of the node's log name the VM: HTCondor's name, which ends with its job's id, and its UUID."""
        return f"{self.domain} [{self.uuid}]"

    @property
    def by_http(self) -> bool:
        """Whether the VM finds its directories by HTTP."""
        return self.sharing in {"http", "both"}

    @property
    def metadata(self) -> str:
        """The directory of the VM's metadata, which is there where it is shared by HTTP."""
        return f"{self.sandbox}/metadata"

    def exports(self) -> dict[Export, bool]:
        """The NFS exports that belong to the lease → whether they are writable."""
        if self.sharing == "http":
            return {}
        directories = {self.machinefeatures: False, self.jobfeatures: False, self.joboutputs: True}
        return {Export(path, self.address): writable for path, writable in directories.items()}

    def with_start(self) -> Lease:
        """The lease now that its VM runs; a VM that comes back from a suspension keeps its start."""
        if self.started is not None:
            return self._replace(saved=False)
        return self._replace(started=int(time.time()), started_boottime=boottime(), saved=False)

    def with_stop(self, cause: str, message: str, now: float) -> Lease:
        """The lease of a VM that vac_watch ends, for this reason, since ``now`` (CLOCK_BOOTTIME s)."""
        return self._replace(stopping={"cause": cause, "message": message, "boottime": now})

    def with_leave(self, when: float | None) -> Lease:
        """The lease of a VM whose slot another job gets at ``when`` (CLOCK_BOOTTIME s); None: no job does."""
        leaves = None if when is None else int(time.time() + when - boottime())
        return self._replace(leaves=leaves, leaves_boottime=when)

    def with_saved(self) -> Lease:
        """The lease while HTCondor keeps the VM on disk."""
        return self._replace(saved=True)

    def with_end(self) -> Lease:
        """The lease now that its VM is gone; the first end that is seen counts."""
        if self.ended is not None:
            return self
        return self._replace(ended=int(time.time()), ended_boottime=boottime())

    def runtime(self) -> float:
        """Seconds from the VM's start to its end, or to now while it runs; 0.0 if it never started."""
        if self.started_boottime is None:
            return 0.0
        end = boottime() if self.ended_boottime is None else self.ended_boottime
        return max(end - self.started_boottime, 0.0)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 1024:
        raise ValueError("must be one line of text")
    return value


def _path(value: Any) -> str:
    if not _text(value).startswith("/"):
        raise ValueError("must be an absolute path")
    return str(value)


def _stopping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict) or set(value) != {"cause", "message", "boottime"}:
        raise ValueError("must have cause, message and boottime")
    return {"cause": _text(value["cause"]), "message": _text(value["message"]), "boottime": _SECONDS(value["boottime"])}


def _or_null(check: fields.Check) -> fields.Check:
    return lambda value: None if value is None else check(value)


_ID = fields.integer(0, (1 << 32) - 2)
_COUNT = fields.integer(0, 1 << 53)
_SECONDS = fields.number(-1e12, 1e12)
# Root alone writes leases, from requests that were checked: this is for files that something damaged. Few regular
# expressions, since a VM's start waits for them to be compiled.
_CHECKS: dict[str, fields.Check] = {
    **dict.fromkeys(("uuid", "machinetype", "user", "mac", "hostname", "network", "filter", "address"), _text),
    **dict.fromkeys(("gateway", "sharing"), _text),
    **dict.fromkeys(("sandbox", "machinefeatures", "jobfeatures", "joboutputs", "chirp_config", "console"), _path),
    **dict.fromkeys(("created", "fizzle_seconds", "max_wallclock_seconds", "heartbeat_seconds"), _COUNT),
    **dict.fromkeys(("started", "ended", "leaves"), _or_null(_COUNT)),
    **dict.fromkeys(("started_boottime", "ended_boottime", "leaves_boottime"), _or_null(_SECONDS)),
    "domain": fields.matching(DOMAIN_PATTERN, "must be HTCondor's name of a VM"),
    "uid": _ID,
    "gid": _ID,
    "created_boottime": _SECONDS,
    "evidence_cpu_fraction": fields.number(0.0, 1.0),
    "heartbeat_file": _or_null(_text),
    "images": fields.list_of(fields.line(255)),
    "saved": fields.boolean,
    "stopping": _or_null(_stopping),
}
_REQUIRED = set(Lease._fields) - set(Lease._field_defaults)


class Damaged(NamedTuple):
    """A lease file that nobody can use: its path, the UUID that it is named by, and why.

    ``unreadable``: the file system does not give it; otherwise what it holds is no lease, and never will be.
    """

    path: str
    uuid: str
    reason: str
    unreadable: bool


def boottime() -> float:
    """Seconds since boot: two readings differ by the true time between them, also when the clock is changed."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Store:
    """The leases of this node. Who changes them holds ``lock``; readers need none (files are replaced).

    ``patience``: how long this store's user waits for the lock, in seconds, all its waits together.
    """

    def __init__(self, run_directory: str = RUN_DIRECTORY, *, patience: float = PATIENCE_SECONDS) -> None:
        self.run_directory = run_directory
        self.directory = f"{run_directory}/leases"
        self._patience = patience

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the node's one lease lock (root), for HELD_SECONDS at most. Raises VacError, LockedError.

        Nothing is printed, read from a caller or done as a user meanwhile: who can stop that would hold the node.
        """
        try:
            atomic.make_directory(self.directory)
        except OSError as error:
            raise VacError(f"{self.run_directory}: {error.strerror}; {_ROOT}") from error
        began = time.monotonic()
        with atomic.locked(f"{self.run_directory}/lock", _ROOT, patience=self._patience), _limited():
            self._patience = max(self._patience - (time.monotonic() - began), 0.0)
            yield

    def all(self) -> list[Lease]:
        """Every lease that can be used, oldest first. Raises VacError if they cannot be listed."""
        return self.read()[0]

    def read(self) -> tuple[list[Lease], list[Damaged]]:
        """Every lease, oldest first, and the files that are none. Raises VacError if they cannot be listed."""
        try:
            names = sorted(name for name in os.listdir(self.directory) if _is_lease_file(name))
        except FileNotFoundError:
            return [], []
        except OSError as error:
            raise VacError(f"{self.directory}: cannot be listed: {error.strerror}; check it as root") from error
        found = [self._load(name) for name in names]
        leases = sorted((one for one in found if isinstance(one, Lease)), key=lambda one: one.created_boottime)
        return leases, [one for one in found if isinstance(one, Damaged)]

    def by_uuid(self, uuid: str) -> Lease | None:
        """The lease with this UUID, or None. Raises UsageError for what is not a UUID, VacError for a damaged one."""
        found = self._load(f"{check_uuid(uuid)}.json")
        if isinstance(found, Damaged):
            raise VacError(found.reason)
        return found

    def by_domain(self, domain: str) -> Lease | None:
        """The lease of the VM with this libvirt name, or None."""
        return next((lease for lease in self.all() if lease.domain == domain), None)

    def save(self, lease: Lease) -> None:
        """Write the lease, whole or not at all."""
        data = json.dumps(lease.to_mapping(), indent=1).encode() + b"\n"
        atomic.write(f"{self.directory}/{check_uuid(lease.uuid)}.json", data, mode=0o644)

    def update(self, uuid: str, change: Callable[[Lease], Lease]) -> Lease | None:
        """Replace the lease by ``change(lease)`` under the lock; None if it has been released meanwhile.

        For who looked without the lock: what somebody else wrote since then stays.
        """
        with self.lock():
            found = self.by_uuid(uuid)
            if found is None:
                return None
            changed = change(found)
            self.save(changed)
            return changed

    def delete(self, lease: Lease) -> None:
        """Forget the lease; one that is gone is fine."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.directory}/{check_uuid(lease.uuid)}.json")

    def put_aside(self, damaged: Damaged) -> str:
        """Move what is no lease out of the way, whatever it is; the path where it is kept. Raises VacError."""
        kept = f"{self.aside}/{os.path.basename(damaged.path)}"
        try:
            atomic.make_directory(self.aside)
            os.replace(damaged.path, kept)
        except OSError as error:
            raise VacError(f"{damaged.path}: cannot be put aside: {error.strerror}; remove it as root") from error
        return kept

    @property
    def aside(self) -> str:
        """The directory of what was put aside."""
        return f"{self.run_directory}/damaged"

    def _load(self, name: str) -> Lease | Damaged | None:
        path, uuid = f"{self.directory}/{name}", name[: -len(".json")]
        try:
            found = Lease.from_mapping(json.loads(_content(path)))
        except FileNotFoundError:
            # It was released between the listing and the reading.
            return None
        except OSError as error:
            return Damaged(path, uuid, f"{path}: cannot be read: {error.strerror}", unreadable=True)
        except (VacError, ValueError, RecursionError) as error:
            return Damaged(path, uuid, f"{path}: {error}", unreadable=False)
        if found.uuid != uuid:
            return Damaged(path, uuid, f"{path}: is the lease of another UUID", unreadable=False)
        return found


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """End this process should it be here for longer than HELD_SECONDS."""
    import signal  # noqa: PLC0415 - 0.4 ms of 27, which exportfs's start needs as well

    before = signal.setitimer(signal.ITIMER_REAL, HELD_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)


def _content(path: str) -> bytes:
    """What the file holds. Raises VacError if it is no lease file for certain, OSError if nobody knows."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise VacError("a link") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise VacError("not a regular file")
        data = os.read(fd, _FILE_LIMIT + 1)
    finally:
        os.close(fd)
    if len(data) > _FILE_LIMIT:
        raise VacError(f"larger than {_FILE_LIMIT} bytes")
    return data


def is_uuid(text: object) -> bool:
    """Whether it is the text of a UUID in lower case."""
    return isinstance(text, str) and re.fullmatch(UUID_PATTERN, text) is not None


def check_uuid(text: object) -> str:
    """The text, if it is a UUID in lower case. Raises UsageError."""
    if not isinstance(text, str) or not is_uuid(text):
        raise UsageError(f"uuid: {str(text)[:80]!r}: must be a UUID in lower case")
    return text


def _is_lease_file(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")
