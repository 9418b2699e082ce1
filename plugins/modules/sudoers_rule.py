#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One sudo rule in a file of its own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sudoers_rule
short_description: One sudo rule in a file of its own, checked before sudo sees it
version_added: 0.1.0
description:
  - Lets users and groups run the given commands, and nothing else, through C(sudo).
  - The rule is a file in C(/etc/sudoers.d) with mode 0440, which C(visudo) has to accept before it replaces
    the old one.
  - Commands are literal. Wildcards are refused, since in arguments they also match white space and slashes.
    So are programs that others than root can replace.
  - Reads all of the node's sudoers files and names the rules in other files that give the same users more, or that
    take the permission away again.
requirements:
  - sudo (or sudo-rs) with visudo
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
  name:
    description:
      - Name of the file in C(/etc/sudoers.d).
      - Letters, digits, underscore and hyphen. sudo ignores files whose name has a dot or ends in a tilde.
    type: str
    required: true
  state:
    description: Whether the rule is to be there.
    type: str
    choices: [present, absent]
    default: present
  users:
    description: >-
      Who may run the commands. Users and O(groups) together need at least one entry. Names with @ are refused, since
      HTCondor takes what follows it for a domain and runs no job as such a user.
    type: list
    elements: str
    default: []
  groups:
    description: Groups whose members may run the commands.
    type: list
    elements: str
    default: []
  commands:
    description:
      - Absolute paths, each with its arguments if it is to be allowed with exactly these.
      - Without arguments, any arguments are allowed. V("") as the only argument allows none.
      - Required when O(state=present).
    type: list
    elements: str
    default: []
  runas:
    description: The user that the commands run as.
    type: str
    default: root
  nopasswd:
    description: Whether no password is asked for. Programs cannot give one.
    type: bool
    default: true
  conflicts:
    description:
      - What to do when rules in other files widen or contradict this one.
      - V(report) lists them in RV(conflicts) and warns.
      - V(fail) also lets the task fail before anything is changed.
    type: str
    choices: [report, fail]
    default: report
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
"""

EXAMPLES = r"""
- name: The users of virtual machines may ask for leases
  vacuum.htcondor.sudoers_rule:
    name: condor_vac
    users: [slot1, slot2]
    groups: [vac]
    commands:
      - /usr/local/libexec/vac_lease acquire
      - /usr/local/libexec/vac_lease release
      - /usr/local/libexec/vac_lease end

- name: Nobody may any more
  vacuum.htcondor.sudoers_rule:
    name: condor_vac
    state: absent
"""

RETURN = r"""
file:
  description: The file that holds the rule.
  returned: success
  type: str
  sample: /etc/sudoers.d/condor_vac
conflicts:
  description: Lines of other files that matter for the same users.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: The file.
      type: str
      sample: /etc/sudoers.d/90-old
    line:
      description: The line in it.
      type: int
      sample: 3
    kind:
      description:
        - V(widens) if the same users may run something else as well.
        - V(contradicts) if the line is read later and denies a command or asks for a password.
        - V(needs a terminal) if sudo refuses programs without one.
        - V(not read) if sudo does not read the directory of the rule at all.
      type: str
      sample: widens
    text:
      description: What the line allows or demands.
      type: str
      sample: "slot1 may run (root) NOPASSWD: /usr/sbin/exportfs"
