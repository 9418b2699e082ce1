# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables of an inventory's hosts as the tasks of a play see them, without facts that are gathered later."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleError, AnsibleUndefinedVariable
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import one_line
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import controller_files, faults, site_variables

_UNDEFINED = re.compile(r"'(\w+)' is undefined")
_VAULT = ("decrypt", "vault secret", "vault password")
_LOCKED = f"cannot be decrypted: {controller_files.UNLOCK}"
_MESSAGE = 240


class HostVariables:
    """Every host's variables: the inventory's, with those of the play and the command line over them.

    *task_vars* are those of the task that checks, on any host; *templar* is the task's.
    """

    def __init__(self, task_vars: Mapping[str, Any], templar: Any) -> None:
        self._templar = templar.copy_with_new_env(available_variables={})
        self._hostvars = task_vars["hostvars"]
        self._hosts: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, list[str]] = dict(task_vars["groups"])
        own = self._hostvars.raw_get(task_vars["inventory_hostname"])
        more = {name: value for name, value in task_vars.items() if name not in own or _differ(own[name], value)}
        more.pop("vars", None)
        # What begins so is Ansible's own, and another host's may differ.
        self._below = {name: value for name, value in more.items() if name.startswith("ansible_")}
        self._above = {name: value for name, value in more.items() if name not in self._below}

    def of(self, host: str) -> dict[str, Any]:
        """Name → value, as it is before templates are filled in."""
        if host not in self._hosts:
            self._hosts[host] = {**self._below, **self._hostvars.raw_get(host), **self._above}
        return self._hosts[host]

    def value(self, host: str, name: str, found: Callable[[str], None]) -> Any:
        """The variable's value on the host; UNKNOWN, or UNKNOWN inside it, where that cannot be known yet.

        *found* is called with one line for each part that has a fault.
        """
        variables = self.of(host)
        self._templar.available_variables = variables
        return self._resolved(variables[name], name, variables, found)

    def silent(self, host: str, name: str) -> Any:
        """The same, None if the host has no such variable; its faults are reported where all values are."""
        return self.value(host, name, lambda _line: None) if name in self.of(host) else None

    def _resolved(self, raw: Any, path: str, variables: Mapping[str, Any], found: Callable[[str], None]) -> Any:
        try:
            return _plain(self._templar.template(raw))
        except AnsibleError as error:
            if isinstance(raw, Mapping):
                return {key: self._resolved(item, f"{path}.{key}", variables, found) for key, item in raw.items()}
            reason = _reason(error, raw, variables)
            if reason is not None:
                found(faults.line(path, reason))
            return faults.UNKNOWN


def _differ(one: object, other: object) -> bool:
    return one is not other and one != other


def _plain(value: Any) -> Any:
    """Mappings, lists and scalars; text that is encrypted in the inventory is decrypted. Raises AnsibleError."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def _reason(error: AnsibleError, raw: object, variables: Mapping[str, Any]) -> str | None:
    """What is wrong with a value that has no result; None if it may have one when facts are known, and roles run."""
    message = one_line(str(error))
    if any(word in message.lower() for word in _VAULT):
        return _LOCKED
    if isinstance(error, AnsibleUndefinedVariable):
        undefined = _UNDEFINED.search(message)
        name = undefined.group(1) if undefined else "ansible_facts"
        if name.startswith("ansible_") or name in site_variables.options() or name in site_variables.internal():
            return None
        near = faults.nearest(name, (str(word) for word in variables))
        return f"'{name}' is undefined: define it{f', or correct it to {near}' if near else ''}"
    if isinstance(raw, str) and "ansible_" in raw:
        return None
    # Before ansible-core 2.19 a message has all that was tried, and the cause at its end.
    return f"{one_line(message, _MESSAGE, end=True)}: correct the value"
