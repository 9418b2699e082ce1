#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: condor_daemons
short_description: Bring HTCondor's daemons into a state, and wait for it, without ending virtual machines
version_added: 0.1.0
description:
  - Reconfigures, restarts, drains or starts the HTCondor daemons of a node through its condor_master, and waits
    until they have done what was asked for.
  - A running virtual machine is never ended, unless O(force=true). The startd is asked to stop peacefully - it
    accepts no new job, waits for its virtual machines however long they take, and then restarts. Meanwhile the
    task returns with RV(pending=true) and the virtual machines that still run, once O(timeout) is over.
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
attributes:
  idempotent:
    support: partial
    details:
      - Not for O(state=reconfig) and O(state=restarted), which act each time.
options:
  state:
    description:
      - V(ready) waits until every daemon that should run is up, and starts those that were switched off. A drain
        that still waits for jobs cannot be called off; the startd is then started when they have ended.
      - V(applied) does what M(vacuum.htcondor.condor_config) found that the daemons still need, and nothing else.
        It is what handlers and roles use.
      - V(reconfig) lets all daemons read their configuration, and fails if one does not survive it.
      - V(restarted) restarts O(daemons).
      - V(drained) takes the node out of the pool, the startd is off once its jobs have ended.
    type: str
    choices: [ready, applied, reconfig, restarted, drained]
    default: ready
  daemons:
    description:
      - What O(state=restarted) restarts. V(master) is the master and everything below it.
    type: list
    elements: str
    choices: [master, startd, schedd, collector, negotiator]
    default: [startd]
  force:
    description:
      - Do not wait for jobs. They are killed, and go back to the queue.
    type: bool
    default: false
  timeout:
    description:
      - How long to wait, in seconds.
    type: int
    default: 120
seealso:
  - module: vacuum.htcondor.condor_config
"""

EXAMPLES = r"""
- name: Take up what condor_config changed
  vacuum.htcondor.condor_daemons:
    state: applied

- name: Wait for the daemons after the service was started
  vacuum.htcondor.condor_daemons:
    state: ready

- name: Drain the node for maintenance, for at most a day
  vacuum.htcondor.condor_daemons:
    state: drained
    timeout: 86400
  register: drain
  failed_when: drain.pending
"""

RETURN = r"""
ready:
  description: Whether all daemons that should run are up.
  type: bool
  returned: success
daemons:
  description:
    - State of each daemon as the master sees it, C(Alive), C(Hold) (switched off), C(Shutdown,Peaceful) (off or started
      anew once its jobs have ended), C(Dead), and others.
  type: dict
  returned: success
  sample: {"MASTER": "Alive", "STARTD": "Alive"}
jobs:
  description: The jobs that run on the node, virtual machines and others.
  type: list
  elements: dict
  returned: success
  contains:
    vm:
      description: Whether it is a virtual machine.
      type: bool
    slot:
      description: Name of the slot.
      type: str
    job:
      description: Id of the job.
      type: str
    owner:
      description: Who submitted it.
      type: str
    activity:
      description: Activity of the slot, C(Retiring) while the node drains.
      type: str
  sample: [{"vm": true, "slot": "slot1_1@node1.lab", "job": "12.0", "owner": "vac@lab", "activity": "Busy"}]
pending:
  description: Whether what was asked for still waits for jobs to end. It then happens by itself.
  type: bool
  returned: success
action:
  description: What O(state=applied) found to be needed, V(none), V(reconfig) or V(restart).
  type: str
  returned: success
reasons:
  description: Why O(state=applied) restarts, one line for each variable.
  type: list
  elements: str
  returned: success
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import pending as condor_pending
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.control import (
    Control,
    Outcome,
    held,
    states,
)
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.pending import Pending
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import (
    Condor,
    is_ready,
    leaves,
    pids,
    require_master,
)
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import run_module


