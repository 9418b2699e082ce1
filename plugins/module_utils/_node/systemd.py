# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""systemd units through systemctl: one method per verb."""

from __future__ import annotations

from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import CommandError

# Seconds; an NFS server whose node cannot reach its name servers was seen to take two minutes.
TIMEOUT = 600
PROPERTIES = "LoadState,ActiveState,UnitFileState,InactiveExitTimestampMonotonic"


class Systemd:
    """The node's system manager. Methods that change something raise CommandError with the unit's journal."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.program = command.require("systemctl", "this module needs a node that systemd manages")

    def show(self, unit: str) -> dict[str, str]:
        """What `PROPERTIES` names, of a unit; one that is not there has LoadState not-found."""
        words = [self.program, "show", f"--property={PROPERTIES}", unit]
        output = self.command.run(words, timeout=TIMEOUT, remedy="is systemd running on this node?").stdout
        pairs = (line.partition("=") for line in output.splitlines() if "=" in line)
        return {key: value for key, _equals, value in pairs}

    def exists(self, unit: str) -> bool:
        """Whether the unit is there and not masked."""
        return self.show(unit).get("LoadState") == "loaded"

    def active(self, unit: str) -> bool:
        """Whether the unit is active."""
        return self.show(unit).get("ActiveState") == "active"

    def enabled(self, unit: str) -> bool:
        """Whether the unit starts with the node."""
        return self.is_enabled(self.show(unit))

    @staticmethod
    def is_enabled(state: dict[str, str]) -> bool:
        """Whether a unit of which `show` answered *state* starts with the node."""
        return state.get("UnitFileState") in {"enabled", "static", "generated"}

    def reload(self) -> None:
        """Read all unit files again."""
        self._run("daemon-reload")

    def enable(self, *units: str) -> None:
        """Start the units with the node from now on."""
        self._run("enable", *units)

    def enable_now(self, unit: str) -> None:
        """Start the unit now and with the node."""
        self._run("enable", "--now", unit)

    def disable_now(self, unit: str) -> None:
        """Stop the unit, and start it with the node no more."""
        self._run("disable", "--now", unit)

    def restart(self, unit: str) -> None:
        """Start the unit, stopping it first if it runs."""
        self._run("restart", unit)

    def _run(self, *words: str) -> None:
        result = self.command.run([self.program, *words], ok=None, timeout=TIMEOUT)
        if not result.ok:
            unit = words[-1]
            raise CommandError(
                f"systemctl {' '.join(words)}: {result.complaint()}", f"see journalctl -u {unit}", rc=result.rc
            )