"""

import grp
import os
import pwd
import re
import stat
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import (
    FileError,
    InvalidContent,
    ModuleError,
    run_module,
)
from ansible_collections.vacuum.htcondor.plugins.module_utils._node import files, sudoers
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import USER_NAME, USER_NAME_REMEDY

MAIN_FILE = "/etc/sudoers"
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# A group's name is as a user's.
ACCOUNT = re.compile(USER_NAME)
COMMAND = re.compile(r"/[^\x00-\x20\x7f*?\[\]!#\"']+(?: \"\"|(?: [^\x00-\x20\x7f*?\[\]!#\"']+)*)")


class SudoersRule:
    """The rule's file, and the other files' rules for the same users."""

    def __init__(self, module: AnsibleModule, root: str = "/", owner: str | None = "root") -> None:
        self.module = module
        self.root = root
        self.owner = owner
        self.options = module.params
        self.name: str = module.params["name"]
        self.listed = f"/etc/sudoers.d/{self.name}"
        self.path = os.path.join(self.root, self.listed.lstrip("/"))

    def run(self) -> dict[str, Any]:
        """Bring about the state. Raises ModuleError."""
        if not NAME.fullmatch(self.name):
            raise ModuleError(f"name: {self.name!r}", "use letters, digits, underscore and hyphen only")
        if self.options["state"] == "absent":
            change = files.remove(self.module, self.path)
            return {"changed": change.changed, "diff": change.diff(), "file": self.path, "conflicts": []}
        self._check_options()
        for command in self.options["commands"]:
            _check_program(self.root, command.split()[0])
        visudo = Command(self.module).require("visudo", "install the package sudo")
        conflicts = self._conflicts()
        self._judge(conflicts)
        change = files.write(
            self.module,
            self.path,
            self._content(),
            mode=0o440,
            owner=self.owner,
            group=self.owner,
            validate=lambda name: self._validate(visudo, name),
        )
        return {"changed": change.changed, "diff": change.diff(), "file": self.path, "conflicts": conflicts}

    def _check_options(self) -> None:
        accounts = [*self.options["users"], *self.options["groups"]]
        if not accounts or not self.options["commands"]:
            remedy = "give users or groups, and commands, or state: absent"
            raise ModuleError("users, groups, commands: one of the lists is empty", remedy)
        for name in [*accounts, self.options["runas"]]:
            if not ACCOUNT.fullmatch(name):
                raise ModuleError(f"{name!r} is not a valid account", USER_NAME_REMEDY)
        for command in self.options["commands"]:
            if not COMMAND.fullmatch(command):
                remedy = "give an absolute path and literal arguments, without wildcards and quotes"
                raise ModuleError(f"commands: {command!r}", remedy)

    def _content(self) -> str:
        subjects = ", ".join([*self.options["users"], *(f"%{name}" for name in self.options["groups"])])
        tag = "NOPASSWD: " if self.options["nopasswd"] else "PASSWD: "
        commands = ", ".join(_escaped(command) for command in self.options["commands"])
        return (
            "# Written by the Ansible module vacuum.htcondor.sudoers_rule; changes here are overwritten.\n"
            f"{subjects} ALL = ({self.options['runas']}) {tag}{commands}\n"
        )

    def _validate(self, visudo: str, name: str) -> None:
        result = Command(self.module).run([visudo, "--check", f"--file={name}"], ok=None)
        if not result.ok:
            reason = result.complaint().replace(name, self.path)
            raise InvalidContent(f"visudo refuses the rule: {reason}", "correct the option that it quotes")

    def _judge(self, conflicts: list[dict[str, Any]]) -> None:
        texts = [f"{entry['path']}:{entry['line']} {entry['kind']}: {entry['text']}" for entry in conflicts]
        remedy = "remove the line unless it is meant"
        if texts and self.options["conflicts"] == "fail":
            raise ModuleError("; ".join(texts), remedy, conflicts=conflicts)
        for text in texts:
            self.module.warn(f"sudo, {text}: {remedy}")

    def _conflicts(self) -> list[dict[str, Any]]:
        """Findings, in the order of the files. Raises FileError."""
        try:
            found = sudoers.read(MAIN_FILE, self.root)
        except OSError as error:
            raise FileError(f"cannot read {error.filename} ({error.strerror})", "use become") from error
        names = self._names()
        result = []
        for entry in found.permissions:
            if entry.path != self.listed and found.concerns(entry.users, names):
                kind = self._kind(found, entry)
                if kind:
                    result.append(_finding(entry.path, entry.line, kind, str(entry)))
        return result + self._not_read(found) + self._terminal(found, names)

    def _names(self) -> set[str]:
        """Every way in which sudoers can mean the rule's users: name, uid, groups and their gids."""
        names: set[str] = set()
        for user in self.options["users"]:
            names.add(user)
            try:
                account = pwd.getpwnam(user)
            except KeyError:
                self.module.warn(f"there is no user {user} yet: its groups are not checked")
                continue
            names.add(f"#{account.pw_uid}")
            for gid in os.getgrouplist(user, account.pw_gid):
                names |= {f"%#{gid}", *_group_names(gid)}
        return names | {f"%{group}" for group in self.options["groups"]}

    def _kind(self, found: sudoers.Sudoers, entry: sudoers.Permission) -> str:
        """What an entry for the same users does to the rule; empty if nothing."""
        commands = list(found.expand((entry.command,)))
        mine = [_escaped(command) for command in self.options["commands"]]
        denied = [command[1:] for command in commands if command.startswith("!")]
        allowed = [command for command in commands if not command.startswith("!")]
        later = entry.path > self.listed or (entry.path == MAIN_FILE and self._after_include(found, entry))
        stricter = denied if entry.nopasswd or not self.options["nopasswd"] else denied + allowed
        if later and any(_covers(theirs, command) for theirs in stricter for command in mine):
            return "contradicts"
        runas = {name.strip() for name in entry.runas.split(",")} - {"", self.options["runas"]}
        return "widens" if set(allowed) - set(mine) or (allowed and runas) else ""

    def _after_include(self, found: sudoers.Sudoers, entry: sudoers.Permission) -> bool:
        order = [permission.path for permission in found.permissions]
        return self.listed in order and found.permissions.index(entry) > order.index(self.listed)

    def _not_read(self, found: sudoers.Sudoers) -> list[dict[str, Any]]:
        real = os.path.join(self.root, MAIN_FILE.lstrip("/"))
        with open(real, encoding="utf-8", errors="replace") as stream:
            includes = [match for match in map(sudoers.INCLUDE.match, stream.read().splitlines()) if match]
        targets = {match.group(2).strip().strip('"').rstrip("/") for match in includes}
        if self.listed in found.files or os.path.dirname(self.listed) in targets:
            return []
        return [_finding(MAIN_FILE, 0, "not read", "there is no @includedir /etc/sudoers.d")]

    def _terminal(self, found: sudoers.Sudoers, names: set[str]) -> list[dict[str, Any]]:
        """Programs have no terminal: requiretty, if it is what counts last, refuses them."""
        last = None
        for entry in found.defaults:
            matches = entry.scope == "" or (entry.scope == ":" and found.concerns(entry.subjects, names))
            if matches and {"requiretty", "!requiretty"} & set(entry.settings):
                last = entry if "requiretty" in entry.settings else None
        return [_finding(last.path, last.line, "needs a terminal", "Defaults requiretty")] if last else []


