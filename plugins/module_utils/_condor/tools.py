# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One node's HTCondor through its own tools: configuration, daemons, slots."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils import _json_text
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command, Result
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import CommandError, ModuleError
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import Universe, one_line

INSTALL = "install HTCondor on the node first (package condor)"
MASTER_TRIES = 3
SERVICE = "condor.service"
# What HTCondor's tools print where a daemon refuses who they say they are, and what a site can do.
DENIED = '"DENIED"'
ALLOW = (
    "the user that is named is root as HTCondor knows it here, and ALLOW_ADMINISTRATOR has to name it: add "
    "ALLOW_ADMINISTRATOR = $(ALLOW_ADMINISTRATOR) condor@$(UID_DOMAIN) to a file of the site, then systemctl reload "
    "condor; condor_ping -verbose -type startd ADMINISTRATOR shows whether that is enough"
)
BY_FILE_SYSTEM = {"_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS": "FS"}
SLOT_ATTRIBUTES = "Name,State,Activity,JobUniverse,JobId,GlobalJobId,RemoteOwner,SlotType,EnteredCurrentState"

_KNOB = re.compile(r"^([^\s=#][^=]*?) = ?(.*)$")
_META = re.compile(r"^ # (at|expanded|raw|default|type|use_count|eval): ?(.*)$")
_LINE = re.compile(r"^(.*), (?:line|item) (\d+)$")


@dataclass(frozen=True)
class Knob:
    """One configuration variable as condor_config_val reads it.

    ``source`` is a file, or ``<Default>``, ``<Detected>``, ``<Environment>``; ``default`` is None if HTCondor
    itself does not know the name; ``type`` is STRING, INT, BOOL, DOUBLE, LONG, PATH or ENUM.
    """

    name: str
    raw: str
    expanded: str
    source: str
    line: int = 0
    type: str = "STRING"
    default: str | None = None

    @property
    def from_file(self) -> bool:
        """Whether a configuration file set it."""
        return not self.source.startswith("<")


@dataclass(frozen=True)
class Configuration:
    """Everything condor_config_val reads from one root configuration; keys are lower-case names."""

    knobs: dict[str, Knob] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)

    def value(self, name: str) -> str:
        """The expanded value; empty if it is not defined."""
        knob = self.knobs.get(name.lower())
        return knob.expanded if knob else ""


def parse_dump(text: str) -> Configuration:
    """Read ``condor_config_val -dump -verbose:type``: a set knob is followed by its default, if any."""
    entries: list[tuple[str, str, dict[str, str]]] = []
    for line in text.splitlines():
        meta, start = _META.match(line), _KNOB.match(line)
        if meta and entries:
            entries[-1][2].setdefault(meta.group(1), meta.group(2))
        elif start and (not entries or entries[-1][2]):
            entries.append((start.group(1), start.group(2), {}))
        elif entries and not entries[-1][2] and not line.startswith("#"):
            name, value, metas = entries[-1]
            entries[-1] = (name, f"{value}\n{line}", metas)  # a further line of a multi-line value
    configuration = Configuration()
    for name, raw, metas in entries:
        place = metas.get("at", "")
        match = _LINE.match(place)
        source, number = (match.group(1), int(match.group(2))) if match else (place, 0)
        if source == "<Default>":
            configuration.known[name.lower()] = metas.get("type", "STRING")
            if name.lower() in configuration.knobs:
                continue
        configuration.knobs[name.lower()] = Knob(
            name,
            raw,
            metas.get("expanded", ""),
            source,
            number,
            metas.get("type", "STRING"),
            metas.get("default"),
        )
    return configuration


