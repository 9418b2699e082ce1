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
  - The job is submitted anew only if its program, its owner or its own description changed. A running factory notices
    by itself that its machinetype or submit file changed, and goes by the new one from its next cycle.
  - Virtual machines that run are not touched; those that have not started are taken back when a factory is held,
    restarted or removed, and made anew by the next one.
  - In check mode on a node that has no programs or no such machinetype yet, the job is predicted and not looked at.
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
  all_but:
    description:
      - With O(state=absent), names of machinetypes to keep; the factories of all others are removed, and their virtual
        machines that do not run. This drains what is no longer in an inventory.
      - Excludes O(machinetype) and O(name).
    type: list
    elements: str
  state:
    description:
      - V(present) has the factory in the queue and not on hold. V(held) has it in the queue, on hold.
      - V(restarted) starts it anew even if nothing changed.
      - V(absent) removes it, and the machinetype's virtual machines that are idle or held. Those that run stay until
        they end by themselves.
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

- name: Remove the factory of a machinetype, and its VMs that do not run
  vacuum.htcondor.factory:
    name: old
    state: absent

- name: Drain every machinetype that the inventory does not have
  vacuum.htcondor.factory:
    all_but: "{{ vacuum_machinetypes.keys() | list }}"
    state: absent
"""

RETURN = r"""
name:
  description: Name of the machinetype, V(null) with O(all_but).
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
  sample: ["remove 123.0: its program or description changed", "submit"]
commands:
  description: The submit description of the job.
  type: dict
  returned: when O(machinetype) is given
"""

import json
import os
import re
import time
from collections import Counter
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import CommandError, ModuleError, run_module

CLI = "/usr/local/bin/condor_vac"
SCHEDULER_UNIVERSE = 7
VM_UNIVERSE = 13
STATUS = {1: "idle", 2: "running", 3: "removed", 4: "completed", 5: "held"}
# What the diff shows of a job: the submit command, and the attribute that HTCondor makes of it.
SHOWN = {
    "executable": "Cmd",
    "arguments": "Arguments",
    "initialdir": "Iwd",
    "batch_name": "JobBatchName",
    "kill_sig": "KillSig",
    "hold_kill_sig": "HoldKillSig",
    "remove_kill_sig": "RemoveKillSig",
    "+VacFactoryProgram": "VacFactoryProgram",
}
FACTORY_ATTRIBUTES = ("ClusterId", "ProcId", "JobStatus", "Owner", "VacFactory", "VacFactoryDigest", *SHOWN.values())
WAITING = "(JobStatus == 1 || JobStatus == 5)"
POLL_SECONDS = 2
NAME = re.compile(r"[a-z0-9-]{1,64}")

Ad = dict[str, Any]


class Queue:
    """The schedd's queue, through HTCondor's own tools."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.command = Command(module)

    def factories(self) -> list[Ad]:
        """The factories' jobs that are not already on their way out."""
        return [ad for ad in self.leaving() if STATUS.get(ad["JobStatus"]) != "removed"]

    def leaving(self) -> list[Ad]:
        """The factories' jobs, those included that are removed but still there."""
        constraint = f"JobUniverse == {SCHEDULER_UNIVERSE} && isString(VacFactory)"
        return self._query(constraint, FACTORY_ATTRIBUTES)

    def waiting(self) -> Counter[str]:
        """How many VM jobs of each machinetype do not run."""
        constraint = f"JobUniverse == {VM_UNIVERSE} && isString(VacMachinetype) && {WAITING}"
        return Counter(str(ad["VacMachinetype"]) for ad in self._query(constraint, ("VacMachinetype",)))

    def remove_waiting(self, name: str) -> None:
        """Remove the VM jobs of a machinetype that do not run at that moment."""
        constraint = f'JobUniverse == {VM_UNIVERSE} && VacMachinetype =?= "{name}" && {WAITING}'
        try:
            self.act("condor_rm", "-constraint", constraint)
        except CommandError:
            # condor_rm fails as well when nothing matches, as when the factory has taken them back itself.
            if self.waiting()[name]:
                raise

    def act(self, tool: str, *words: str) -> None:
        """Run condor_rm, condor_hold or condor_release."""
        self.command.run([self._find(tool), *words])

    def submit(self, owner: str, commands: dict[str, str]) -> None:
        """Submit one job as its owner."""
        text = "\n".join([*(f"{key} = {value}" for key, value in commands.items()), "queue", ""])
        runuser = self.command.require("runuser", "install util-linux")
        self.command.run([runuser, "-u", owner, "--", self._find("condor_submit"), "-terse", "-"], stdin=text, cwd="/")

    def _query(self, constraint: str, attributes: tuple[str, ...]) -> list[Ad]:
        if self.module.check_mode and self.command.find("condor_q") is None:
            return []
        words = ["-allusers", "-constraint", constraint, "-attributes", ",".join(attributes), "-json"]
        text = self.command.run([self._find("condor_q"), *words], remedy="is the schedd running?").stdout
        return list(json.loads(text)) if text.strip() else []

    def _find(self, tool: str) -> str:
        return self.command.require(tool, "install HTCondor on the node first (package condor)")