def _finding(path: str, line: int, kind: str, text: str) -> dict[str, Any]:
    return {"path": path, "line": line, "kind": kind, "text": text}


def _covers(theirs: str, mine: str) -> bool:
    """Whether a command of another rule includes one of this rule: the same, all, its directory, any arguments."""
    program = mine.split(maxsplit=1)[0]
    folder = os.path.dirname(program) + "/"
    return theirs in {"ALL", mine, program, folder}


def _escaped(command: str) -> str:
    """A command as sudoers writes it."""
    return re.sub(r"([\\,:=])", r"\\\1", command)


def _group_names(gid: int) -> set[str]:
    try:
        return {f"%{grp.getgrgid(gid).gr_name}"}
    except KeyError:
        return set()


def _check_program(root: str, program: str) -> None:
    """Raises FileError if somebody else than root could put another program there."""
    path = os.path.join(root, program.lstrip("/"))
    for place in (path, os.path.dirname(path)):
        try:
            status = os.stat(place)
        except FileNotFoundError:
            continue
        sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if status.st_uid != 0 or (status.st_mode & 0o022 and not sticky):
            raise FileError(
                f"{place} can be changed by others than root (mode {stat.S_IMODE(status.st_mode):04o})",
                "its writers become root by this rule: chown root and chmod go-w it",
            )


ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "users": {"type": "list", "elements": "str", "default": []},
    "groups": {"type": "list", "elements": "str", "default": []},
    "commands": {"type": "list", "elements": "str", "default": []},
    "runas": {"type": "str", "default": "root"},
    "nopasswd": {"type": "bool", "default": True},
    "conflicts": {"type": "str", "choices": ["report", "fail"], "default": "report"},
}


def main(build: Callable[[AnsibleModule], SudoersRule] = SudoersRule) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
