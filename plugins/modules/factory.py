#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: factory
short_description: The factory of a machinetype, a scheduler-universe job on the access point
version_added: 0.1.0
description:
  - Keeps the one job in HTCondor's scheduler universe that makes the virtual machines of a machinetype.
  - The job is submitted anew only if its program, its owner or its own description changed. A factory notices by
    itself that other settings of its machinetype changed.
  - Virtual machines that run are not touched; those that have not started are taken back when a factory is held,
    restarted or removed, and made anew by the next one.
requirements:
  - HTCondor with a schedd, and the programs that M(vacuum.htcondor.job_hooks) installs with its entry points V(cli) and
    V(factory)
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
options:
  machinetype:
    description:
      - The machinetype's file on the access point.
      - With O(state=absent) the file need not exist if O(name) is given.
    type: path
  name:
    description:
      - Name of the machinetype. The default is what O(machinetype) says.
    type: str
  state:
    description:
      - V(present) has the factory in the queue and not on hold. V(held) has it in the queue, on hold.
      - V(restarted) starts it anew even if nothing changed. V(absent) removes it.
    type: str
    choices: [present, absent, held, restarted]
    default: present
  timeout:
    description:
      - Seconds to wait until a factory that is to end has left the queue.
    type: int
    default: 120
seealso:
  - module: vacuum.htcondor.job_hooks
"""

EXAMPLES = r"""
- name: Keep the factory of the machinetype gridpp
  vacuum.htcondor.factory:
    machinetype: /etc/condor_vac/machinetypes/gridpp.json

- name: Make no more VMs for now
  vacuum.htcondor.factory:
    machinetype: /etc/condor_vac/machinetypes/gridpp.json
    state: held

- name: Remove the factory of a machinetype that is gone
  vacuum.htcondor.factory:
    name: old
    state: absent
"""

RETURN = r"""
name:
  description: Name of the machinetype.
  type: str
  returned: success
  sample: gridpp
job:
  description: Cluster and process of the factory's job, V(null) if there is none.
  type: str
  returned: success
  sample: "123.0"
status:
  description: State of the job before the module acted, V(none) if there was no job.
  type: str
  returned: success
  sample: running
actions:
  description: What was done (or would be, in check mode), in order.
  type: list
  elements: str
  returned: success
  sample: ["remove 123.0: its program changed", "submit"]
commands:
  description: The submit description of the job.
  type: dict
  returned: when O(machinetype) is given
