# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The schedd's queue, as the modules ``factory`` and ``machinetype`` ask it: factories' jobs and VM jobs."""

from __future__ import annotations

import json
import os
import pwd
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import INSTALL
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import CommandError
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import (
    MACHINETYPE_NAME,
    MACHINETYPES_DIRECTORY,
    STATE_DIRECTORY,
    USER_NAME,
    JobStatus,
    Universe,
    submit_text,
)

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
REMEDY = "is the schedd running?"
WAITING = f"(JobStatus == {JobStatus.IDLE} || JobStatus == {JobStatus.HELD})"

Ad = dict[str, Any]


def users_of_machinetypes(
    state_directory: str = STATE_DIRECTORY, directory: str = MACHINETYPES_DIRECTORY
) -> dict[str, set[str]]:
    """Whose the jobs of each machinetype on this access point are, by its name.

    These are the owner of its factory's directory, the user as whom its factory ran last (its log's owner), and the
    owner that its file names: during a change of the owner they differ.
    """
    found: dict[str, set[str]] = {}
    for name in {*_listed(state_directory), *(file[: -len(".json")] for file in _listed(directory))}:
        if re.fullmatch(MACHINETYPE_NAME, name):
            place = f"{state_directory}/{name}"
            users = {_owner(place), _owner(f"{place}/factory.log"), _named_owner(f"{directory}/{name}.json")}
            found[name] = {user for user in users if user is not None and re.fullmatch(USER_NAME, user)}
    return found


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _owner(path: str) -> str | None:
    try:
        return pwd.getpwuid(os.lstat(path).st_uid).pw_name
    except (OSError, KeyError):
        return None


def _named_owner(path: str) -> str | None:
    """The owner in a machinetype's file, if it can be read."""
    try:
        with open(path, "rb") as stream:
            data = json.load(stream)
    except (OSError, ValueError, RecursionError):
        return None
    owner = data.get("owner") if isinstance(data, dict) else None
    return owner if isinstance(owner, str) else None


class Queue:
    """The schedd's queue, through HTCondor's own tools. Names are machinetypes', already checked.

    Any user may name a machinetype in a job's ad, so a machinetype's jobs are those of its ``users`` alone (by name).
    In check mode a node without HTCondor has no jobs. Methods raise ToolMissing, CommandError.
    """

    def __init__(self, module: AnsibleModule, users: Mapping[str, Collection[str]]) -> None:
        self.module = module
        self.command = Command(module)
        self.users = {name: set(found) for name, found in users.items()}

    def add_user(self, name: str, user: str) -> None:
        """One more whose jobs are a machinetype's: who is to have its next factory."""
        self.users.setdefault(name, set()).add(user)

    def factories(self) -> list[Ad]:
        """The factories' jobs that are not already on their way out."""
        return [ad for ad in self.leaving() if ad.get("JobStatus") != JobStatus.REMOVED]

    def leaving(self) -> list[Ad]:
        """The factories' jobs, those included that are removed but still there."""
        found = self._query(f"JobUniverse == {Universe.SCHEDULER} && isString(VacFactory)", FACTORY_ATTRIBUTES)
        return [ad for ad in found if self._is_of(ad, "VacFactory")]

    def waiting(self) -> Counter[str]:
        """How many VM jobs of each machinetype do not run."""
        constraint = f"JobUniverse == {Universe.VM} && isString(VacMachinetype) && {WAITING}"
        found = self._query(constraint, ("VacMachinetype", "Owner"))
        return Counter(str(ad["VacMachinetype"]) for ad in found if self._is_of(ad, "VacMachinetype"))

    def left(self, name: str) -> int:
        """How many VM jobs of a machinetype have not ended yet, running or not."""
        ended = f"JobStatus == {JobStatus.COMPLETED}"
        constraint = f'JobUniverse == {Universe.VM} && VacMachinetype =?= "{name}" && !({ended})'
        return len(self._query(constraint, ("JobStatus",), name))

    def remove_waiting(self, name: str) -> None:
        """Remove the VM jobs of a machinetype that do not run at that moment; that there are none is fine."""
        vms = f'JobUniverse == {Universe.VM} && VacMachinetype =?= "{name}" && {WAITING}'
        constraint = f"{self._owned(name)} && {vms}"
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
        runuser = self.command.require("runuser", "install util-linux")
        argv = [runuser, "-u", owner, "--", self._find("condor_submit"), "-terse", "-"]
        self.command.run(argv, stdin=submit_text(commands), cwd="/")

    def _is_of(self, ad: Ad, attribute: str) -> bool:
        """Whether the machinetype that the job's ad names has this user."""
        name = ad.get(attribute)
        return isinstance(name, str) and ad.get("Owner") in self.users.get(name, ())

    def _owned(self, name: str | None) -> str:
        """The part of a constraint for the users of one machinetype, or of all; without users no job matches."""
        users = set().union(*self.users.values()) if name is None else self.users.get(name, set())
        return f"({' || '.join(f'Owner == {json.dumps(user)}' for user in sorted(users)) or 'False'})"

    def _query(self, constraint: str, attributes: Sequence[str], name: str | None = None) -> list[Ad]:
        """The jobs of the users of one machinetype, or of all, that match."""
        if self.module.check_mode and self.command.find("condor_q") is None:
            return []
        argv = [self._find("condor_q"), "-allusers", "-constraint", f"{self._owned(name)} && {constraint}"]
        text = self.command.run([*argv, "-attributes", ",".join(attributes), "-json"], remedy=REMEDY).stdout
        return list(json.loads(text)) if text.strip() else []

    def _find(self, tool: str) -> str:
        return self.command.require(tool, INSTALL)
