# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Machinetypes tried out on the access point, by the programs that will read them, before they replace others."""

from __future__ import annotations

import base64
import json
import re
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import INSTALL
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import CommandError, InvalidContent
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import (
    CLI,
    MACHINETYPE_NAME,
    MEMORY_MB_PER_PROCESSOR,
    submit_text,
)

INSTALL_CLI = "run the role runtime with runtime_parts: [cli, factory] first"
# Ads of machines and of partitionable slots; dynamic slots have the same values of their machine.
NODES = "(SlotTypeID =?= undefined || SlotTypeID <= 1) && TotalMemory =!= undefined"


class Checker:
    """Checks of what the action plugin sent: name → {document, files}. *directory* is where it is to go."""

    def __init__(self, module: AnsibleModule, command: Command, directory: str) -> None:
        self.module = module
        self.command = command
        self.directory = directory

    def sizes(self, wanted: dict[str, Any]) -> dict[str, int] | None:
        """Refuse what no node of the pool could ever run. Raises InvalidContent.

        A machinetype of a pipe is only named: its VMs wait, and no experiment can stop another's machinetypes.
        """
        node, why = largest_node(self.command)
        if node is None:
            self.module.warn(f"sizes of machinetypes are not compared with those of nodes: {why}")
            return None
        for name in sorted(wanted):
            for key, value in _asked(wanted[name]["document"]).items():
                if value <= node[key]:
                    continue
                text = (
                    f"vacuum_machinetypes.{name}.{key}: {value} is more than any node of the pool has "
                    f"(the most is {node[key]})"
                )
                if not wanted[name].get("of_pipe"):
                    raise InvalidContent(text, "lower it, or add a larger node first")
                self.module.warn(f"{text}: its VMs wait until there is such a node")
        return node

    def contents(self, wanted: dict[str, Any], differing: set[str]) -> None:
        """Let condor_vac read all machinetypes, and HTCondor those that change. Raises InvalidContent."""
        if not wanted:
            return
        if self.module.check_mode and self.command.find(CLI) is None:
            self.module.warn("machinetypes are not checked: condor_vac is not installed yet")
            return
        self.command.require(CLI, INSTALL_CLI)
        with tempfile.TemporaryDirectory(dir=self.module.tmpdir) as stage:
            for name in sorted(wanted):
                self._stage(stage, name, wanted[name])
            paths = {name: f"{stage}/{name}.json" for name in sorted(wanted)}
            answer = self.command.run([CLI, "machinetype", "--submit", "--json", *paths.values()], ok=None)
            if not answer.ok:
                raise InvalidContent(_named(answer.complaint(), stage), "nothing was changed")
            described = json.loads(answer.stdout)
        for name in sorted(differing):
            self._parse(name, described[name])

    def _stage(self, stage: str, name: str, data: dict[str, Any]) -> None:
        """The machinetype's files as they are to be, with paths that lead to one another in *stage*."""
        text = json.dumps(data["document"]).replace(f'"{self.directory}/', f'"{stage}/')
        for file, content in {
            f"{name}.json": text.encode(),
            **{file: base64.b64decode(part["content"]) for file, part in data["files"].items()},
        }.items():
            with open(f"{stage}/{file}", "wb") as stream:
                stream.write(content)

    def _parse(self, name: str, commands: dict[str, str]) -> None:
        """Let condor_submit read the description of the VMs' jobs, without submitting. Raises InvalidContent."""
        submit = self.command.find("condor_submit")
        if submit is None and self.module.check_mode:
            self.module.warn("submit descriptions are not checked: HTCondor is not installed yet")
            return
        submit = self.command.require("condor_submit", INSTALL)
        argv = [submit, "-disable", "-dry-run", "/dev/null", "-"]
        answer = self.command.run(argv, stdin=submit_text(commands), ok=None, cwd="/", timeout=60)
        if not answer.ok:
            raise InvalidContent(
                f"vacuum_machinetypes.{name}: HTCondor refuses its VMs' submit description: {answer.complaint()}",
                "nothing was changed",
            )


def _asked(document: dict[str, Any]) -> dict[str, int]:
    """The memory_mb and processors of one VM, as far as they are numbers; defaults are those of the key table."""
    processors = document.get("processors", 1)
    memory = document.get("memory_mb")
    if memory is None and isinstance(processors, int):
        each = document.get("memory_mb_per_processor", MEMORY_MB_PER_PROCESSOR)
        memory = processors * each if isinstance(each, int) else None
    found = {"memory_mb": memory, "processors": processors}
    return {key: value for key, value in found.items() if isinstance(value, int)}


def largest_node(command: Command) -> tuple[dict[str, int] | None, str]:
    """The most memory_mb and processors that any node has; None, and why, if that is unknown."""
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


def _named(complaint: str, stage: str) -> str:
    """What condor_vac reported about a staged file, in the words of the inventory."""
    text = re.sub(rf"^condor_vac machinetype: |(?<=: ){re.escape(stage)}/", "", complaint)
    text = text.replace(f"{stage}/", "")
    return re.sub(rf"^({MACHINETYPE_NAME})\.json: ", r"vacuum_machinetypes.\1.", text)
