#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: pool_info
short_description: The machines of an HTCondor pool that offer the VM universe, and the virtual machines that run
version_added: 0.1.0
description:
  - Tells what C(condor_status -vm) shows, and why a machine that is missing there is missing, as structured data.
  - One query to the collector answers for the whole pool.
  - Can wait until machines are there that should be, for a startd that has just been started.
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes.info
options:
  scope:
    description:
      - V(node) is the machine that the task runs on, V(pool) all that the collector knows.
    type: str
    choices: [node, pool]
    default: pool
  machines:
    description:
      - Full host names of machines that should offer the VM universe. With O(scope=node) the node itself.
      - Those that do not are in RV(unable), and RV(msg) has the reason.
    type: list
    elements: str
    default: []
  collector:
    description:
      - Address of the collector. That of the node's configuration by default.
    type: str
  wait:
    description:
      - How long to wait for O(machines) that do not offer the VM universe yet, in seconds.
    type: int
    default: 0
seealso:
  - plugin: vacuum.htcondor.pool
    plugin_type: inventory
  - module: vacuum.htcondor.virtualization_info
  - module: vacuum.htcondor.condor_daemons
"""

EXAMPLES = r"""
- name: Look at the pool
  vacuum.htcondor.pool_info:
  register: pool
  run_once: true

- name: Show the machines that cannot run VMs
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.problem }}"
  loop: "{{ pool.machines | rejectattr('has_vm') }}"

- name: Wait until the pool sees this node's VM universe
  vacuum.htcondor.pool_info:
    scope: node
    wait: 60
  register: node
  failed_when: node.failed | default(false) or node.unable | length > 0
"""

RETURN = r"""
machines:
  description: The machines in O(scope), sorted by name.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Full host name, HTCondor's C(Machine).
      type: str
    has_vm:
      description: Whether the machine offers the VM universe, HTCondor's C(HasVM).
      type: bool
    vm_type:
      description: Type of its virtual machines.
      type: str
      sample: kvm
    problem:
      description: Why no virtual machine starts there; empty if one can.
      type: str
    offline_reason:
      description: What took the VM universe of the machine offline, HTCondor's C(VMOfflineReason).
      type: str
    offline_since:
      description: Since when, in seconds since 1970; 0 if it is not.
      type: int
    offline:
      description: Whether something took the VM universe offline, or the whole machine is switched off (C(Offline)).
      type: bool
    shutdown_time:
      description: When the machine's planned shutdown is, in seconds since 1970; 0 without one.
      type: int
    draining:
      description: Whether a shutdown is planned, or C(condor_drain) drains it.
      type: bool
    findings:
      description: >-
        How many checks of the last C(condor_vac doctor) there had findings, where C(vac_watch) has published it; 0 if
        none had, and where it has not run for two days.
      type: int
    images:
      description: Names of the images that are on the machine for VMs, where C(vac_watch) has published them.
      type: list
      elements: str
      sample: [cernvm3.iso]
    networking:
      description: Kinds of network that a virtual machine can have there.
      type: list
      elements: str
      sample: [nat]
    vm_memory:
      description: Memory for all virtual machines by the VM universe's own ledger, in MiB.
      type: int
    vm_available:
      description: How many more virtual machines that ledger admits.
      type: int
    version:
      description: Version of HTCondor.
      type: str
      sample: 23.9.6
    cpus:
      description: Processors that HTCondor has there.
      type: int
    memory:
      description: Memory that HTCondor has there, in MiB.
      type: int
    free_cpus:
      description: Processors that no job has.
      type: int
    free_memory:
      description: Memory that no job has, in MiB.
      type: int
    vms:
      description: How many virtual machines run there.
      type: int
    states:
      description: The states of its slots.
      type: list
      elements: str
      sample: [Claimed, Unclaimed]
vms:
  description: The virtual machines that run, sorted by slot.
  type: list
  elements: dict
  returned: success
  contains:
    slot:
      description: Name of the slot.
      type: str
    machine:
      description: Full host name of the machine.
      type: str
    job:
      description: Id of the job.
      type: str
    global_job:
      description: Id of the job, unique in the pool and for all times.
      type: str
    owner:
      description: Who submitted it.
      type: str
    activity:
      description: Activity of the slot.
      type: str
    since:
      description: Since when, in seconds since 1970.
      type: int
    cpus:
      description: Processors of the slot.
      type: int
    memory:
      description: Memory of the slot, in MiB.
      type: int
free:
  description: What no job has on machines that offer the VM universe, C(cpus) and C(memory) in MiB.
  type: dict
  returned: success
  sample: {"cpus": 12, "memory": 31000}
unable:
  description: Those of O(machines) that do not offer the VM universe.
  type: list
  elements: str
  returned: success
msg:
  description: What is wrong with each machine in RV(unable).
  type: str
  returned: if there are any
"""

import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import slots as pool_slots
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import Condor
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import CommandError, ModuleError, run_module


class PoolInfo:
    """What a collector knows, asked again after *period* seconds."""

    def __init__(self, module: AnsibleModule, period: float = 2) -> None:
        self.period = period
        self.params = module.params
        self.condor = Condor(module)

    def run(self) -> dict[str, Any]:
        """Look, and look again until everything is there that should be; the result for exit_json."""
        wanted = list(self.params["machines"])
        node = ""
        if self.params["scope"] == "node":
            node = self.condor.tool("condor_config_val", "FULL_HOSTNAME").stdout.strip()
            wanted = wanted or [node]
        deadline = time.monotonic() + self.params["wait"]
        while True:
            last = time.monotonic() >= deadline
            try:
                result = self._look(node, wanted)
            except CommandError:
                if last:
                    raise
            else:
                if last or not result["unable"]:
                    return result
            time.sleep(self.period)

    def _look(self, node: str, wanted: list[str]) -> dict[str, Any]:
        slots = self._slots(node)
        machines = pool_slots.machines(slots)
        able = [machine for machine in machines if not machine["problem"]]
        problems = {machine["name"].lower(): machine["problem"] for machine in machines}
        faults = {name: problems.get(name.lower(), f"{self._collector} knows no slot of it") for name in wanted}
        unable = {name: fault for name, fault in faults.items() if fault}
        result = {
            "changed": False,
            "machines": machines,
            "vms": pool_slots.vms(slots),
            "free": {key: sum(machine[f"free_{key}"] for machine in able) for key in ("cpus", "memory")},
            "unable": sorted(unable),
        }
        if unable:
            result["msg"] = "; ".join(f"{name}: {fault}" for name, fault in sorted(unable.items()))
        return result

    def _slots(self, node: str) -> list[dict[str, Any]]:
        which = f'Machine == "{_quoted(node)}"' if node else ""
        return pool_slots.known(self.condor.tool, self.params["collector"], which)

    @property
    def _collector(self) -> str:
        return f"the collector {self.params['collector']}" if self.params["collector"] else "the collector"


def _quoted(name: str) -> str:
    if '"' in name or "\\" in name:
        raise ModuleError(f"FULL_HOSTNAME is {name!r} in HTCondor's configuration", "set it to a host name")
    return name


ARGUMENTS: dict[str, Any] = {
    "scope": {"type": "str", "choices": ["node", "pool"], "default": "pool"},
    "machines": {"type": "list", "elements": "str", "default": []},
    "collector": {"type": "str"},
    "wait": {"type": "int", "default": 0},
}


def main(build: Callable[[AnsibleModule], PoolInfo] = PoolInfo) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
