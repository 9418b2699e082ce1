# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a pool has to say about machinetypes: their jobs on this access point, and how large its nodes are."""

from __future__ import annotations

from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import CommandError
from ansible_collections.vacuum.htcondor.plugins.module_utils._machinetype.queue import Ad, ads
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import JobStatus, Universe

# Ads of machines and of partitionable slots; dynamic slots say the same of their machine.
NODES = "(SlotTypeID =?= undefined || SlotTypeID <= 1) && TotalMemory =!= undefined"


class Jobs:
    """The jobs of machinetypes in the queue of the local schedd. Names are machinetypes', already checked."""

    def __init__(self, command: Command) -> None:
        self._command = command

    def factories(self, name: str) -> int:
        """How many factories of the machinetype are in the queue, in whatever state."""
        return len(self._query(f'VacFactory =?= "{name}" && JobUniverse == {Universe.SCHEDULER}'))

    def vms(self, name: str) -> int:
        """How many VMs have not ended yet, running or not."""
        ended = f"JobStatus == {JobStatus.COMPLETED}"
        return len(self._query(f'VacMachinetype =?= "{name}" && JobUniverse == {Universe.VM} && !({ended})'))

    def _query(self, constraint: str) -> list[Ad]:
        return ads(self._command, constraint, ("JobStatus",))


def largest_node(command: Command) -> tuple[dict[str, int] | None, str]:
    """The most memory_mb and processors that any node has; None, and why, if that cannot be said."""
    condor_status = command.find("condor_status")
    if condor_status is None:
        return None, "HTCondor is not installed yet"
    argv = [condor_status, "-startd", "-constraint", NODES, "-af", "TotalMemory", "TotalCpus"]
    try:
        text = command.run(argv, timeout=30).stdout
    except CommandError as error:
        return None, f"the collector does not answer ({error.message})"
    rows = [line.split() for line in text.splitlines()]
    sizes = [(int(float(row[0])), int(float(row[1]))) for row in rows if len(row) == 2 and "undefined" not in row]
    if not sizes:
        return None, "the pool has no node yet"
    return {"memory_mb": max(memory for memory, _cpus in sizes), "processors": max(cpus for _memory, cpus in sizes)}, ""
