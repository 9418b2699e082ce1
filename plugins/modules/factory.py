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
  - Virtual machines that run are not touched; those that have not started are removed when a factory is held,
    restarted or removed, and made anew by the next one.
  - In check mode on a node that has no programs or no such machinetype yet, the job is predicted, not read.
requirements:
  - HTCondor with a schedd, and the programs that M(vacuum.htcondor.programs) installs with its entry points V(cli) and
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
      - Name of the machinetype. The default is the name in O(machinetype).
    type: str
  names:
    description:
      - The machinetypes that may have a factory, with O(exclusive=true).
      - Excludes O(machinetype) and O(name).
    type: list
    elements: str
  silent_pipes:
    description:
      - Prefixes of vacuum pipes that offer nothing now. With O(exclusive=true), machinetypes whose names begin with one
        (PREFIX, or PREFIX-suffix) may have a factory as well.
    type: list
    elements: str
    default: []
  exclusive:
    description:
      - Remove the factories of all machinetypes but O(names), and their virtual machines that do not run. This drains
        what is no longer in an inventory. The factories of O(names) are not changed.
    type: bool
    default: false
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
  - module: vacuum.htcondor.programs
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
    names: "{{ vacuum_machinetypes.keys() | list }}"
    exclusive: true
"""

RETURN = r"""
name:
  description: Name of the machinetype, V(null) with O(exclusive=true).
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
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import ModuleError, run_module
from ansible_collections.vacuum.htcondor.plugins.module_utils._machinetype.pipes import prefix_of
from ansible_collections.vacuum.htcondor.plugins.module_utils._machinetype.queue import (
    SHOWN,
    Ad,
    Queue,
    users_of_machinetypes,
)
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import (
    CLI,
    MACHINETYPE_NAME,
    MACHINETYPE_NAME_REMEDY,
    STATUS_WORDS,
    JobStatus,
)


class Factory:
    """The factory's job of one machinetype: what is in the queue, what should be, and the way there."""

    def __init__(self, module: AnsibleModule, queue: Queue, name: str, wanted: Ad, poll_seconds: float) -> None:
        self.module = module
        self.poll_seconds = poll_seconds
        self.queue = queue
        self.name = name
        self.wanted = wanted
        self.actions: list[str] = []

    def ensure(self, state: str) -> Ad:
        """Bring the queue to *state*; the module's result. Raises ModuleError."""
        jobs = self._jobs()
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
        return self._result(before, state)

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
                time.sleep(self.poll_seconds)

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
        is_held = job.get("JobStatus") == JobStatus.HELD
        if is_held == held:
            return
        verb, tool = ("hold", "condor_hold") if held else ("release", "condor_release")
        self.actions.append(f"{verb} {_id(job)}")
        if not self.module.check_mode:
            self.queue.act(tool, _id(job))

    def _result(self, before: _Seen | None, state: str) -> Ad:
        commands = self.wanted.get("commands")
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
    """A factory's job as it is in the queue."""

    def __init__(self, ad: Ad) -> None:
        status = ad.get("JobStatus")
        self.status = STATUS_WORDS.get(status, "unknown") if isinstance(status, int) else "unknown"
        self._ad = ad

    def lines(self) -> list[str]:
        """Its state and description for the diff."""
        shown = [f"{command} = {self._ad[name]}" for command, name in SHOWN.items() if name in self._ad]
        return [f"factory: {self.status}", *shown]


class FactoryModule:
    """What one call asks for. The queue is asked every *poll_seconds* whether a factory has ended."""

    def __init__(
        self,
        module: AnsibleModule,
        poll_seconds: float = 2,
        exists: Callable[[str], bool] = os.path.exists,
        users: Callable[[], Mapping[str, Collection[str]]] = users_of_machinetypes,
    ) -> None:
        self.module = module
        self.exists = exists
        self.poll_seconds = poll_seconds
        self.command = Command(module)
        self.queue = Queue(module, users())

    def run(self) -> Ad:
        """Bring about the state; the result for exit_json. Raises ModuleError."""
        path, name, state = (self.module.params[key] for key in ("machinetype", "name", "state"))
        if self.module.params["exclusive"]:
            if state != "present":
                raise ModuleError(f"exclusive: not with state: {state}", "leave state out: the others are removed")
            if self.module.params["names"] is None:
                raise ModuleError("names: missing", "name the machinetypes to keep, or [] for none of them")
            return self._remove_others()
        if self.module.params["names"] is not None:
            raise ModuleError("names: only with exclusive: true", "give machinetype or name for one machinetype")
        wanted = self._wanted(path, name, state)
        name = name or wanted.get("name", "")
        if not re.fullmatch(MACHINETYPE_NAME, name):
            raise ModuleError(f"name: {name!r} is not a valid machinetype name", MACHINETYPE_NAME_REMEDY)
        if "owner" in wanted:
            self.queue.add_user(name, wanted["owner"])
        if "predicted" in wanted:
            return _predicted(name, wanted["predicted"])
        return Factory(self.module, self.queue, name, wanted, self.poll_seconds).ensure(state)

    def _remove_others(self) -> Ad:
        """Remove the factories and waiting VMs of all machinetypes but those named."""
        keep = set(self.module.params["names"])
        names = {job["VacFactory"] for job in self.queue.factories()} | set(self.queue.waiting())
        silent = self.module.params["silent_pipes"]
        gone = sorted(name for name in names - keep if prefix_of(name, silent) is None)
        results = [Factory(self.module, self.queue, name, {}, self.poll_seconds).ensure("absent") for name in gone]
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

    def _wanted(self, path: str | None, name: str | None, state: str) -> Ad:
        """What `condor_vac factory-job` prints of the machinetype: {name, owner, commands}."""
        if path is None or (state == "absent" and name and not self.exists(path)):
            if state == "absent" and name:
                return {}
            raise ModuleError("machinetype: missing", "name the machinetype's file on the access point")
        if self.module.check_mode:
            absent = [each for each in (CLI, path) if not self.exists(each)]
            if absent:
                known = {"name": os.path.basename(path).removesuffix(".json")}
                return known if state == "absent" else {**known, "predicted": absent[0]}
        self.command.require(CLI, "run the role runtime with runtime_parts: [cli, factory] first")
        wanted: Ad = json.loads(self.command.run([CLI, "factory-job", "--json", path]).stdout)
        return wanted


def _predicted(name: str, absent: str) -> Ad:
    """In check mode before anything is installed: there can be no factory yet."""
    return {
        "changed": True,
        "name": name,
        "job": None,
        "status": "none",
        "actions": [f"submit (not checked: {absent} does not exist yet)"],
        "diff": {"before": "factory: none\n", "after": "factory: running\n"},
    }


def _described(commands: dict[str, str]) -> list[str]:
    shown = {command: str(commands[command]).strip('"') for command in SHOWN if command in commands}
    return [f"{command} = {value}" for command, value in shown.items()]


def _id(job: Ad) -> str:
    return f"{int(job['ClusterId'])}.{int(job['ProcId'])}"


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


ARGUMENTS: dict[str, Any] = {
    "machinetype": {"type": "path"},
    "name": {"type": "str"},
    "names": {"type": "list", "elements": "str"},
    "silent_pipes": {"type": "list", "elements": "str", "default": []},
    "exclusive": {"type": "bool", "default": False},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent", "held", "restarted"]},
    "timeout": {"type": "int", "default": 120},
}


def main(build: Callable[[AnsibleModule], FactoryModule] = FactoryModule) -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        mutually_exclusive=[("names", "machinetype"), ("names", "name")],
        supports_check_mode=True,
    )
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
