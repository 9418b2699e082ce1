# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Inventory of the machines that an HTCondor collector knows."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pool
short_description: The machines of an HTCondor pool, in groups by what they can do now
version_added: 0.1.0
description:
  - Asks an HTCondor collector, by one C(condor_status) on the controller, for the machines that run a startd.
  - Each machine is a host. The groups C(has_vm) (offers the VM universe), C(problem) (no VM can start there),
    C(offline) (something took its VM universe offline, or it is switched off), C(draining) (a shutdown is planned, or
    C(condor_drain) drains it), C(findings) (the last C(condor_vac doctor) there found something) and C(image_NAME) (has
    that image for VMs) hold those for which it is true.
  - Each host has the variable C(htcondor), a mapping with the keys of RV(vacuum.htcondor.pool_info#module:machines).
  - A daemon that may advertise a machine chooses its name and its attributes. A name that is not a valid host name,
    C(localhost), or the name of a group is left out with a warning. Texts are never templates. O(host_pattern) keeps
    out hosts that are not the site's.
  - The name of the inventory's file must end with C(htcondor.yml) or C(htcondor.yaml).
requirements:
  - condor_status on the controller, with a configuration by which it may read from the collector (C(CONDOR_CONFIG))
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: Names this plugin.
    type: str
    required: true
    choices: [vacuum.htcondor.pool]
  collector:
    description:
      - Address of the collector, C(HOST) or C(HOST:PORT). That of the controller's configuration by default.
    type: str
    default: ""
    env:
      - name: VACUUM_HTCONDOR_COLLECTOR
  constraint:
    description:
      - A ClassAd expression on the slots' ads, as of C(condor_status -constraint). The collector judges it.
    type: str
    default: ""
  host_pattern:
    description:
      - A regular expression that the whole host name must match. Others are left out, and their number is shown.
    type: str
    default: ".*"
  group_prefix:
    description:
      - Put before the names of this plugin's groups.
    type: str
    default: ""
"""

EXAMPLES = r"""
# site.htcondor.yml: what the pool knows, in groups by what the machines can do now
plugin: vacuum.htcondor.pool
collector: cm.example.org
host_pattern: wn[0-9]+[.]example[.]org

# all hosts of the pool are worker nodes of the collection's playbooks; older versions of HTCondor are a group
---
plugin: vacuum.htcondor.pool
constraint: Arch == "X86_64"
groups:
  worker_node: true
  old: htcondor.version is version('24.0', '<')
keyed_groups:
  - key: htcondor.version
    prefix: condor
compose:
  free_gib: htcondor.free_memory // 1024
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/vacuum.htcondor/pool
cache_timeout: 300
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.display import Display
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import slots as pool_slots
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import ModuleError
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import DNS_LABEL, one_line
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import controller_condor

try:
    from ansible.utils.unsafe_proxy import wrap_var
except ImportError:  # Later versions of ansible-core template nothing that no playbook or variables' file has.

    def wrap_var(v: Any) -> Any:
        """The value as it is."""
        return v


ENDINGS = ("htcondor.yml", "htcondor.yaml")
VARIABLE = "htcondor"
GROUPS = ("has_vm", "problem", "offline", "draining", "findings")
# A host name in lower case (RFC 1123). A group's name is refused as well: Ansible cannot distinguish the two.
HOST = re.compile(rf"(?=.{{1,253}}\Z){DNS_LABEL}([.]{DNS_LABEL})*")
NOT_HOSTS = frozenset({"all", "localhost", "ungrouped"})
IMAGE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@=-]{0,99}")
# Of one machine, and names that one warning shows.
MOST_IMAGES = 100
MOST_SHOWN = 10
display = Display()


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):  # type: ignore[misc]
    """Hosts and groups from what pool_info makes of a collector's slots."""

    NAME = "vacuum.htcondor.pool"

    def verify_file(self, path: str) -> bool:
        """Whether the file is one for this plugin."""
        return bool(super().verify_file(path)) and path.endswith(ENDINGS)

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Fill the inventory. Raises AnsibleParserError, in one line, where the collector cannot be asked."""
        super().parse(inventory, loader, path, cache=cache)
        self._read_config_data(path)
        try:
            pattern = re.compile(self.get_option("host_pattern"))
        except re.error as error:
            raise AnsibleParserError(f"host_pattern: is not a valid regular expression ({error}); correct it") from None
        for group in GROUPS:
            self.inventory.add_group(self._group(group))
        refused: dict[str, str] = {}
        seen: set[str] = set()
        strangers = 0
        for machine in self._machines(self.get_cache_key(path), cache):
            name = str(machine["name"]).lower()
            fault = "is there twice" if name in seen else self._fault(name)
            seen.add(name)
            if fault:
                refused[str(machine["name"])] = fault
            elif pattern.fullmatch(name):
                refused.update(self._add({**machine, "name": name}))
            else:
                strangers += 1
        _warn(refused)
        if strangers:
            display.v(f"{self.NAME}: host_pattern leaves out {strangers} of the collector's machines")

    def _machines(self, key: str, cache: bool) -> list[dict[str, Any]]:
        """What pool_info returns of the machines, from the cache where that is wanted and there."""
        wanted = self.get_option("cache")
        if wanted and cache and key in self._cache:
            return list(self._cache[key])
        try:
            slots = pool_slots.known(
                controller_condor.tool, self.get_option("collector"), self.get_option("constraint")
            )
        except ModuleError as error:
            # Without its cause, which Ansible would print as well.
            raise AnsibleParserError(error.result()["msg"]) from None
        machines = pool_slots.machines(slots)
        if wanted:
            self._cache[key] = machines
        return machines

    def _fault(self, name: str) -> str:
        """Why a machine is no host of the inventory; empty if it is."""
        if not HOST.fullmatch(name):
            return "is not a valid host name"
        if name in NOT_HOSTS or name in self.inventory.groups:
            return "is a name that Ansible has for something else"
        return ""

    def _group(self, name: str) -> str:
        return str(self._sanitize_group_name(self.get_option("group_prefix") + name))

    def _add(self, machine: Mapping[str, Any]) -> dict[str, str]:
        """Add one machine, its variable and its groups; what of its images is left out, with the reason."""
        name = machine["name"]
        self.inventory.add_host(name)
        self.inventory.set_variable(name, VARIABLE, wrap_var(_plain(machine)))
        images = [image for image in machine["images"][:MOST_IMAGES] if IMAGE.fullmatch(image)]
        groups = [group for group in GROUPS if machine[group]]
        for group in [*groups, *(f"image_{image}" for image in images)]:
            self.inventory.add_child(self.inventory.add_group(self._group(group)), name)
        self._construct(name)
        left = len(machine["images"]) - len(images)
        return {f"{name}: {left} of its images": "cannot be the name of a group"} if left else {}

    def _construct(self, name: str) -> None:
        """What compose, groups and keyed_groups of the configuration make of a host."""
        variables = self.inventory.hosts[name].get_vars()
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        variables = self.inventory.hosts[name].get_vars()
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)


def _plain(value: Any) -> Any:
    """The value with each text as one printable line."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return one_line(value) if isinstance(value, str) else value


def _warn(refused: Mapping[str, str]) -> None:
    """Name what is left out: a few, and the number of the others."""
    shown: Iterable[str] = [f"{one_line(name, 100)!a} {why}" for name, why in list(refused.items())[:MOST_SHOWN]]
    more = len(refused) - MOST_SHOWN
    if refused:
        rest = f"; and {more} more" if more > 0 else ""
        display.warning(f"{InventoryModule.NAME}: left out: {'; '.join(shown)}{rest}")
