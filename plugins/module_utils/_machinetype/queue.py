# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The schedd's queue, as the modules ``factory`` and ``machinetype`` ask it: factories' jobs and VM jobs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import INSTALL
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import CommandError
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import JobStatus, Universe, submit_text

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


class Queue:
    """The schedd's queue, through HTCondor's own tools. Names are machinetypes', already checked.

    In check mode a node without HTCondor has no jobs. Methods raise ToolMissing, CommandError.
    """

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.command = Command(module)

    def factories(self) -> list[Ad]:
        """The factories' jobs that are not already on their way out."""
        return [ad for ad in self.leaving() if ad["JobStatus"] != JobStatus.REMOVED]

    def leaving(self) -> list[Ad]:
        """The factories' jobs, those included that are removed but still there."""
        constraint = f"JobUniverse == {Universe.SCHEDULER} && isString(VacFactory)"
        return self._query(constraint, FACTORY_ATTRIBUTES)

    def waiting(self) -> Counter[str]:
        """How many VM jobs of each machinetype do not run."""
        constraint = f"JobUniverse == {Universe.VM} && isString(VacMachinetype) && {WAITING}"
        return Counter(str(ad["VacMachinetype"]) for ad in self._query(constraint, ("VacMachinetype",)))

    def left(self, name: str) -> int:
        """How many VM jobs of a machinetype have not ended yet, running or not."""
        ended = f"JobStatus == {JobStatus.COMPLETED}"
        constraint = f'JobUniverse == {Universe.VM} && VacMachinetype =?= "{name}" && !({ended})'
        return len(self._query(constraint, ("JobStatus",)))

    def remove_waiting(self, name: str) -> None:
        """Remove the VM jobs of a machinetype that do not run at that moment; that there are none is fine."""
        constraint = f'JobUniverse == {Universe.VM} && VacMachinetype =?= "{name}" && {WAITING}'
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

    def _query(self, constraint: str, attributes: Sequence[str]) -> list[Ad]:
        """The jobs of all users that match."""
        if self.module.check_mode and self.command.find("condor_q") is None:
            return []
        argv = [self._find("condor_q"), "-allusers", "-constraint", constraint]
        text = self.command.run([*argv, "-attributes", ",".join(attributes), "-json"], remedy=REMEDY).stdout
        return list(json.loads(text)) if text.strip() else []

    def _find(self, tool: str) -> str:
        return self.command.require(tool, INSTALL)
