# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of the last VMs that failed (``keep_failed``): console, outputs and context, without secrets.

One directory for each VM in the factory's own, ``kept/ENDED-CLUSTER.PROC``, with ``console.log``, ``vm.log``,
``joboutputs/`` and ``context.json``. Its name is its place in the order of ends, so that nothing else has to be
remembered. What came back is a guest's or a node's: only plain files with plain names are copied, the end of long ones,
and no link is followed. The VM's proxy is never copied, nor what else the job took along; secrets that a guest printed
are replaced in the copies.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from condor_vac.base import atomic, urls
from condor_vac.base.errors import VacError
from condor_vac.base.plain_file import tail
from condor_vac.factory import leftovers, vm_directories
from condor_vac.factory.job_ad import Job
from condor_vac.model import outcome, user_data
from condor_vac.model.machinetype import PROXY_NAME, Machinetype
from condor_vac.policy.laws import FAILURE_WORDS

NAME = "kept"
# A machinetype's: several tens of failures with whole consoles (1 MiB, worker/lease/console.py) and logs, and less than
# what one VM may send back twice (64 MiB, worker/vm/outputs.py). The file system is also that of all other VMs' files.
BUDGET_BYTES = 128 << 20
# One VM's: less than the budget, so that the last failure always fits.
VM_BYTES = 32 << 20
# Of a longer file the end is kept, where a failure is.
FILE_BYTES = 8 << 20
MOST_FILES = 200
_MOST_NAMES = 5000
OUTPUTS = "joboutputs"
LOGS = ("console.log", "vm.log")
# Of the job's ad, what the context file has.
CONTEXT = (
    *("GlobalJobId", "Owner", "VacUUID", "VacBatch", "VacDigest", "QDate", "JobCurrentStartDate", "NumShadowStarts"),
    *("LastRemoteHost", "RequestCpus", "RequestMemory", "HoldReason", "ShutdownCode", "ShutdownMessage", "VacOutcome"),
    *("VacKind", "VacCause", "VacRuntime", "VacStarted", "VacEnded", "VacCpuSeconds", "VacCpuFraction"),
)
_PARTIAL = ".partial"
_FORM = re.compile(r"(?P<ended>[0-9]{1,12})-(?P<job>[0-9]+\.[0-9]+)")
_SAFE_NAME = re.compile(r"[!-.0-~][ -.0-~]{0,127}")
_REMOVED = b"[removed: secret]"
# Private keys in PEM, and tokens: JWTs such as HTCondor's and WLCG's.
_SECRETS = re.compile(
    rb"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"
    rb"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    re.DOTALL,
)
# A shorter option is a word that may stand anywhere.
_LEAST_SECRET = 8
# A word of a file that is so long is a token.
_LEAST_TOKEN = 20


class Kept(NamedTuple):
    """One VM's directory: when the VM ended (Unix s), its job's id, and its path."""

    ended: int
    job: str
    path: str


def listed(directory: str) -> list[Kept]:
    """What is kept, the oldest first; ``directory`` is the factory's."""
    place = os.path.join(directory, NAME)
    try:
        names = os.listdir(place)
    except OSError:
        return []
    forms = (_FORM.fullmatch(name) for name in names)
    return sorted(Kept(int(form["ended"]), form["job"], os.path.join(place, form[0])) for form in forms if form)


def find(directory: str, job: str) -> str | None:
    """Where the newest VM of the job with this id is kept; None if none is."""
    return next((kept.path for kept in reversed(listed(directory)) if kept.job == job), None)


def update(
    directory: str, m: Machinetype, jobs: Sequence[Job], ads: Callable[[Sequence[str]], Mapping[str, Mapping[str, Any]]]
) -> dict[str, str]:
    """Keep the last ``keep_failed`` VMs of those kept and of ``jobs``; what was wrong, a sentence by what it is about.

    ``ads`` gives, by id, the attributes CONTEXT of the ads of jobs.
    """
    old = listed(directory)
    known = {(each.ended, each.job) for each in old}
    # What is older than all that is kept was kept before, and went.
    least = old[0].ended if old else 0
    failed = [job for job in jobs if _failed(job) and _place(job) not in known and _place(job)[0] >= least]
    last = sorted([*known, *map(_place, failed)])[-m.keep_failed :] if m.keep_failed else []
    new = sorted((job for job in failed if _place(job) in last), key=_place)
    wrong: dict[str, str] = {}
    if new:
        _keep_all(directory, m, new, ads([job.id for job in new]), wrong)
    for each in old:
        if (each.ended, each.job) not in last:
            _attempt(wrong, each.path, partial(leftovers.remove, each.path))
    if new:
        _attempt(wrong, directory, partial(_within_budget, directory))
    return wrong


def without_secrets(data: bytes, secrets: Sequence[bytes]) -> bytes:
    """The text with private keys, tokens and these ``secrets`` replaced."""
    clean = _SECRETS.sub(_REMOVED, data)
    if not secrets:
        return clean
    # A longer one may hold a shorter one.
    return re.sub(b"|".join(re.escape(each) for each in sorted(secrets, key=len, reverse=True)), _REMOVED, clean)


