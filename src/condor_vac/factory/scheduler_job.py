# SPDX-License-Identifier: GPL-3.0-or-later
"""The scheduler-universe job that keeps a factory running: its submit description, and its jobs in the queue.

HTCondor starts it as its owner with an empty environment, starts it again whenever it ends other than by exit
code 42, and truncates its output at every start. Used by the Ansible module ``factory`` and by hand.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from condor_vac.base.errors import VacError
from condor_vac.base.shared import CURRENT_TREE, FACTORY_PROGRAM, STATUS_WORDS, TREES, Universe
from condor_vac.condor.pool import DEFAULT_CONFIG, Pool, owned
from condor_vac.factory import process
from condor_vac.factory.submit_description import classad_string
from condor_vac.model import machinetype as machinetypes

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROGRAM = f"{TREES}/{CURRENT_TREE}"
PROJECTION = ("ClusterId", "ProcId", "JobStatus", "VacFactory", "VacFactoryDigest", "HoldReason", "Owner")


@dataclass(frozen=True)
class FactoryJob:
    """A factory's job in the queue: ``status`` is one of STATUS_WORDS, or "unknown"."""

    id: str
    name: str
    owner: str
    status: str
    digest: str | None
    hold_reason: str | None


def describe(
    machinetype_path: str,
    executable: str = FACTORY_PROGRAM,
    state: str | None = None,
    condor_config: str = DEFAULT_CONFIG,
) -> dict[str, str]:
    """Submit commands of the factory of the machinetype in this file. Raises UsageError.

    ``state`` is its directory if it is not /var/lib/condor_vac/NAME. ``+VacFactoryDigest`` changes when the
    program, the machinetype's name or owner, or this description does; the factory notices by itself when
    other keys of the machinetype or its submit file change.
    """
    m = machinetypes.load(machinetype_path)
    directory = state or m.state_directory
    words = [machinetype_path, *(["--state", state] if state else [])]
    environment = f"PATH={PATH} CONDOR_CONFIG={condor_config} {process.OWN_JOB}=$(ClusterId).$(ProcId)"
    commands = {
        "universe": "scheduler",
        "executable": executable,
        "arguments": _quoted(" ".join(words)),
        "environment": _quoted(environment),
        "initialdir": directory,
        "output": "factory.out",
        "error": "factory.err",
        "log": "factory.job.log",
        "batch_name": f"vac-factory-{m.name}",
        "on_exit_remove": f"ExitBySignal =!= True && ExitCode =?= {process.EXIT_LEAVE_QUEUE}",
        "kill_sig": process.STOP.name,
        "hold_kill_sig": process.HOLD.name,
        "remove_kill_sig": process.REMOVE.name,
        "notification": "never",
        "+VacFactory": classad_string(m.name),
        # The installed tree: its directory has its own digest in its name.
        "+VacFactoryProgram": classad_string(os.path.realpath(PROGRAM)),
    }
    commands["+VacFactoryDigest"] = classad_string(_digest(commands, m.owner))
    return commands


def jobs(pool: Pool, owners: Collection[str], name: str | None = None) -> list[FactoryJob]:
    """The factory jobs of these users in the queue (of one machinetype, or all). Raises PoolError."""
    which = "isString(VacFactory)" if name is None else f'VacFactory =?= "{name}"'
    ads = pool.jobs(f"JobUniverse == {Universe.SCHEDULER} && {owned(owners)} && {which}", PROJECTION)
    return [_job(ad) for ad in ads]


def _job(ad: Mapping[str, Any]) -> FactoryJob:
    try:
        return FactoryJob(
            id=f"{int(ad['ClusterId'])}.{int(ad['ProcId'])}",
            name=str(ad["VacFactory"]),
            owner=str(ad["Owner"]),
            status=_status(ad.get("JobStatus")),
            digest=ad.get("VacFactoryDigest"),
            hold_reason=ad.get("HoldReason"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise VacError(f"a factory's job has no usable {error}; see condor_q -long") from error


def _status(number: object) -> str:
    if not isinstance(number, int) or isinstance(number, bool):
        return "unknown"
    return STATUS_WORDS.get(number, "unknown")


def _digest(commands: Mapping[str, str], owner: str) -> str:
    return hashlib.sha256(json.dumps([sorted(commands.items()), owner]).encode()).hexdigest()[:16]


def _quoted(words: str) -> str:
    """Arguments or environment in HTCondor's new syntax; the words are paths, without blank or quote."""
    return f'"{words}"'