class CondorDaemons:
    """The daemons of one node."""

    def __init__(self, module: AnsibleModule, pending_file: str = condor_pending.PATH) -> None:
        self.module = module
        self.pending_file = pending_file
        self.params = module.params
        self.condor = Condor(module)
        self.control = Control(self.condor, module.params["timeout"], module.params["force"])

    def run(self) -> dict[str, Any]:
        """Bring about the state; the result for exit_json."""
        before = self.condor.master() if self.condor.installed or not self.module.check_mode else {}
        if self.module.check_mode and not before:
            self.module.warn("no condor_master runs on this node yet")
            return self._result(True, Outcome({}), Pending(), {})
        require_master(before)
        pending = condor_pending.load(before, self.pending_file)
        needed = self._needed(before, pending)
        if self.module.check_mode or not needed:
            return self._result(needed, self._settled(before), pending, before)
        outcome = self._act(pending)
        self._remember(pending, outcome)
        return self._result(True, outcome, pending, before)

    def _needed(self, ad: dict[str, Any], pending: Pending) -> bool:
        """Whether the state asks for anything to be done."""
        state = self.params["state"]
        if state == "ready":
            return bool(held(ad)) or (leaves(ad) and not pending.restart)
        if state == "applied":
            under_way = leaves(ad) and pending.scope == ["STARTD"] and not pending.reconfig
            return pending.action != "none" and not under_way
        if state == "drained":
            return "STARTD" in pids(ad)
        return True

    def _settled(self, ad: dict[str, Any]) -> Outcome:
        """Nothing to do but, unless the startd is meant to be off, to wait for daemons that are still starting."""
        if self.module.check_mode or self.params["state"] == "drained" or is_ready(ad):
            return Outcome(ad, self.condor.running_jobs(ad), pending=leaves(ad))
        return self.control.ready()

    def _act(self, pending: Pending) -> Outcome:
        state = self.params["state"]
        if state == "drained":
            return self.control.drain()
        if state == "ready":
            return self.control.resume()
        if state == "restarted":
            return self.control.restart([name.upper() for name in self.params["daemons"]])
        if state == "applied" and pending.restart:
            return self._restart(pending.scope)
        return self.control.reconfig()

    def _restart(self, scope: list[str]) -> Outcome:
        """Bring about a restart that a changed configuration needs."""
        if scope == ["MASTER"] and (anew := self.control.start_anew()):
            return anew
        outcome = self.control.reconfig()  # what needs no restart does not wait for one
        return self.control.restart(scope) if is_ready(outcome.ad) else outcome

    def _remember(self, pending: Pending, outcome: Outcome) -> None:
        """Forget what has been taken up; a restart that still waits stays on record."""
        if self.params["state"] in ("applied", "reconfig"):
            restart = pending.restart if outcome.pending or self.params["state"] == "reconfig" else {}
            condor_pending.save(self.module, Pending(restart, reconfig=False), outcome.ad, self.pending_file)
        else:
            condor_pending.save(
                self.module, condor_pending.load(outcome.ad, self.pending_file), outcome.ad, self.pending_file
            )

    def _result(self, changed: bool, outcome: Outcome, pending: Pending, before: dict[str, Any]) -> dict[str, Any]:
        now = states(outcome.ad)
        old = states(before)
        return {
            "changed": changed,
            "ready": is_ready(outcome.ad),
            "daemons": now,
            "jobs": outcome.jobs,
            "pending": outcome.pending,
            "action": pending.action,
            "reasons": pending.reasons,
            "diff": {"before": self._text(old, changed), "after": self._text(self._predicted(now), False)},
        }

    def _predicted(self, daemons: dict[str, str]) -> dict[str, str]:
        """In check mode, the states that applying would lead to."""
        if self.module.check_mode and self.params["state"] == "drained":
            return {name: "Hold" if name == "STARTD" else state for name, state in daemons.items()}
        if self.module.check_mode and self.params["state"] == "ready":
            off = [name for name, state in daemons.items() if state == "Hold" or leaves(daemons, name)]
            return {**daemons, **dict.fromkeys(off, "Alive")}
        return daemons

    def _text(self, daemons: dict[str, str], due: bool) -> str:
        lines = [f"{name}: {state}" for name, state in sorted(daemons.items())]
        return "\n".join(lines + ([f"due: {self.params['state']}"] if due else [])) + "\n"


ARGUMENTS: dict[str, Any] = {
    "state": {
        "type": "str",
        "choices": ["ready", "applied", "reconfig", "restarted", "drained"],
        "default": "ready",
    },
    "daemons": {
        "type": "list",
        "elements": "str",
        "choices": ["master", "startd", "schedd", "collector", "negotiator"],
        "default": ["startd"],
    },
    "force": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 120},
}


def main(build: Callable[[AnsibleModule], CondorDaemons] = CondorDaemons) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
