# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's HTCondor 23.9.6: configuration files, condor_config_val, and the daemons below one condor_master.

Everything printed has the form that was recorded from the real tools (a lab machine and a native pool). Time
is virtual: `sleep` lets the daemons go on.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.unit.plugins.harness import Answer

EXCLUDE = (
    r"^((\..*)|(.*\.pl)|(.*\.py)|(.*\.sh)|(.*~)|(#.*)|(.*\.rpmsave)|(.*\.rpmnew)|(.*\.dpkg-old)|(.*\.dpkg-dist)"
    r"|(.*\.cfsaved))$"
)
# What HTCondor knows by itself: value, type.
DEFAULTS = {
    "CONSUMPTION_POLICY": ("false", "BOOL"),
    "DAEMON_LIST": ("MASTER", "STRING"),
    "LOCAL_CONFIG_DIR": ("", "STRING"),
    "LOCAL_CONFIG_DIR_EXCLUDE_REGEXP": (EXCLUDE, "STRING"),
    "LOG": ("/var/log/condor", "PATH"),
    "NUM_CPUS": ("$(DETECTED_CPUS_LIMIT)", "INT"),
    # Which has no default, and is a word of the startd.
    "NUM_CLAIMS": ("", "INT"),
    "SLEEP_JITTER": ("$RANDOM_INTEGER(1,9)", "INT"),
    "SLOT_WEIGHT": ("Cpus", "STRING"),
    "START": ("True", "STRING"),
    "UPDATE_INTERVAL": ("300", "INT"),
    "USE_SHARED_PORT": ("true", "BOOL"),
    "VM_MEMORY": ("0", "INT"),
    "VM_TYPE": ("", "STRING"),
}
BAD_KNOB = (
    "Error: use feature: does not recognise {knob}\n"
    'Config source Error "{file}", Line {line}: at use feature:{knob}\n'
    "Configuration Error Line {line} while reading config source {file}\n"
)
BAD_LINE = "Configuration Error Line {line} while reading config source {file}\n"
ADDRESS = "<10.77.0.11:9618?addrs=10.77.0.11-9618&alias=box.lab&noUDP&sock={}>"


class ConfigError(Exception):
    """The configuration does not load; the text is condor_config_val's."""


