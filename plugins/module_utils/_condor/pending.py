# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a changed configuration still needs: a reconfig, or the restart of some daemon.

It is saved in a file below /run, so that a playbook that stops half way, or a restart that waits for running
VMs, is not forgotten. The process ids of the daemons at the time of the change show whether somebody
restarted them since; a reboot empties /run and starts everything anew anyway.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.knobs import needs_restart
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import pids
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import FileError
from ansible_collections.vacuum.htcondor.plugins.module_utils._node.files import write

PATH = "/run/condor_vac/pending.json"


@dataclass(frozen=True)
class Need:
    """One reason for a restart: the daemon (MASTER: all of them), why, and who ran when it arose."""

    daemon: str
    why: str
    pids: Mapping[str, int]

    def met(self, running: Mapping[str, int]) -> bool:
        """Whether the daemon has been started anew since. The master keeps its process id in a restart."""
        concerned = [name for name in self.pids if name != "MASTER" and self.daemon in (name, "MASTER")]
        return all(running.get(name) != self.pids[name] for name in concerned)


@dataclass(frozen=True)
class Pending:
    """What the running daemons have not yet taken up. ``restart`` is by variable name."""

    restart: Mapping[str, Need] = field(default_factory=dict)
    reconfig: bool = False

    @property
    def action(self) -> str:
        """none, reconfig or restart."""
        return "restart" if self.restart else "reconfig" if self.reconfig else "none"

    @property
    def reasons(self) -> list[str]:
        """One line for each variable that needs a restart."""
        return [f"{name}: {need.why}" for name, need in sorted(self.restart.items())]

    @property
    def scope(self) -> list[str]:
        """The daemons to restart; MASTER stands for all."""
        daemons = sorted({need.daemon for need in self.restart.values()})
        return ["MASTER"] if "MASTER" in daemons else daemons


def after_change(before: Pending, names: list[str], ad: Mapping[str, Any]) -> Pending:
    """*before* and what a change of the variables *names* adds, given the master's ad."""
    running = pids(dict(ad))
    if not running:
        return Pending()
    restart = dict(before.restart)
    for name in names:
        need = needs_restart(name)
        if need and (need[0] == "MASTER" or need[0] in running):
            restart[name.upper()] = Need(need[0], need[1], running)
    return Pending(restart, before.reconfig or bool(names))


def load(ad: Mapping[str, Any], path: str = PATH) -> Pending:
    """What is still pending, given the master's ad; nothing if no master runs. Raises FileError."""
    running = pids(dict(ad))
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        needs = {name: Need(need["daemon"], need["why"], need["pids"]) for name, need in data["restart"].items()}
        reconfig = Need("MASTER", "", data["reconfig"]) if data["reconfig"] else None
    except FileNotFoundError:
        return Pending()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(f"cannot read {path} ({error})", "remove it, and restart HTCondor if in doubt") from error
    if not running:
        return Pending()
    left = {name: need for name, need in needs.items() if not need.met(running)}
    return Pending(left, reconfig is not None and not reconfig.met(running))


def save(module: AnsibleModule, pending: Pending, ad: Mapping[str, Any], path: str = PATH) -> None:
    """Remember *pending*, or forget everything if it is nothing; nothing in check mode. Raises FileError."""
    if module.check_mode:
        return
    if pending.action == "none":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    restart = {
        name: {"daemon": need.daemon, "why": need.why, "pids": dict(need.pids)}
        for name, need in pending.restart.items()
    }
    reconfig = pids(dict(ad)) if pending.reconfig else {}
    write(module, path, json.dumps({"restart": restart, "reconfig": reconfig}, indent=1, sort_keys=True) + "\n")
