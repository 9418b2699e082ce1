# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks the whole inventory on the controller, before any node is touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.vacuum.htcondor.plugins.lookup.machinetypes import LookupModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import one_line
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import faults, inventory_rules, machinetype_faults
from ansible_collections.vacuum.htcondor.plugins.plugin_utils.host_variables import HostVariables
from ansible_collections.vacuum.htcondor.plugins.plugin_utils.inventory_rules import Report
from ansible_collections.vacuum.htcondor.plugins.plugin_utils.site_variables import FACTORY, OWN, PIPES


class ActionModule(ActionBase):  # type: ignore[misc]
    """Reads what Ansible knows of the hosts; no connection is made, and no module runs."""

    TRANSFERS_FILES = False
    _VALID_ARGS: frozenset[str] = frozenset()
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Every fault of the inventory, one line each; failed if there is one."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = HostVariables(task_vars or {}, self._templar)
        report = Report()
        self._groups(variables, report)
        inventory_rules.names(variables, report)
        inventory_rules.values(variables, report)
        inventory_rules.proxies(variables, report)
        machinetypes = self._machinetypes(variables, report)
        inventory_rules.sharing(variables, machinetypes, report)
        hosts = inventory_rules.hosts(variables.groups)
        lines = report.lines(variables.groups, hosts)
        warnings = [
            *inventory_rules.without_central_manager(variables, machinetypes.values()),
            *inventory_rules.claimed_leftovers(variables),
        ]
        result.update(changed=False, faults=lines, hosts=len(hosts), machinetypes=list(machinetypes), warnings=warnings)
        if lines:
            count = f"{len(lines)} fault{'' if len(lines) == 1 else 's'}"
            # Shown as a debug task's result is, with each fault on a line of its own.
            result.update(
                failed=True, msg=f"{count} in the inventory; no node was touched", _ansible_verbose_always=True
            )
        return result

    def _groups(self, variables: HostVariables, report: Report) -> None:
        everybody = {host for hosts in variables.groups.values() for host in hosts}
        ignored = {
            word for host in everybody for word in inventory_rules.listed(variables, host, "vacuum_ignore_groups")
        }
        for line in inventory_rules.groups(
            variables.groups, managed=inventory_rules.managed(variables), ignored=ignored
        ):
            report.add(line)

    def _machinetypes(self, variables: HostVariables, report: Report) -> dict[str, Any]:
        """Report the faults of the machinetypes of every access point; name → keys of all."""
        found: dict[str, Any] = {}
        for host in inventory_rules.factories(variables.groups):
            site, wanted, lines = self._wanted(host, variables)
            for line in (*lines, *machinetype_faults.of_all(wanted, site)):
                report.add(line)
            found.update({str(name): keys for name, keys in wanted.items()})
        return found

    def _wanted(
        self, host: str, variables: HostVariables
    ) -> tuple[machinetype_faults.Site, Mapping[Any, Any], list[str]]:
        """What a host's machinetypes depend on, they themselves, and a line for each bad pipe."""
        owner = variables.silent(host, "factory_owner")
        places = self._places(host, variables)
        own, pipes, given = (self._mapping(host, name, variables) for name in (OWN, PIPES, FACTORY))
        site = machinetype_faults.Site(OWN, places, self._loader, owner if isinstance(owner, str) else "vac", own)
        if FACTORY in variables.of(host):
            return site._replace(variable=FACTORY, shared={}), given, []
        merged, lines = self._offered(pipes, own, places)
        return site, merged, lines

    def _offered(
        self, pipes: Mapping[Any, Any], own: Mapping[Any, Any], places: dict[str, Any]
    ) -> tuple[Mapping[Any, Any], list[str]]:
        """Machinetypes of pipes and inventory. Where a pipe has a fault, those that go by its prefix are left out."""
        lookup = LookupModule(loader=self._loader, templar=self._templar)
        usable = {prefix: pipe for prefix, pipe in pipes.items() if faults.known(pipe)}

        def merged() -> Mapping[Any, Any]:
            lost = tuple(f"{prefix}-" for prefix in pipes if prefix not in usable)
            kept = {name: keys for name, keys in own.items() if not f"{name}-".startswith(lost)}
            (found,) = lookup.run([usable], places, machinetypes=kept)
            return found

        try:
            return merged(), []
        except AnsibleError:
            bad = self._bad_pipes(usable, lookup, places)
        usable = {prefix: pipe for prefix, pipe in usable.items() if prefix not in bad}
        try:
            return merged(), list(bad.values())
        except AnsibleError as error:
            return {}, [*bad.values(), one_line(str(error))]

    def _bad_pipes(self, pipes: Mapping[Any, Any], lookup: LookupModule, places: dict[str, Any]) -> dict[Any, str]:
        """Prefix → a line about the pipe, of those that have a fault of their own."""
        found = {}
        for prefix, pipe in pipes.items():
            try:
                lookup.run([{prefix: pipe}], places)
            except AnsibleError as error:
                found[prefix] = one_line(str(error))
        return found

    def _mapping(self, host: str, name: str, variables: HostVariables) -> Mapping[Any, Any]:
        value = variables.silent(host, name)
        return value if isinstance(value, Mapping) else {}

    def _places(self, host: str, variables: HostVariables) -> dict[str, Any]:
        """What reading depends on: inventory, roles and playbook for a relative path, the proxy for a URL."""
        wanted = ("inventory_dir", "playbook_dir", "ansible_search_path")
        proxy = {name: variables.silent(host, name) for name in ("vacuum_http_proxy", "vacuum_no_proxy")}
        return {**{name: variables.of(host).get(name) for name in wanted}, **proxy}