class CondorNode:
    """Stands in for the node's programs: call it with argv and stdin."""

    def __init__(self, root: Path, daemons: tuple[str, ...] = ("STARTD",)) -> None:
        self.root = root
        self.pending_file = str(root / "run" / "pending.json")
        self.directory = root / "config.d"
        self.directory.mkdir()
        self.main = root / "condor_config"
        self.main.write_text(f"LOCAL_CONFIG_DIR = {self.directory}\nDAEMON_LIST = MASTER {' '.join(daemons)}\n")
        self.pids = {name: 500 + number for number, name in enumerate(("MASTER", "SHARED_PORT", *daemons))}
        self.states = dict.fromkeys(self.pids, "Alive")
        self.next_pid = 1000
        self.vms: list[dict[str, Any]] = []
        self.vm_seconds = 10**9
        self.restarting: set[str] = set()
        self.stopping = False
        self.deadly = ""
        self.refusal = ""
        self.by_service = True
        self.log: list[str] = []
        self.now = 0.0

    # --- time

    def monotonic(self) -> float:
        """The virtual clock."""
        self.now += 0.01
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass: VMs end, daemons that wait for them go on."""
        self.now += seconds
        self.vm_seconds -= int(seconds)
        if self.vm_seconds <= 0:
            self.vms = []
        if not self.vms and (self.restarting or self.stopping):
            self._startd_goes()

    def _startd_goes(self) -> None:
        """It exits: off if it was switched off, else started anew (masterDaemon.cpp, daemon::Exited)."""
        if self.stopping:
            self.states["STARTD"], self.pids["STARTD"] = "Hold", 0
        else:
            self.start("STARTD")
        self.restarting.clear()
        self.stopping = False

    def start(self, name: str) -> None:
        """A daemon is started anew."""
        self.next_pid += 1
        self.pids[name], self.states[name] = self.next_pid, "Alive"

    def kill(self, pid: int, number: int) -> None:
        """Replaces os.kill: SIGHUP to the master is a reconfig; a daemon dies of a configuration with ``deadly``."""
        assert (pid, number) == (self.pids["MASTER"], 1)
        self.log.append("reconfig")
        text = "".join(path.read_text() for path in self.directory.iterdir())
        if self.deadly and self.deadly in text:
            self.states["STARTD"], self.pids["STARTD"] = "Dead", 0
        elif self.states.get("STARTD") == "Dead":
            self.start("STARTD")

    # --- programs

    def __call__(self, argv: list[str], _stdin: str | None) -> Answer:
        program = argv[0].rsplit("/", 1)[1]
        answer: Answer = getattr(self, program)(argv[1:])
        return answer

    def condor_who(self, _words: list[str]) -> Answer:
        if not self.pids:
            return 1, "", ""
        up = all(state in ("Alive", "Hold", "Shutdown,Peaceful") for state in self.states.values())
        lines = [f"IsReady = {str(up).lower()}"]
        for name, state in self.states.items():
            lines += [f'{name} = "{state}"', f"{name}_PID = {self.pids[name]}"]
            if self.pids[name]:
                lines.append(f'{name}_Addr = "{ADDRESS.format(name.lower())}"')
        if self.pids.get("STARTD"):
            lines.append('STARTD_State = "Ready"')
        return 0, "\n".join(lines) + "\n", ""

    def systemctl(self, words: list[str]) -> Answer:
        if words[0] == "show":
            assert words[1:] == ["--property=MainPID", "--value", "condor.service"]
            return 0, f"{self.pids['MASTER'] if self.by_service else 0}\n", ""
        self.log.append(f"systemctl {' '.join(words)}")
        wanted = re.search(r"DAEMON_LIST = (.*)", self.main.read_text())
        assert wanted
        self.pids = {name: 0 for name in [*wanted[1].split(), "SHARED_PORT"]}
        for name in self.pids:
            self.start(name)
        return 0, "", ""

    def condor_status(self, words: list[str]) -> Answer:
        assert words[:2] == ["-direct", ADDRESS.format("startd")]
        slots = [{"Name": "slot1@box.lab", "SlotType": "Partitionable", "State": "Unclaimed", "Activity": "Idle"}]
        return 0, json.dumps(slots + self.vms), ""

    def condor_ping(self, words: list[str]) -> Answer:
        assert words == ["-verbose", "-type", "startd", "ADMINISTRATOR"]
        return (1, f"ADMINISTRATOR failed!\n{self.refusal}\n", "") if self.refusal else (0, "Authorized: TRUE\n", "")

    def condor_restart(self, words: list[str]) -> Answer:
        if self.refusal:
            return 1, "", f"ERROR\n{self.refusal}\nCan't send Kill-Daemon-Peacefully command to local startd\n"
        self.log.append(f"restart {' '.join(words)}")
        manner, what = words
        if manner == "-peaceful":
            self.restarting.add("STARTD")
            self.stopping = False
            self.states["STARTD"] = "Shutdown,Peaceful"
        elif what == "-master":
            self.vms = []
            for name in [name for name in self.pids if name != "MASTER"]:
                self.start(name)  # those that were switched off as well: the new master does not know
        else:
            self.vms = [] if what == "-startd" else self.vms
            self.start(what[1:].upper())
        return 0, f'Sent "Restart" command for "{what[1:]}" to local master\n', ""

    def condor_off(self, words: list[str]) -> Answer:
        self.log.append(f"off {' '.join(words)}")
        if words[0] == "-fast":
            self.vms = []
        self.stopping = True
        self.states["STARTD"] = "Shutdown,Peaceful"
        return 0, "", ""

    def condor_on(self, words: list[str]) -> Answer:
        self.log.append(f"on {words[0]}")
        name = words[0][1:].upper()
        if self.pids[name]:  # it has not ended yet: it will be started anew when it has
            self.stopping = False
            self.restarting.add(name)
        else:
            self.start(name)
        return 0, f'Sent "Spawn-Daemon" command for "{words[0][1:]}" to local master\n', ""

    def classad_eval(self, words: list[str]) -> Answer:
        text = words[-1]
        if text.count("(") == text.count(")"):
            # With assignments before it the expression is a slot's weight.
            return 0, "undefined\n" if len(words) == 2 else "8\n", ""
        return 1, "", f"Unable to turn '{text}' into a ClassAd or an expression.\n"

    def condor_config_val(self, words: list[str]) -> Answer:
        root = self.main
        if words[0] == "-root-config":
            root, words = Path(words[1]), words[2:]
        try:
            found = self._load(root)
        except ConfigError as error:
            return 1, "", str(error)
        if words == ["-config"]:
            return 0, f"\t{root}\n", "Configuration source:\n\n"
        if len(words) == 1:
            return 0, f"{found[words[0]][0] if words[0] in found else DEFAULTS[words[0]][0]}\n", ""
        assert words == ["-dump", "-verbose:type"]
        return 0, self._dump(found), ""

    # --- configuration

    def _load(self, root: Path) -> dict[str, tuple[str, str, int]]:
        found: dict[str, tuple[str, str, int]] = {}
        self._read(root, found)
        for word in found["LOCAL_CONFIG_DIR"][0].split(","):
            for path in sorted(Path(word).iterdir()):
                if not re.match(EXCLUDE, path.name):
                    self._read(path, found)
        return found

    def _read(self, path: Path, found: dict[str, tuple[str, str, int]]) -> None:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            include = re.fullmatch(r"include : (\S+)", line)
            use = re.fullmatch(r"use feature ?: ?(\w+)", line)
            setting = re.fullmatch(r"([\w.]+) = ?(.*)", line)
            if include:
                self._read(Path(include.group(1)), found)
            elif line == "use role:get_htcondor_execute":  # from HTCondor 24 on, a variable that no program reads
                found["SECURITY_MODEL"] = ("24.0", str(path), number)
            elif use and use.group(1) != "PartitionableSlot":
                raise ConfigError(BAD_KNOB.format(knob=use.group(1), file=path, line=number))
            elif setting:
                found[setting.group(1)] = (setting.group(2), str(path), number)
            elif line.strip() and not line.startswith("#") and not use:
                raise ConfigError(BAD_LINE.format(file=path, line=number))

    def _dump(self, found: dict[str, tuple[str, str, int]]) -> str:
        lines = ["# Configuration from machine: box.lab"]
        for name in sorted({*found, *DEFAULTS}):
            if name in found:
                raw, path, number = found[name]
                lines += self._entry(name, raw, f"{path}, line {number}", DEFAULTS.get(name, ("", "STRING"))[1])
            if name in DEFAULTS:
                lines += self._entry(name, DEFAULTS[name][0], "<Default>, item 7", DEFAULTS[name][1])
        return "\n".join([*lines, f"{len(found)} items"]) + "\n"

    @staticmethod
    def _entry(name: str, raw: str, place: str, kind: str) -> list[str]:
        expanded = [f" # expanded: {raw.replace('$(DETECTED_CPUS_LIMIT)', '2')}"] if raw else []
        return [f"{name} = {raw}", f" # at: {place}", *expanded, f" # type: {kind}", " # use_count: 0"]


def running_vm(number: int, universe: int = 13, state: str = "Claimed") -> dict[str, Any]:
    """A dynamic slot with a job in it."""
    return {
        "Name": f"slot1_{number}@box.lab",
        "SlotType": "Dynamic",
        "State": state,
        "Activity": "Busy",
        "JobUniverse": universe,
        "JobId": f"{number}.0",
        "RemoteOwner": "vac@lab",
    }