class Factory:
    """The factory's job of one machinetype: what is in the queue, what should be, and the way there."""

    def __init__(self, module: AnsibleModule, queue: Queue, name: str, wanted: Ad) -> None:
        self.module = module
        self.queue = queue
        self.name = name
        self.wanted = wanted
        self.actions: list[str] = []

    def ensure(self) -> Ad:
        """Bring the queue to the wanted state; the module's result. Raises ModuleError."""
        jobs = self._jobs()
        state = self.module.params["state"]
        before = _Seen(jobs[0]) if jobs else None
        keep = None if state == "absent" else self._keep(jobs, restart=state == "restarted")
        waiting = self.queue.waiting()[self.name] if state == "absent" else 0
        self._remove([job for job in jobs if job is not keep], state)
        if waiting:
            self._take_back(waiting)
        if keep is None and state != "absent":
            self._submit(held=state == "held")
        elif keep is not None:
            self._hold_or_release(keep, held=state == "held")
        return self._result(before)

    def _jobs(self) -> list[Ad]:
        return [job for job in self.queue.factories() if job["VacFactory"] == self.name]

    def _keep(self, jobs: list[Ad], restart: bool) -> Ad | None:
        """The job that may stay: the first that is as wanted."""
        digest = str(self.wanted["commands"]["+VacFactoryDigest"]).strip('"')
        good = [job for job in jobs if job.get("VacFactoryDigest") == digest and job["Owner"] == self.wanted["owner"]]
        return None if restart or not good else good[0]

    def _remove(self, jobs: list[Ad], state: str) -> None:
        reason = {"absent": "not wanted", "restarted": "asked for"}.get(state, "its program or description changed")
        for job in jobs:
            self.actions.append(f"remove {_id(job)}: {reason}")
            if not self.module.check_mode:
                self.queue.act("condor_rm", _id(job))
        self._wait_for_end({_id(job) for job in jobs})

    def _wait_for_end(self, ids: set[str]) -> None:
        """A new factory must not begin before the old one has ended."""
        end = time.monotonic() + self.module.params["timeout"]
        while ids and not self.module.check_mode:
            ids &= {_id(job) for job in self.queue.leaving()}
            if ids and time.monotonic() > end:
                left = ", ".join(sorted(ids))
                raise ModuleError(f"the factory {left} has not left the queue", f"see condor_q -long {left}")
            if ids:
                time.sleep(POLL_SECONDS)

    def _take_back(self, number: int) -> None:
        self.actions.append(f"remove {number} VMs of {self.name} that do not run")
        if not self.module.check_mode:
            self.queue.remove_waiting(self.name)

    def _submit(self, held: bool) -> None:
        self.actions.append("submit on hold" if held else "submit")
        if not self.module.check_mode:
            commands = dict(self.wanted["commands"], **({"hold": "true"} if held else {}))
            self.queue.submit(self.wanted["owner"], commands)

    def _hold_or_release(self, job: Ad, held: bool) -> None:
        is_held = STATUS.get(job["JobStatus"]) == "held"
        if is_held == held:
            return
        verb, tool = ("hold", "condor_hold") if held else ("release", "condor_release")
        self.actions.append(f"{verb} {_id(job)}")
        if not self.module.check_mode:
            self.queue.act(tool, _id(job))

    def _result(self, before: _Seen | None) -> Ad:
        commands = self.wanted.get("commands")
        state = self.module.params["state"]
        after = before.lines() if before else ["factory: none"]
        if self.actions:
            after = ["factory: none"]
            if state != "absent":
                after = [f"factory: {'held' if state == 'held' else 'running'}", *_described(commands or {})]
        jobs = self._jobs()
        result: Ad = {
            "changed": bool(self.actions),
            "name": self.name,
            "job": _id(jobs[0]) if jobs else None,
            "status": before.status if before else "none",
            "actions": self.actions,
            "diff": {
                "before": _text(before.lines() if before else ["factory: none"]),
                "after": _text(after),
            },
        }
        return {**result, "commands": commands} if commands else result


