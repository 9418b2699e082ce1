#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Forward packets now and after every boot, whatever other files and services set."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ip_forward
short_description: IP forwarding on, now and after the next boot
version_added: 0.1.0
description:
  - Switches on the forwarding that the virtual machines' NAT network needs, and keeps it on.
  - Writes one file below C(/etc/sysctl.d) that sets the key by all its names. The kernel has the switch twice
    (C(net.ipv4.ip_forward) and C(net.ipv4.conf.all.forwarding)), and a third time as the value that a new
    bridge gets (C(net.ipv4.conf.default.forwarding)); a setting by name also beats every glob of other files.
  - Reads the other files as C(systemd-sysctl) does (directories, equal names, order, both spellings, globs,
    exclusions) and names each line that sets another value.
  - A file that would be read after this module's own makes the module choose a name that sorts later. No file
    of others is ever changed.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    support: full
    platforms: linux
options:
  state:
    description:
      - With V(present), forwarding is on now and is set when the node boots.
      - With V(absent), this module's file is removed. The kernel's present value stays, since other programs
        may need it.
    type: str
    choices: [present, absent]
    default: present
  family:
    description: The protocol to forward.
    type: str
    choices: [ipv4, ipv6]
    default: ipv4
  interfaces:
    description:
      - Interfaces whose own switch is set as well, for example the bridge of the virtual machines.
      - They need not exist yet. udev runs C(systemd-sysctl) for each new interface, and a glob such as
        C(net.ipv4.conf.*.forwarding = 0) would switch forwarding off on it; a setting by name prevents that.
    type: list
    elements: str
    default: []
  conflicts:
    description:
      - What to do when something else would switch forwarding off although this module's file switches it on.
      - V(report) lists it in RV(conflicts) and warns.
      - V(fail) also lets the task fail before anything is changed.
    type: str
    choices: [report, fail]
    default: report
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
seealso:
  - name: sysctl.d(5)
    description: The order in which the files count.
    link: https://www.freedesktop.org/software/systemd/man/latest/sysctl.d.html
"""

EXAMPLES = r"""
- name: Forward the packets of the virtual machines
  vacuum.htcondor.ip_forward:
    interfaces: [vac0]

- name: Forward packets, and stop if a service would undo it
  vacuum.htcondor.ip_forward:
    conflicts: fail

- name: Leave forwarding to another program that sets it
  vacuum.htcondor.ip_forward:
    state: absent
"""

RETURN = r"""
file:
  description: The file that sets the value when the node boots.
  returned: success
  type: str
  sample: /etc/sysctl.d/zz-condor_vac-ipv4.conf
keys:
  description: Each key that counts, with its value before and after.
  returned: success
  type: dict
  sample: {"net/ipv4/ip_forward": {"before": "0", "after": "1"}}
conflicts:
  description: What would switch forwarding off again in spite of this module's file.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: The file.
      type: str
      sample: /etc/sysctl.conf
    line:
      description: The line in it.
      type: int
      sample: 28
    key:
      description: The key as a path below C(/proc/sys).
      type: str
      sample: net/ipv4/ip_forward
    value:
      description: Its value.
      type: str
      sample: "0"
    reader:
      description: The program that reads it.
      type: str
      sample: sysctl --system
overridden:
  description:
    - Lines that set another value but lose against this module's file. The elements are as in RV(conflicts).
  returned: success
  type: list
  elements: dict
