# SPDX-License-Identifier: GPL-3.0-or-later
"""A machinetype, job ads as a schedd of 23.9.6 gives them, and a pool that only remembers its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from condor_vac.condor.pool import Matching, PoolError
from condor_vac.model.machinetype import Machinetype

NOW = 1_764_000_000.0
OWN_JOB = "40.0"
IDLE, RUNNING, REMOVED, COMPLETED, HELD = 1, 2, 3, 4, 5


def machinetype(**keys: Any) -> Machinetype:
    """The machinetype gridpp of the owner vac."""
    data = {
        "name": "gridpp", "owner": "vac", "kind": "cernvm", "image": "/images/ucernvm.iso",
        "user_data": "/etc/condor_vac/gridpp/user_data", **keys,
    }  # fmt: skip
    return Machinetype.from_mapping(data, "test")


def ad(job: str = "50.0", state: int = IDLE, **attributes: Any) -> dict[str, Any]:
    """A VM job's ad as ``Pool.jobs`` gives it; a value None leaves the attribute out."""
    cluster, proc = job.split(".")
    base: dict[str, Any] = {
        "ClusterId": int(cluster), "ProcId": int(proc), "JobUniverse": 13, "JobStatus": state,
        "QDate": int(NOW) - 5000, "EnteredCurrentStatus": int(NOW) - 4000, "NumShadowStarts": 0,
        "VacBatch": "1764000000-0a0b0c0d", "VacMachinetype": "gridpp",
    }  # fmt: skip
    if state in {RUNNING, COMPLETED}:
        base.update(JobCurrentStartDate=int(NOW) - 4000, NumShadowStarts=1, RemoteHost="slot1_1@wn1.example.org")
    if state == COMPLETED:
        base["EnteredCurrentStatus"] = int(NOW) - 100
    base.update(attributes)
    return {key: value for key, value in base.items() if value is not None}


def factory_ad(job: str = OWN_JOB, state: int = RUNNING, **attributes: Any) -> dict[str, Any]:
    """The ad of a factory's own job."""
    cluster, proc = job.split(".")
    return {
        "ClusterId": int(cluster), "ProcId": int(proc), "JobUniverse": 7, "JobStatus": state, "VacFactory": "gridpp",
        "QDate": int(NOW) - 9000, "EnteredCurrentStatus": int(NOW) - 9000, "Owner": "vac", **attributes,
    }  # fmt: skip


class StandInPool:
    """As condor_vac.condor.pool.Pool is used; ``done`` holds every call that would have changed something."""

    bindings = "htcondor2"

    def __init__(self, ads: Sequence[Mapping[str, Any]] = ()) -> None:
        self.ads = [dict(each) for each in ads]
        self.past: list[dict[str, Any]] = []
        self.machines: list[dict[str, Any]] = []
        self.done: list[tuple[Any, ...]] = []
        self.failing: set[str] = set()
        self.matches: tuple[int, int, Sequence[str]] = (0, 0, [])
        self.settings: dict[str, str] = {}
        self.on_submit: Any = None
        self.next = 60

    def jobs(self, constraint: str, projection: Sequence[str], limit: int = -1) -> list[dict[str, Any]]:
        """Every ad, whatever the constraint, except that factories and VMs are separated as the callers ask."""
        self._fail("jobs")
        ads = self.ads
        if "JobUniverse == 13" not in constraint:
            ads = [each for each in ads if each["JobUniverse"] == 7]
        elif "JobUniverse == 7" not in constraint:
            ads = [each for each in ads if each["JobUniverse"] == 13]
        return [{key: each[key] for key in projection if key in each} for each in ads]

    def history(self, constraint: str, _projection: Sequence[str], _limit: int) -> list[dict[str, Any]]:
        """The past ads; of a batch or cluster if the constraint names one."""
        self._fail("history")
        if "VacBatch" in constraint or "ClusterId" in constraint:
            return [
                each for each in self.past if f'"{each.get("VacBatch")}"' in constraint
                or f"ClusterId == {each['ClusterId']}" == constraint
            ]  # fmt: skip
        return self.past

    def slots(self, _constraint: str, _projection: Sequence[str]) -> list[dict[str, Any]]:
        """What a collector would answer."""
        self._fail("slots")
        return self.machines

    def setting(self, name: str, default: str) -> str:
        """A variable of HTCondor's configuration."""
        self._fail("setting")
        return self.settings.get(name, default)

    def matching(self, _job: str, _constraint: str) -> Matching:
        """What the slots answer for the job."""
        self._fail("matching")
        return Matching(*self.matches)

    def submit(self, commands: Mapping[str, str], count: int) -> int:
        """A new cluster, whose jobs wait."""
        self._fail("submit")
        self.done.append(("submit", count, dict(commands)))
        self.next += 1
        batch = commands["+VacBatch"].strip('"')
        digest = commands["+VacDigest"].strip('"')
        for proc in range(count):
            self.ads.append(ad(f"{self.next}.{proc}", IDLE, VacBatch=batch, VacDigest=digest, QDate=int(NOW)))
        if self.on_submit:
            self.on_submit()
        return self.next

    def remove(self, ids: Sequence[str], reason: str, only_if: str = "True") -> int:
        """Take the jobs out of the queue."""
        self._fail("remove")
        self.done.append(("remove", tuple(ids), reason, only_if))
        self.ads = [each for each in self.ads if f"{each['ClusterId']}.{each['ProcId']}" not in ids]
        return len(ids)

    def remove_for_good(self, ids: Sequence[str], reason: str) -> int:
        """Remember it."""
        self.done.append(("forget", tuple(ids), reason))
        return len(ids)

    def edit(self, ids: Sequence[str], attribute: str, expression: str, only_if: str = "True") -> None:
        """Remember it."""
        self._fail("edit")
        if ids:
            self.done.append(("edit", tuple(ids), attribute, expression, only_if))

    def submitted(self) -> int:
        """How many VMs were submitted."""
        return sum(each[1] for each in self.done if each[0] == "submit")

    def _fail(self, what: str) -> None:
        if what in self.failing:
            raise PoolError(f"{what} failed: no answer")