class _Seen:
    """A factory's job as it was found."""

    def __init__(self, ad: Ad) -> None:
        self.status = STATUS.get(ad["JobStatus"], "unknown")
        self._ad = ad

    def lines(self) -> list[str]:
        """Its state and description for the diff."""
        shown = [f"{command} = {self._ad[name]}" for command, name in SHOWN.items() if name in self._ad]
        return [f"factory: {self.status}", *shown]


def drain(module: AnsibleModule, queue: Queue) -> Ad:
    """Remove the factories and waiting VMs of all machinetypes but those named. Raises ModuleError."""
    keep = set(module.params["all_but"])
    names = {str(job["VacFactory"]) for job in queue.factories()} | set(queue.waiting())
    # A job's ad is its user's: what cannot be a machinetype's name is not one, and none of ours.
    gone = sorted(name for name in names - keep if NAME.fullmatch(name))
    results = [Factory(module, queue, name, {}).ensure() for name in gone]
    return {
        "changed": any(result["changed"] for result in results),
        "name": None,
        "job": None,
        "status": "none",
        "actions": [action for result in results for action in result["actions"]],
        "diff": {
            "before": "".join(f"{result['name']}: {result['status']}\n" for result in results),
            "after": "",
        },
    }


def ensure(module: AnsibleModule) -> Ad:
    """What the arguments ask for. Raises ModuleError."""
    queue = Queue(module)
    path, name, state = (module.params[key] for key in ("machinetype", "name", "state"))
    if module.params["all_but"] is not None:
        if state != "absent":
            raise ModuleError("all_but: only with state: absent", "give machinetype or name for the other states")
        return drain(module, queue)
    wanted = _wanted(module, path, name, state)
    name = name or wanted.get("name", "")
    if not NAME.fullmatch(name):
        raise ModuleError(f"name: {name!r} is no machinetype's name", "give 1 to 64 of a-z, 0-9 and -")
    if "predicted" in wanted:
        return _predicted(name, wanted["predicted"])
    return Factory(module, queue, name, wanted).ensure()


def _wanted(module: AnsibleModule, path: str | None, name: str | None, state: str) -> Ad:
    """What `condor_vac factory-job` says of the machinetype: {name, owner, commands}."""
    if path is None or (state == "absent" and name and not _exists(path)):
        if state == "absent" and name:
            return {}
        raise ModuleError("machinetype: missing", "name the machinetype's file on the access point")
    command = Command(module)
    if module.check_mode:
        absent = [each for each in (CLI, path) if not _exists(each)]
        if absent:
            known = {"name": os.path.basename(path).removesuffix(".json")}
            return known if state == "absent" else {**known, "predicted": absent[0]}
    command.require(CLI, "run the role runtime with runtime_parts: [cli, factory] first")
    wanted: Ad = json.loads(command.run([CLI, "factory-job", "--json", path]).stdout)
    return wanted


def _exists(path: str) -> bool:
    return os.path.exists(path)


def _predicted(name: str, absent: str) -> Ad:
    """In check mode before anything is installed: there can be no factory yet."""
    return {
        "changed": True,
        "name": name,
        "job": None,
        "status": "none",
        "actions": [f"submit (not looked at: {absent} does not exist yet)"],
        "diff": {"before": "factory: none\n", "after": "factory: running\n"},
    }


def _described(commands: dict[str, str]) -> list[str]:
    shown = {command: str(commands[command]).strip('"') for command in SHOWN if command in commands}
    return [f"{command} = {value}" for command, value in shown.items()]


def _id(job: Ad) -> str:
    return f"{int(job['ClusterId'])}.{int(job['ProcId'])}"


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "machinetype": {"type": "path"},
            "name": {"type": "str"},
            "all_but": {"type": "list", "elements": "str"},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent", "held", "restarted"]},
            "timeout": {"type": "int", "default": 120},
        },
        mutually_exclusive=[("all_but", "machinetype"), ("all_but", "name")],
        supports_check_mode=True,
    )
    run_module(module, lambda: ensure(module))


if __name__ == "__main__":
    main()