"""

import os
import re
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import FileError, ModuleError, run_module
from ansible_collections.vacuum.htcondor.plugins.module_utils._node import files, sysctl

OWN = {family: re.compile(rf"zz+-condor_vac-{family}\.conf") for family in ("ipv4", "ipv6")}
# The switch under each of its names, and what an interface that appears later starts with.
KEYS = {
    "ipv4": ["net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding", "net/ipv4/conf/default/forwarding"],
    "ipv6": ["net/ipv6/conf/all/forwarding", "net/ipv6/conf/default/forwarding"],
}
# Names are compared byte by byte: no other file sorts after this many z by accident.
MOST_Z = 20
INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,14}")


class IpForward:
    """The switch of one family, in the kernel and in the files of the boot. *owner* of None is who runs this."""

    def __init__(self, module: AnsibleModule, root: str = "/", owner: str | None = "root") -> None:
        self.module = module
        self.root = root
        self.owner = owner
        self.family: str = module.params["family"]
        self.interfaces: list[str] = module.params["interfaces"]
        self.directory = os.path.join(self.root, "etc/sysctl.d")
        for name in self.interfaces:
            if not INTERFACE.fullmatch(name):
                raise ModuleError(f"interfaces: {name!r} is not an interface's name", "give names like vac0")

    def run(self) -> dict[str, Any]:
        """Bring about the state. Raises ModuleError."""
        if self.module.params["state"] == "absent":
            return self._absent()
        others = [entry for entry in self._assignments() if self._against(entry)]
        path = os.path.join(self.directory, self._name(others))
        conflicts = [entry for entry in others if os.path.basename(entry.path) > os.path.basename(path)]
        conflicts += [entry for entry in sysctl.other_readers(self.root) if self._against(entry)]
        overridden = [entry.describe() for entry in others if entry not in conflicts]
        self._judge(conflicts)
        changes = [files.write(self.module, path, self._content(), mode=0o644, owner=self.owner, group=self.owner)]
        changes += [files.remove(self.module, old) for old in self._own_files() if old != path]
        keys = self._switch_on()
        now = any(value["before"] != value["after"] for value in keys.values())
        return {
            "changed": now or any(change.changed for change in changes),
            "diff": [entry for change in changes for entry in change.diff()] + _values_diff(keys),
            "file": path,
            "keys": keys,
            "conflicts": [entry.describe() for entry in conflicts],
            "overridden": overridden,
        }

    def _absent(self) -> dict[str, Any]:
        paths = self._own_files() or [os.path.join(self.directory, self._name([]))]
        changes = [files.remove(self.module, path) for path in paths]
        return {
            "changed": any(change.changed for change in changes),
            "diff": [entry for change in changes for entry in change.diff()],
            "file": paths[0],
            "keys": {},
            "conflicts": [],
            "overridden": [],
        }

    def _own_files(self) -> list[str]:
        names = sorted(os.listdir(self.directory)) if os.path.isdir(self.directory) else []
        return [os.path.join(self.directory, name) for name in names if OWN[self.family].fullmatch(name)]

    def _assignments(self) -> list[sysctl.Assignment]:
        own = self._own_files()
        return [entry for entry in sysctl.boot_assignments(self.root) if entry.path not in own]

    def _wanted(self) -> list[str]:
        mine = [f"net/{self.family}/conf/{name}/forwarding" for name in self.interfaces]
        return KEYS[self.family] + mine

    def _against(self, entry: sysctl.Assignment) -> bool:
        return not entry.switches_on() and any(entry.applies_to(key) for key in self._wanted())

    def _name(self, others: list[sysctl.Assignment]) -> str:
        """A file name that sorts after every file that sets a key by name to something else."""
        rivals = [os.path.basename(entry.path) for entry in others if not entry.is_glob()]
        names = ["z" * count + f"-condor_vac-{self.family}.conf" for count in range(2, MOST_Z)]
        return next((name for name in names if all(name > rival for rival in rivals)), names[0])

    def _judge(self, conflicts: list[sysctl.Assignment]) -> None:
        texts = [f"{entry} would switch {self.family} forwarding off again" for entry in conflicts]
        if texts and self.module.params["conflicts"] == "fail":
            listed = [entry.describe() for entry in conflicts]
            raise ModuleError("; ".join(texts), "remove the line or set it to 1", conflicts=listed)
        for text in texts:
            self.module.warn(f"{text}: remove the line or set it to 1")

    def _content(self) -> str:
        lines = ["# Written by the Ansible module vacuum.htcondor.ip_forward; changes here are overwritten."]
        for key in KEYS[self.family]:
            lines.append(f"{key} = 1")
        # The minus lets the boot go on while the interface does not exist yet.
        lines += [f"-{key} = 1" for key in self._wanted() if key not in KEYS[self.family]]
        return "\n".join(lines) + "\n"

    def _switch_on(self) -> dict[str, dict[str, str]]:
        """Write 1 where the kernel has 0; all is read first, since one write changes several values."""
        paths = {key: os.path.join(self.root, "proc/sys", key) for key in self._wanted()}
        found = [key for key, path in paths.items() if key in KEYS[self.family] or os.path.exists(path)]
        before = {key: _read(paths[key]) for key in found}
        for key, value in before.items():
            if value == "0" and not self.module.check_mode:
                _write(paths[key], "1\n")
        after = {key: "1" if value == "0" else value for key, value in before.items()}
        return {key: {"before": before[key], "after": after[key]} for key in found}


def _values_diff(keys: dict[str, dict[str, str]]) -> list[dict[str, str]]:
    lines = {side: [f"{key} = {keys[key][side]}\n" for key in keys] for side in ("before", "after")}
    headers = {"before_header": "/proc/sys", "after_header": "/proc/sys"}
    return [{**headers, **{side: "".join(text) for side, text in lines.items()}}]


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read().strip()
    except OSError as error:
        remedy = "the kernel lacks this protocol, or /proc/sys is hidden (a container?)"
        raise FileError(f"cannot read {path} ({error.strerror})", remedy) from error


def _write(path: str, value: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as stream:
            stream.write(value)
    except OSError as error:
        remedy = "run with become; in a container set it on the host"
        raise FileError(f"cannot write {path} ({error.strerror})", remedy) from error


ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "family": {"type": "str", "choices": ["ipv4", "ipv6"], "default": "ipv4"},
    "interfaces": {"type": "list", "elements": "str", "default": []},
    "conflicts": {"type": "str", "choices": ["report", "fail"], "default": "report"},
}


def main(build: Callable[[AnsibleModule], IpForward] = IpForward) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