"""

import json
import re
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils.command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils.errors import ModuleError, run_module

CLI = "/usr/local/bin/condor_vac"
SCHEDULER_UNIVERSE = 7
STATUS = {1: "idle", 2: "running", 3: "removed", 4: "completed", 5: "held"}
ATTRIBUTES = "ClusterId,ProcId,JobStatus,VacFactoryDigest,Owner"
POLL_SECONDS = 2
NAME = re.compile(r"[a-z0-9-]{1,64}")


class Factory:
    """The factory's job of one machinetype: what is in the queue, what should be, and the way there."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.command = Command(module)
        self.actions: list[str] = []
        self.wanted = self._wanted()
        self.name = self.module.params["name"] or self.wanted.get("name", "")
        if not NAME.fullmatch(self.name):
            raise ModuleError(f"name: {self.name!r} is no machinetype's name", "give 1 to 64 of a-z, 0-9 and -")

    def _wanted(self) -> dict[str, Any]:
        """What `condor_vac factory-job` says of the machinetype: {name, owner, commands}."""
        path = self.module.params["machinetype"]
        if path is None:
            if self.module.params["state"] == "absent" and self.module.params["name"]:
                return {}
            raise ModuleError("machinetype: missing", "name the machinetype's file on the access point")
        self.command.require(CLI, "run the role runtime with runtime_parts: [cli, factory] first")
        wanted: dict[str, Any] = json.loads(self.command.run([CLI, "factory-job", "--json", path]).stdout)
        return wanted

    def jobs(self) -> list[dict[str, Any]]:
        """The factory's jobs in the queue, as ads; more than one if somebody submitted by hand."""
        condor_q = self.command.require("condor_q", "install HTCondor on the node first (package condor)")
        constraint = f'JobUniverse == {SCHEDULER_UNIVERSE} && VacFactory =?= "{self.name}"'
        argv = [condor_q, "-allusers", "-constraint", constraint, "-attributes", ATTRIBUTES, "-json"]
        text = self.command.run(argv, remedy="is the schedd running?").stdout
        return list(json.loads(text)) if text.strip() else []

    def ensure(self) -> dict[str, Any]:
        """Bring the queue to the wanted state; the module's result. Raises ModuleError."""
        jobs = [job for job in self.jobs() if STATUS.get(job["JobStatus"]) != "removed"]
        before = {"status": _status(jobs), "digest": jobs[0].get("VacFactoryDigest") if jobs else None}
        state = self.module.params["state"]
        keep = None if state == "absent" else self._keep(jobs, restart=state == "restarted")
        self._remove([job for job in jobs if job is not keep], state)
        if keep is None and state != "absent":
            self._submit(held=state == "held")
        elif keep is not None:
            self._hold_or_release(keep, held=state == "held")
        return self._result(before)

    def _keep(self, jobs: list[dict[str, Any]], restart: bool) -> dict[str, Any] | None:
        """The job that may stay: the first that is as wanted."""
        digest = str(self.wanted["commands"]["+VacFactoryDigest"]).strip('"')
        good = [job for job in jobs if job.get("VacFactoryDigest") == digest and job["Owner"] == self.wanted["owner"]]
        return None if restart or not good else good[0]

    def _remove(self, jobs: list[dict[str, Any]], state: str) -> None:
        reason = {"absent": "not wanted", "restarted": "asked for"}.get(state, "its program or description changed")
        for job in jobs:
            self.actions.append(f"remove {_id(job)}: {reason}")
            if not self.module.check_mode:
                self._tool("condor_rm", _id(job))
        self._wait_for_end({_id(job) for job in jobs})

    def _wait_for_end(self, ids: set[str]) -> None:
        """A new factory must not begin before the old one has ended."""
        end = time.monotonic() + self.module.params["timeout"]
        while ids and not self.module.check_mode and ids & {_id(job) for job in self.jobs()}:
            if time.monotonic() > end:
                left = ", ".join(sorted(ids & {_id(job) for job in self.jobs()}))
                raise ModuleError(f"the factory {left} has not left the queue", f"see condor_q -long {left}")
            time.sleep(POLL_SECONDS)

    def _submit(self, held: bool) -> None:
        self.actions.append("submit on hold" if held else "submit")
        if self.module.check_mode:
            return
        commands = dict(self.wanted["commands"], **({"hold": "true"} if held else {}))
        text = "\n".join([*(f"{key} = {value}" for key, value in commands.items()), "queue", ""])
        runuser = self.command.require("runuser", "install util-linux")
        submit = self.command.require("condor_submit", "install HTCondor on the node first (package condor)")
        self.command.run([runuser, "-u", self.wanted["owner"], "--", submit, "-terse", "-"], stdin=text, cwd="/")

    def _hold_or_release(self, job: dict[str, Any], held: bool) -> None:
        is_held = STATUS.get(job["JobStatus"]) == "held"
        if is_held == held:
            return
        verb, tool = ("hold", "condor_hold") if held else ("release", "condor_release")
        self.actions.append(f"{verb} {_id(job)}")
        if not self.module.check_mode:
            self._tool(tool, _id(job))

    def _tool(self, name: str, job: str) -> None:
        self.command.run([self.command.require(name, "install HTCondor on the node first (package condor)"), job])

    def _result(self, before: dict[str, Any]) -> dict[str, Any]:
        commands = self.wanted.get("commands")
        state = self.module.params["state"]
        after = dict(before)
        if self.actions:
            after = {"status": {"absent": "none", "held": "held"}.get(state, "running")}
            after["digest"] = str(commands["+VacFactoryDigest"]).strip('"') if commands and state != "absent" else None
        jobs = [job for job in self.jobs() if STATUS.get(job["JobStatus"]) != "removed"]
        result: dict[str, Any] = {
            "changed": bool(self.actions),
            "name": self.name,
            "job": _id(jobs[0]) if jobs else None,
            "status": before["status"],
            "actions": self.actions,
            "diff": {"before": _lines(before), "after": _lines(after)},
        }
        return {**result, "commands": commands} if commands else result


def _id(job: dict[str, Any]) -> str:
    return f"{int(job['ClusterId'])}.{int(job['ProcId'])}"


def _status(jobs: list[dict[str, Any]]) -> str:
    return STATUS.get(jobs[0]["JobStatus"], "unknown") if jobs else "none"


def _lines(state: dict[str, Any]) -> str:
    return f"factory: {state['status']}\ndigest: {state['digest']}\n"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "machinetype": {"type": "path"},
            "name": {"type": "str"},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent", "held", "restarted"]},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    run_module(module, lambda: Factory(module).ensure())


if __name__ == "__main__":
    main()
