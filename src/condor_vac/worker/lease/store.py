# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker node grants one VM while it lives, and where the node keeps it.

One JSON file for each lease under /run/condor_vac/leases, root's and readable by all: the domain, the hooks
and vac_watch learn from it what the VM was granted, and a reboot, which ends every VM, empties it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from condor_vac import RUN_DIRECTORY
from condor_vac.base import atomic
from condor_vac.base.errors import UsageError, VacError

# libvirt's own log directory: virtlogd, which is root and confined by SELinux, writes the console there.
CONSOLE_DIRECTORY = "/var/log/libvirt/qemu"
# What a job gets of it, in its sandbox.
CONSOLE_NAME = "console.log"
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# HTCondor's name of a VM: USER_CLUSTER.PROC, the user with @ as _.
DOMAIN_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,200}_[0-9]{1,10}\.[0-9]{1,10}"
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
    def from_mapping(cls, data: Mapping[str, Any]) -> Lease:
        """The lease of ``to_mapping``; fields of another version are left out."""
        values = {key: value for key, value in data.items() if key in cls._fields}
        return cls(**{**values, "images": tuple(values.get("images", ()))})

    def is_of(self, owner: str, job: str) -> bool:
        """Whether the VM is this job's (CLUSTER.PROC) of this owner (USER@DOMAIN)."""
        return self.domain in {f"{user}_{job}" for user in (owner.partition("@")[0], owner.replace("@", "_"))}

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


def boottime() -> float:
    """Seconds since boot: two readings differ by the true time between them, also when the clock is changed."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Store:
    """The leases of this node. Who changes them holds ``lock``; readers need none (files are replaced)."""

    def __init__(self, run_directory: str = RUN_DIRECTORY) -> None:
        self.run_directory = run_directory
        self.directory = f"{run_directory}/leases"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the node's one lease lock (root), waiting for it. Raises VacError."""
        try:
            os.makedirs(self.directory, mode=0o755, exist_ok=True)
        except OSError as error:
            raise VacError(f"{self.run_directory}: {error.strerror}; {_ROOT}") from error
        with atomic.locked(f"{self.run_directory}/lock", _ROOT):
            yield

    def all(self) -> list[Lease]:
        """Every lease, oldest first. Raises VacError for a file that is none."""
        try:
            names = [name for name in os.listdir(self.directory) if _is_lease_file(name)]
        except FileNotFoundError:
            return []
        found = (self._load(name) for name in names)
        return sorted((lease for lease in found if lease is not None), key=lambda item: item.created_boottime)

    def by_uuid(self, uuid: str) -> Lease | None:
        """The lease with this UUID, or None. Raises UsageError for what is not a UUID."""
        return self._load(f"{check_uuid(uuid)}.json")

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

    def _load(self, name: str) -> Lease | None:
        path = f"{self.directory}/{name}"
        try:
            return Lease.from_mapping(json.loads(atomic.read(path, _FILE_LIMIT)))
        except VacError:
            # Also when it was released between the listing and the reading.
            if os.path.lexists(path):
                raise
            return None
        except (ValueError, TypeError) as error:
            raise VacError(f"{path}: not a lease: {error}; remove it when its VM is gone") from error


def is_uuid(text: object) -> bool:
    """Whether it is the text of a UUID in lower case."""
    return isinstance(text, str) and re.fullmatch(_UUID, text) is not None


def check_uuid(text: object) -> str:
    """The text, if it is a UUID in lower case. Raises UsageError."""
    if not isinstance(text, str) or not is_uuid(text):
        raise UsageError(f"uuid: {str(text)[:80]!r}: must be a UUID in lower case")
    return text


def _is_lease_file(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")