def parse_master(text: str) -> dict[str, Any]:
    """Read the master's readiness ad as ``condor_who -quick`` prints it; empty if there is no master."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        name, equals, value = line.partition(" = ")
        if not equals:
            continue
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value.strip()
    return found if found.get("MASTER") == "Alive" else {}


class Condor:
    """The condor_* tools of one node."""

    def __init__(self, module: AnsibleModule, environment: dict[str, str] | None = None) -> None:
        self.module = module
        self.command = Command(module, environment)
        self.by_file_system = Command(module, {**(environment or {}), **BY_FILE_SYSTEM})

    @property
    def installed(self) -> bool:
        """Whether HTCondor's tools are on the node."""
        return self.command.find("condor_config_val") is not None

    def tool(self, name: str, *arguments: str, **options: Any) -> Result:
        """Run a condor_* tool. Raises ToolMissing, CommandError."""
        path = self.command.require(name, INSTALL)
        return self.command.run([path, *arguments], **options)

    def administer(self, name: str, *arguments: str) -> Result:
        """Run a tool that commands this node's daemons, as the local root. Raises ToolMissing, CommandError.

        Left to itself the tool shows the machine's token, and HTCondor tries no other method once a token that
        is limited to its machine's part has been refused (param `use security:get_htcondor_idtokens`). A site
        whose daemons know no FS gets its own methods.
        """
        argv = [self.command.require(name, INSTALL), *arguments]
        with contextlib.suppress(CommandError):
            return self.by_file_system.run(argv)
        try:
            return self.command.run(argv)
        except CommandError as error:
            error.remedy = ALLOW if DENIED in error.message else error.remedy
            raise

    def require_administrator(self) -> None:
        """Raise ModuleError where this node's startd would refuse `administer`; that reports other failures itself."""
        path = self.command.find("condor_ping")
        if path is None:
            return
        argv = [path, "-verbose", "-type", "startd", "ADMINISTRATOR"]
        answers = []
        for command in (self.by_file_system, self.command):
            result = command.run(argv, ok=None)
            if result.ok:
                return
            answers.append(f"{result.stdout} {result.stderr}")
        refusal = next((one_line(text) for text in answers if DENIED in text), "")
        if refusal:
            raise ModuleError(f"HTCondor lets root restart no daemon here ({refusal}); nothing was changed", ALLOW)

    def configuration(self, root: str | None = None) -> Configuration:
        """The node's configuration, or the one that begins at *root*. Raises CommandError if it is bad."""
        where = ["-root-config", root] if root else []
        return parse_dump(self.tool("condor_config_val", *where, "-dump", "-verbose:type").stdout)

    def sources(self) -> list[str]:
        """The files of the node's configuration, the root first."""
        lines = self.tool("condor_config_val", "-config").stdout.splitlines()
        return [line.strip() for line in lines if line.startswith("\t")]

    def path(self, name: str) -> str:
        """The absolute path that a configuration variable names. Raises ModuleError if it is not one."""
        value = self.tool("condor_config_val", name).stdout.strip()
        if not value.startswith("/"):
            raise ModuleError(f"{name} is {value!r} in HTCondor's configuration", "set it to an absolute path")
        return value

    def master(self) -> dict[str, Any]:
        """The master's readiness ad; empty if no condor_master runs.

        On a busy node condor_who gives up before the master has answered.
        """
        for _attempt in range(MASTER_TRIES):
            found = parse_master(self.tool("condor_who", "-quick", ok=None).stdout)
            if found or not master_process():
                break
        return found

    def wait(self, expression: str, timeout: int) -> dict[str, Any]:
        """The master's ad once *expression* is true in it, or after *timeout* s (the tool exits 0 then)."""
        arguments = (f"-wait:{max(1, timeout)}", expression)
        return parse_master(self.tool("condor_who", *arguments, ok=None, timeout=timeout + 30).stdout)

    def wait_ready(self, timeout: int) -> dict[str, Any]:
        """Wait until every daemon of DAEMON_LIST that is not switched off is up, and return the master's ad.

        The master's IsReady means that the children it has started are up: in a reconfig it starts those that
        came into DAEMON_LIST a moment later, and the startd has its slots later still.
        """
        deadline = time.monotonic() + timeout
        wanted = self.daemon_list()
        while True:
            left = max(1, int(deadline - time.monotonic()))
            ready = 'IsReady && (STARTD =!= "Alive" || STARTD_State =?= "Ready")'
            ad = self.wait(ready, left)
            if (is_ready(ad) and all(f"{name}_PID" in ad for name in wanted)) or time.monotonic() >= deadline:
                return ad
            time.sleep(1)

    def restart_service(self, master: int) -> bool:
        """Restart the service of systemd whose main process this master is; False if it is not. Raises CommandError."""
        systemctl = self.command.find("systemctl")
        if systemctl is None:
            return False
        shown = self.command.run([systemctl, "show", "--property=MainPID", "--value", SERVICE], ok=None)
        if shown.stdout.strip() != str(master):
            return False
        self.command.run([systemctl, "restart", SERVICE])
        return True

    def daemon_list(self) -> list[str]:
        """The daemons that the node's configuration wants (DAEMON_LIST), in capitals."""
        return self.tool("condor_config_val", "DAEMON_LIST").stdout.replace(",", " ").upper().split()

    def slots(self, address: str, attributes: str = SLOT_ATTRIBUTES) -> list[dict[str, Any]]:
        """The slots of the startd at *address*, asked directly: a far or dead collector does not matter."""
        return parse_json(self.tool("condor_status", "-direct", address, "-json", "-attributes", attributes))

    def running_jobs(self, ad: dict[str, Any]) -> list[dict[str, Any]]:
        """The jobs on this node, of whatever universe; none if *ad* (the master's) shows that no startd runs.

        A startd without an address in it has only just been started and has taken no job yet.
        """
        if "STARTD_Addr" not in ad or not (ad.get("STARTD") == "Alive" or leaves(ad)):
            return []
        return [job_of(slot) for slot in self.slots(str(ad["STARTD_Addr"])) if has_job(slot)]


