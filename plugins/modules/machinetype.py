#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: machinetype
short_description: The machinetypes of an access point, with user data and keys
version_added: 0.1.0
description:
  - Deploys all machinetypes of a site at once, all or nothing. Each one's file, user data, keys and submit description
    are checked on the access point by the programs that will read them, HTCondor's own parser among them, before
    anything is replaced.
  - A machinetype that asks for more memory or processors than any node of the pool has is refused, if the collector
    can be asked.
  - Files on the controller are looked for as by M(ansible.builtin.copy), and may be encrypted by ansible-vault. Values
    of user data options, files of O(machinetypes)'s C(user_data_files) and encrypted files are shown in no diff
    and no log.
  - A factory that runs takes up a changed machinetype by itself, at its next cycle.
requirements:
  - the programs that M(vacuum.htcondor.programs) installs with its entry point V(cli)
  - condor_submit
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
options:
  machinetypes:
    description:
      - Name to settings of every machinetype of this access point, as in the variable C(vacuum_machinetypes)
        (docs/machinetypes.md).
    type: dict
  defaults:
    description:
      - Settings that hold where a machinetype does not set its own, for example C(owner) and C(space).
    type: dict
  image_dir:
    description:
      - The worker nodes' image directory.
    type: path
    default: /var/lib/condor_vac/images
  http_proxy:
    description:
      - The HTTP proxy, C(http://[USER:PASSWORD@]HOST:PORT), through which the factories fetch user data from URLs. It
        is in no file that VM jobs take along, and shown in no diff and no log.
    type: str
  no_proxy:
    description:
      - Hosts, domains, addresses and networks (and V(*)) that factories reach without O(http_proxy).
    type: list
    elements: str
    default: []
  directory:
    description:
      - Where the files go.
    type: path
    default: /etc/condor_vac/machinetypes
  state_directory:
    description:
      - Holds the directory of each factory, which belongs to the machinetype's owner.
    type: path
    default: /var/lib/condor_vac
  retire:
    description:
      - Names of machinetypes to take away. Their factories must be gone (M(vacuum.htcondor.factory) with
        O(vacuum.htcondor.factory#module:state=absent), which removes VMs that do not run as well).
      - While VMs of it run, which continue to their end, the files stay, and RV(retired) has their number.
    type: list
    elements: str
    default: []
  silent_pipes:
    description:
      - Prefixes of vacuum pipes that offer nothing now. What is on the access point of machinetypes whose names begin
        with one (PREFIX, or PREFIX-suffix) stays, and counts neither as unwanted nor as missing.
    type: list
    elements: str
    default: []
  removable:
    description:
      - Names of machinetypes whose factory may go although O(machinetypes) is empty, or more than half of those that
        have a factory would go; V(all) stands for any. An inventory that was not loaded looks like one without any.
      - If it is not given nothing is refused.
    type: list
    elements: str
  payload:
    description:
      - Filled in by the action plugin. Leave it out of the task.
    type: str
seealso:
  - module: vacuum.htcondor.factory
"""

EXAMPLES = r"""
- name: Deploy the machinetypes
  vacuum.htcondor.machinetype:
    machinetypes: "{{ vacuum_machinetypes }}"
    defaults:
      owner: vac
      space: vac.example.org
  register: deployed

- name: End the factories of those that left the inventory
  vacuum.htcondor.factory:
    names: "{{ vacuum_machinetypes.keys() | list }}"
    exclusive: true

- name: Take their files away as soon as their VMs have ended
  vacuum.htcondor.machinetype:
    retire: "{{ deployed.unwanted }}"
  when: deployed.unwanted | length > 0
"""

RETURN = r"""
machinetypes:
  description: Names of the machinetypes that O(machinetypes) has.
  type: list
  elements: str
  returned: when O(machinetypes) is given
  sample: [atlas, gridpp]
changed_machinetypes:
  description: Names of those of which any file changed.
  type: list
  elements: str
  returned: when O(machinetypes) is given
  sample: [atlas]
unwanted:
  description: Names of machinetypes on the access point that O(machinetypes) does not have.
  type: list
  elements: str
  returned: when O(machinetypes) is given
  sample: [old]
largest_node:
  description: The most memory (MiB) and processors of a node in the pool, V(null) if the collector does not know it.
  type: dict
  returned: when O(machinetypes) is given
  sample: {memory_mb: 64216, processors: 16}
retired:
  description: What became of each machinetype of O(retire), V(gone) is true when nothing of it is left.
  type: dict
  returned: when O(retire) is given
  sample: {old: {gone: false, vms: 3}}
files:
  description: Paths of the files that were written or removed.
  type: list
  elements: str
  returned: success
  sample: [/etc/condor_vac/machinetypes/atlas.json]
"""

import base64
import binascii
import grp
import json
import os
import pwd
import re
import shutil
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import ModuleError, run_module
from ansible_collections.vacuum.htcondor.plugins.module_utils._machinetype.check import Checker
from ansible_collections.vacuum.htcondor.plugins.module_utils._machinetype.diff import entries
from ansible_collections.vacuum.htcondor.plugins.module_utils._machinetype.pipes import prefix_of
from ansible_collections.vacuum.htcondor.plugins.module_utils._machinetype.queue import (
    Queue,
    users_of_machinetypes,
)
from ansible_collections.vacuum.htcondor.plugins.module_utils._node import file_set, files
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import (
    IMAGE_DIRECTORY,
    MACHINETYPE_NAME,
    MACHINETYPE_NAME_REMEDY,
    MACHINETYPES_DIRECTORY,
    STATE_DIRECTORY,
)


class Machinetypes:
    """The machinetypes in one directory of an access point."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.command = Command(module)
        self.directory = str(module.params["directory"])

    def run(self) -> dict[str, Any]:
        """Deploy and retire; the result for exit_json. Raises ModuleError."""
        result: dict[str, Any] = {"changed": False, "files": [], "diff": []}
        payload = self.module.params["payload"]
        if payload is not None:
            self._deploy(_unpacked(payload), result)
        if self.module.params["retire"]:
            self._retire(self.module.params["retire"], result)
        return result

    def _deploy(self, wanted: dict[str, Any], result: dict[str, Any]) -> None:
        self._refuse_accident(set(wanted))
        checker = Checker(self.module, self.command, self.directory)
        node = checker.sizes(wanted)
        made = self._directories(wanted)
        items = {name: self._items(name, wanted[name]) for name in sorted(wanted)}
        checker.contents(wanted, self._differing(items))
        flat = [item for name in sorted(items) for item in items[name]]
        changes = file_set.apply(self.module, flat) if flat else []
        changed = {change.path for change in changes if change.changed}
        result["changed"] = bool(changed or made)
        result["files"] += sorted(changed)
        result["diff"] += [entry for change in changes if change.changed for entry in entries(change)]
        result["diff"] += [{"before": "", "after": f"directory {path}\n"} for path in made]
        result["machinetypes"] = sorted(wanted)
        result["changed_machinetypes"] = [
            name for name in sorted(items) if changed & {item.path for item in items[name]}
        ]
        result["unwanted"] = sorted(self._present() - set(wanted))
        result["largest_node"] = node

    def _refuse_accident(self, wanted: set[str]) -> None:
        """Raise ModuleError where an inventory that is not whole is likelier than one that gave so much up."""
        removable = self.module.params["removable"]
        present = self._present()
        if removable is None or "all" in removable or not present - wanted - set(removable):
            return
        # Not those that have been drained before, whose last VMs still run.
        running = {job["VacFactory"] for job in self._queue().factories()} & present
        gone = sorted(running - wanted)
        if set(gone) - set(removable) and (not wanted or 2 * len(gone) > len(running)):
            raise ModuleError(
                f"vacuum_machinetypes: {len(gone)} of {len(running)} machinetypes with a factory are missing"
                f" ({', '.join(gone)}), and would be drained",
                f"correct the inventory, or confirm it by vacuum_remove_machinetypes: [{', '.join(gone)}]",
            )

    def _directories(self, wanted: dict[str, Any]) -> list[str]:
        """Make the directories of files and factories; the paths that were not as they should be."""
        state = str(self.module.params["state_directory"])
        owners: dict[str, str | None] = dict.fromkeys((os.path.dirname(self.directory), self.directory, state))
        owners.update({f"{state}/{name}": self._owner(wanted[name]["document"]) for name in sorted(wanted)})
        return [path for path, owner in owners.items() if file_set.directory(self.module, path, owner)]

    def _owner(self, document: dict[str, Any]) -> str:
        """The machinetype's owner. Raises ModuleError if the node has no such user, but for check mode."""
        owner = str(document.get("owner", "root"))
        try:
            pwd.getpwnam(owner)
        except KeyError:
            if not self.module.check_mode:
                name = document["name"]
                raise ModuleError(
                    f"vacuum_machinetypes.{name}.owner: no user {owner} on the access point",
                    "create the user first",
                ) from None
            self.module.warn(f"there is no user {owner} yet")
            return "root"
        return owner

    def _items(self, name: str, data: dict[str, Any]) -> list[file_set.Wanted]:
        """Its files, the machinetype's own last so that nothing it names is missing meanwhile; then what it lost."""
        document = data["document"]
        group = _group_of(self._owner(document))
        found = [
            file_set.Wanted(
                f"{self.directory}/{file}", base64.b64decode(part["content"]), 0o640, None, group, part["secret"]
            )
            for file, part in sorted(data["files"].items())
        ]
        text = json.dumps(document, indent=1, sort_keys=True) + "\n"
        found.append(file_set.Wanted(f"{self.directory}/{name}.json", text.encode(), 0o640, None, group, True))
        wanted = {item.path for item in found}
        lost = [path for path in self._files_of(name) if path not in wanted]
        return found + [file_set.Wanted(path, None, hidden=True) for path in lost]

    def _differing(self, items: dict[str, list[file_set.Wanted]]) -> set[str]:
        return {name for name, found in items.items() if any(_differs(item) for item in found)}

    def _retire(self, names: list[str], result: dict[str, Any]) -> None:
        queue = self._queue()
        factories = {job["VacFactory"] for job in queue.leaving()}
        result["retired"] = {}
        for name in names:
            if not re.fullmatch(MACHINETYPE_NAME, name):
                raise ModuleError(f"retire: {name!r} is not a valid machinetype name", MACHINETYPE_NAME_REMEDY)
            if name in factories and not self.module.check_mode:
                raise ModuleError(
                    f"retire: the factory of {name} is still in the queue",
                    "first use vacuum.htcondor.factory with state absent",
                )
            left = queue.left(name)
            gone = left == 0
            paths = self._files_of(name) if gone else []
            removed = file_set.apply(
                self.module,
                [file_set.Wanted(path, None, hidden=True) for path in paths],
            )
            if gone and self._remove_state(name):
                result["changed"] = True
            result["retired"][name] = {"gone": gone, "vms": left}
            result["files"] += [change.path for change in removed if change.changed]
            result["diff"] += [entry for change in removed for entry in entries(change)]
            result["changed"] = result["changed"] or bool(removed)

    def _queue(self) -> Queue:
        return Queue(self.module, users_of_machinetypes(self.module.params["state_directory"], self.directory))

    def _remove_state(self, name: str) -> bool:
        """Remove the factory's directory with its state, its logs and those of its VMs; whether there was one."""
        path = f"{self.module.params['state_directory']}/{name}"
        if not os.path.lexists(path):
            return False
        if not self.module.check_mode:
            try:
                shutil.rmtree(path)
            except OSError as error:
                raise ModuleError(f"cannot remove {path} ({error.strerror})", "run the task with become") from error
        return True

    def _present(self) -> set[str]:
        """The machinetypes that are there, but for those of silent pipes."""
        names = (name[: -len(".json")] for name in self._listed() if name.endswith(".json"))
        silent = self.module.params["silent_pipes"]
        return {name for name in names if re.fullmatch(MACHINETYPE_NAME, name) and prefix_of(name, silent) is None}

    def _files_of(self, name: str) -> list[str]:
        """Paths of what the directory has of a machinetype: names hold no dot, so NAME. is a prefix of its own."""
        return [f"{self.directory}/{file}" for file in self._listed() if file.startswith(f"{name}.")]

    def _listed(self) -> list[str]:
        try:
            return sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return []


def _differs(item: file_set.Wanted) -> bool:
    return files.read_state(item.path).content != item.content


def _group_of(owner: str) -> str:
    """The user's own group, which may read the files."""
    gid = pwd.getpwnam(owner).pw_gid
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        raise ModuleError(f"the group {gid} of the user {owner} has no name", "create it") from None


def _unpacked(payload: str) -> dict[str, Any]:
    try:
        unpacked: dict[str, Any] = json.loads(base64.b64decode(payload, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ModuleError("payload: not what the action plugin sends", "leave it out of the task") from error
    return unpacked


ARGUMENTS: dict[str, Any] = {
    "machinetypes": {"type": "dict"},
    "defaults": {"type": "dict"},
    "image_dir": {"type": "path", "default": IMAGE_DIRECTORY},
    "http_proxy": {"type": "str", "no_log": True},
    "no_proxy": {"type": "list", "elements": "str", "default": []},
    "directory": {"type": "path", "default": MACHINETYPES_DIRECTORY},
    "state_directory": {"type": "path", "default": STATE_DIRECTORY},
    "retire": {"type": "list", "elements": "str", "default": []},
    "silent_pipes": {"type": "list", "elements": "str", "default": []},
    "removable": {"type": "list", "elements": "str"},
    "payload": {"type": "str", "no_log": True},
}


def main(build: Callable[[AnsibleModule], Machinetypes] = Machinetypes) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