def secrets_of(m: Machinetype) -> list[bytes]:
    """What may be secret of a machinetype's user data: its options, and the files that go into it. Raises VacError.

    Of a file it is the whole, and each line that looks like a token.
    """
    found = [value.strip().encode() for value in m.user_data_options.values()]
    for path in m.user_data_files.values():
        data = atomic.read(path, user_data.TEMPLATE_LIMIT).strip()
        found += [data, *(line for line in data.split() if len(line) >= _LEAST_TOKEN)]
    return [each for each in dict.fromkeys(found) if len(each) >= _LEAST_SECRET]


def _failed(job: Job) -> bool:
    return job.ended is not None and job.ended.kind in FAILURE_WORDS and job.batch is not None


def _place(job: Job) -> tuple[int, str]:
    """A failed VM's place in the order of ends, which is its directory's name."""
    return (0 if job.ended is None else int(job.ended.time)), job.id


def _attempt(wrong: dict[str, str], about: str, work: Callable[[], None]) -> None:
    """Do it; what goes wrong costs what it is about, and nothing else."""
    try:
        work()
    except VacError as error:
        wrong[about] = f"a failed VM's files: {error}"


def _keep_all(
    directory: str, m: Machinetype, jobs: Sequence[Job], ads: Mapping[str, Mapping[str, Any]], wrong: dict[str, str]
) -> None:
    try:
        secrets = secrets_of(m)
    except VacError as error:
        # Without knowing them nothing can be copied without them.
        wrong[directory] = f"failed VMs' files are not kept: {error}"
        return
    for job in jobs:
        _attempt(wrong, job.id, partial(_keep, directory, m, job, ads.get(job.id, {}), secrets))


def _keep(directory: str, m: Machinetype, job: Job, ad: Mapping[str, Any], secrets: Sequence[bytes]) -> None:
    """Copy one VM's files, all or nothing. Raises VacError."""
    place = os.path.join(directory, NAME)
    unfinished = os.path.join(place, _PARTIAL)
    leftovers.remove(unfinished)
    try:
        # Only for the machinetype's owner and root: what a guest printed is not for every user.
        os.makedirs(os.path.join(unfinished, OUTPUTS))
        os.chmod(place, 0o700)
        copied = _copy(vm_directories.of(directory, str(job.batch), job.id), unfinished, secrets)
        context = {"job": job.id, "ended": _place(job)[0], **copied, "machinetype": _shown(m), "ad": dict(ad)}
        text = json.dumps(context, indent=1, default=repr).encode()
        atomic.write(os.path.join(unfinished, "context.json"), without_secrets(text, secrets), mode=0o600)
        ended, name = _place(job)
        os.replace(unfinished, os.path.join(place, f"{ended}-{name}"))
    except OSError as error:
        raise VacError(f"{place}: job {job.id}: cannot be kept: {error.strerror}; check space and owner") from error


def _shown(m: Machinetype) -> dict[str, Any]:
    """The machinetype; of its options the names alone, and of URLs no query, which may be a token."""
    plain = {
        key: urls.without_queries(value) if isinstance(value, str) else value for key, value in m._asdict().items()
    }
    return {**plain, "user_data_options": sorted(m.user_data_options)}


def _copy(source: str, target: str, secrets: Sequence[bytes]) -> dict[str, list[str]]:
    """Copy a VM's logs and outputs; {"files": names, "left_out": names of those for which there was no room}."""
    found: dict[str, list[str]] = {"files": [], "left_out": []}
    room = VM_BYTES
    with contextlib.ExitStack() as opened:
        here = _opened(opened, source)
        inner = None if here is None else _opened(opened, OUTPUTS, here)
        names = [(here, name, name) for name in LOGS] if here is not None else []
        names += [(inner, name, f"{OUTPUTS}/{name}") for name in _names(inner)] if inner is not None else []
        for fd, name, path in names:
            data = tail(name, FILE_BYTES, fd)
            if data is None:
                continue
            if len(data) > room or len(found["files"]) >= MOST_FILES:
                found["left_out"].append(path)
                continue
            clean = without_secrets(data, secrets)
            room -= len(data)
            atomic.write(os.path.join(target, path), clean, mode=0o600)
            found["files"].append(path)
    return found


def _opened(stack: contextlib.ExitStack, name: str, dir_fd: int | None = None) -> int | None:
    """The open directory, no link; None if it is not there."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    except OSError:
        return None
    stack.callback(os.close, fd)
    return fd


def _names(fd: int) -> list[str]:
    """The plain names in a directory, the shutdown message and logs first; of a flood of names some."""
    with os.scandir(fd) as entries:
        names = [entry.name for _number, entry in zip(range(_MOST_NAMES), entries)]
    plain = [name for name in names if _SAFE_NAME.fullmatch(name) and name != PROXY_NAME]
    return sorted(plain, key=lambda name: (name != outcome.MESSAGE_NAME, not name.endswith(".log"), name))


def _within_budget(directory: str) -> None:
    """Remove the oldest until the rest fits. Raises VacError."""
    left = listed(directory)
    sizes = [_size(each.path) for each in left]
    while len(left) > 1 and sum(sizes) > BUDGET_BYTES:
        leftovers.remove(left.pop(0).path)
        sizes.pop(0)


def _size(path: str) -> int:
    """What its files take, as they were written here: two levels."""
    total = 0
    for where, _directories, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total