def master_process(proc: str = "/proc") -> bool:
    """Whether a condor_master is among the node's processes."""
    for name in os.listdir(proc):
        if name.isdigit():
            with contextlib.suppress(OSError), open(os.path.join(proc, name, "comm"), encoding="utf-8") as stream:
                if stream.read().strip() == "condor_master":
                    return True
    return False


def is_ready(ad: dict[str, Any]) -> bool:
    """Whether the master's ad shows that all daemons that should run are up."""
    startd_ready = ad.get("STARTD") != "Alive" or ad.get("STARTD_State") == "Ready"
    return str(ad.get("IsReady")).lower() == "true" and startd_ready


def leaves(ad: dict[str, Any], daemon: str = "STARTD") -> bool:
    """Whether a daemon will end once its jobs have: switched off or restarted, the master's ad does not show which.

    condor_master.V6/masterDaemon.cpp, ``daemon::Stopping``: Shutdown,Peaceful or another manner.
    """
    return str(ad.get(daemon)).startswith("Shutdown")


def has_job(slot: dict[str, Any]) -> bool:
    """Whether a job runs in this slot."""
    return slot.get("State") in ("Claimed", "Preempting") and "JobUniverse" in slot


def is_vm(slot: dict[str, Any]) -> bool:
    """Whether a virtual machine runs in this slot."""
    return has_job(slot) and slot.get("JobUniverse") == Universe.VM


def job_of(slot: dict[str, Any]) -> dict[str, Any]:
    """What people need to know of a running job."""
    return {
        "vm": is_vm(slot),
        "slot": slot.get("Name"),
        "job": slot.get("JobId"),
        "owner": slot.get("RemoteOwner"),
        "activity": slot.get("Activity"),
    }


def parse_json(result: Result) -> list[dict[str, Any]]:
    """The ads that a tool printed with -json; nothing at all means none. Raises CommandError.

    Who advertises an ad chose how deep a list in it nests: such a value hides no other ad.
    """
    if not result.stdout.strip():
        return []
    try:
        ads = _json_text.loads(_json_text.without_depth(result.stdout).encode())
    except ValueError as error:
        raise CommandError(f"{' '.join(result.argv)} printed no JSON ({error})", "is it HTCondor's own?") from error
    return ads if isinstance(ads, list) else [ads]


def pids(ad: dict[str, Any], daemons: Sequence[str] | None = None) -> dict[str, int]:
    """Process ids of the running daemons in a master's ad, by daemon name."""
    found = {name[:-4]: value for name, value in ad.items() if name.endswith("_PID") and isinstance(value, int)}
    return {name: pid for name, pid in found.items() if pid and (daemons is None or name in daemons)}


def require_master(ad: dict[str, Any]) -> dict[str, Any]:
    """*ad*, or ModuleError if no condor_master runs."""
    if not ad:
        raise ModuleError("no condor_master runs on this node", "start the service condor")
    return ad
