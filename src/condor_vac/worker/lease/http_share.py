# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx shows one VM: a directory named by the VM's address, with its own directories bound into it.

nginx (vac_http.service) runs as a user of its own, sees nothing of the sandboxes, and chooses the directory by
the address that a request comes from; which one that is, libvirt's anti-spoofing filter settles. Each share is
a mount of the very directory that was checked (by its descriptor), so no name or link leads anywhere else. The
directory of an address exists exactly while a lease grants it: without it every request is answered 403.
"""

from __future__ import annotations

import contextlib
import grp
import os
import re
from collections.abc import Iterator

from condor_vac import RUN_DIRECTORY
from condor_vac.base import tools
from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.sandbox import METADATA

DIRECTORY = f"{RUN_DIRECTORY}/http"
MOUNTINFO = "/proc/self/mountinfo"
# That of PID 1, where nginx's service looks for mounts.
NODE_NAMESPACE = "/proc/1/ns/mnt"
TIMEOUT_SECONDS = 20.0
OUTPUTS = "joboutputs"
# Name to whether nginx may write there.
SHARES = {"machinefeatures": False, "jobfeatures": False, OUTPUTS: True, METADATA: False}

_ADDRESS = r"[0-9]{1,3}(\.[0-9]{1,3}){3}"
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SAFE = "nosuid,nodev,noexec"


def group_id(name: str) -> int:
    """The id of nginx's group. Raises VacError."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise VacError(f"group {name}: there is none; run the worker role on this node") from error


def grant(lease: Lease, sandbox: int, gid: int) -> None:
    """Show the VM its directories of the open sandbox; ``gid`` is nginx's group. Again is fine.

    Raises UsageError for a directory that is not the VM's, VacError when it cannot be shared.
    """
    _check_namespace()
    _make_directory(DIRECTORY, 0o750, gid)
    with contextlib.ExitStack() as stack:
        opened = {name: stack.enter_context(_checked(sandbox, name, lease.uid)) for name in SHARES}
        top = f"{DIRECTORY}/{lease.address}"
        shown = [name for name in SHARES if f"{top}/{name}" in _mounted()]
        if not all(_same(opened[name], f"{top}/{name}") for name in shown):
            # Left by an earlier VM that a crash ended.
            revoke(lease.address)
            shown = []
        for name, fd in opened.items():
            _open_to_nginx(fd, name, gid)
            if name not in shown:
                _show(fd, f"{top}/{name}", writable=SHARES[name])


def revoke(address: str) -> None:
    """Show the VM at the address nothing any more; one that is shown nothing is fine. Raises VacError."""
    if not re.fullmatch(_ADDRESS, address):
        raise UsageError(f"{address!r}: not an IPv4 address")
    top = f"{DIRECTORY}/{address}"
    # By umount(8): libvirt's AppArmor profile lets its hook start programs, but not unmount by itself.
    for target in [path for path in _mounted() if path.startswith(f"{top}/")]:
        _run("umount", "-l", target)
    # Never rmtree: should something still be mounted there, it is a VM's.
    with contextlib.suppress(FileNotFoundError):
        for path in (*(f"{top}/{name}" for name in os.listdir(top)), top):
            os.rmdir(path)


def addresses() -> set[str]:
    """The addresses that are shown anything."""
    with contextlib.suppress(FileNotFoundError):
        return {name for name in os.listdir(DIRECTORY) if re.fullmatch(_ADDRESS, name)}
    return set()


def _check_namespace() -> None:
    """nginx sees what is mounted in the node's own mount namespace, and nothing that a service hides there."""
    try:
        private = os.readlink("/proc/self/ns/mnt") != os.readlink(NODE_NAMESPACE)
    except OSError as error:
        raise VacError(f"cannot compare mount namespaces: {error.strerror}; is /proc mounted?") from error
    if private:
        raise VacError(
            "condor.service has a mount namespace of its own, from which nothing reaches nginx; "
            "take options such as ProtectSystem out of its unit"
        )


@contextlib.contextmanager
def _checked(sandbox: int, name: str, uid: int) -> Iterator[int]:
    try:
        fd = os.open(name, _OPEN_DIRECTORY, dir_fd=sandbox)
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}; it must be a directory of the sandbox, no link") from error
    try:
        if os.fstat(fd).st_uid != uid:
            raise UsageError(f"{name}: belongs to another user; remove it from the job's files")
        yield fd
    finally:
        os.close(fd)


def _open_to_nginx(fd: int, name: str, gid: int) -> None:
    """nginx writes outputs, which the job's user then finds readable; the metadata only it and the user read."""
    modes = {OUTPUTS: 0o2775, METADATA: 0o2750}
    if name in modes:
        os.fchown(fd, -1, gid)
        os.fchmod(fd, modes[name])


def _show(fd: int, target: str, *, writable: bool) -> None:
    """By descriptor and not canonicalised (mount -c): what was checked is what is mounted."""
    _make_directory(os.path.dirname(target), 0o755, 0)
    _make_directory(target, 0o755, 0)
    options = f"bind,{'rw' if writable else 'ro'},{_SAFE}"
    _run("mount", "-c", "-o", options, f"/proc/{os.getpid()}/fd/{fd}", target)


def _make_directory(path: str, mode: int, gid: int) -> None:
    with contextlib.suppress(FileExistsError):
        os.makedirs(path, mode=0o700)
        os.chown(path, -1, gid)
        os.chmod(path, mode)


def _mounted() -> list[str]:
    """Where something is mounted below DIRECTORY, the last mounted first (proc(5): field 5 of mountinfo)."""
    try:
        with open(MOUNTINFO, encoding="utf-8", errors="surrogateescape") as stream:
            points = [line.split(" ")[4] for line in stream]
    except OSError as error:
        raise VacError(f"{MOUNTINFO}: {error.strerror}") from error
    return [point for point in reversed(points) if point.startswith(f"{DIRECTORY}/")]


def _same(fd: int, target: str) -> bool:
    here, there = os.fstat(fd), os.stat(target)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _run(*argv: str) -> None:
    tools.run(argv, timeout=TIMEOUT_SECONDS)
