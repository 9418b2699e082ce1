# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks share: the node's files, its settings, and short questions to systemd and libvirt."""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import stat
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from condor_vac.base import fields, tools
from condor_vac.base.errors import VacError
from condor_vac.base.findings import Finding
from condor_vac.base.shared import (
    FACTORY_PROGRAM,
    FILES_RECORD,
    LIBVIRT_HOOK,
    MACHINETYPES_DIRECTORY,
    PREPARE_HOOK,
    one_line,
)
from condor_vac.worker import libvirt, startd
from condor_vac.worker import settings as settings_module
from condor_vac.worker.settings import Settings

SETTINGS = settings_module.PATH
CONVERGE = "run the site playbook for this node"
TIMEOUT_SECONDS = 60.0
UNIT_PROPERTIES = "LoadState,ActiveState,UnitFileState,After,Result,NeedDaemonReload,InactiveExitTimestampMonotonic"
# Characters that are read of a text file; a log may be longer.
TEXT_LIMIT = 1 << 24
_PIECE = 1 << 16
# What one check may take, all checks together, and one of them where the others have taken that: a file system or a
# program that hangs holds up its own check alone.
CHECK_SECONDS = 180.0
ALL_SECONDS = 600.0
LEAST_SECONDS = 20.0
_CONDOR_PATH = "/usr/lib/condor/libexec:/usr/libexec/condor"


@dataclass(frozen=True)
class Check:
    """One line of the doctor's table: the step of the set-up that it belongs to, its name, and how to look."""

    step: str
    name: str
    look: Callable[[Node], list[Finding]]

    def findings(self, node: Node) -> list[Finding]:
        """What is wrong; a check that cannot be made is a finding too."""
        try:
            return self.look(node)
        except VacError as error:
            return [Finding(f"cannot be checked: {error}", "fix this first, then run the check again")]
        except Exception as error:  # noqa: BLE001 - what breaks one check is its finding, and stops no other
            what = f"cannot be checked: {type(error).__name__}: {one_line(str(error), 200)}"
            return [Finding(what, "something here is damaged as nobody foresaw; report it with this line")]

    def findings_within(self, node: Node, seconds: float) -> list[Finding]:
        """``findings``, or that the check hangs."""
        found: list[list[Finding]] = []
        thread = threading.Thread(target=lambda: found.append(self.findings(node)), daemon=True)
        thread.start()
        thread.join(seconds)
        if found:
            return found[0]
        remedy = "see which program or file system does not answer (ps axo pid,stat,wchan,args), then run it again"
        return [Finding(f"cannot be checked: it hangs, for {seconds:.0f} s now", remedy)]


Value = TypeVar("Value")


class Once(Generic[Value]):
    """A property that is found once. Where that hangs in a thread it holds no lock that others wait for, as the one of
    functools did before Python 3.12."""

    def __init__(self, find: Callable[[Any], Value]) -> None:
        self._find = find
        self.__doc__ = find.__doc__

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, node: Any, _owner: type | None = None) -> Value:
        if self._name not in vars(node):
            vars(node)[self._name] = self._find(node)
        found: Value = vars(node)[self._name]
        return found


class Node:
    """This machine; everything that several checks ask for is asked once. ``root`` goes before every path."""

    def __init__(self, root: str = "") -> None:
        self.root = root

    def path(self, name: str) -> str:
        """The absolute path of a file of the node."""
        return self.root + name

    @Once
    def owner(self) -> int:
        """The uid that counts as root's: root's own, or in a test who made the directory."""
        return os.stat(self.root).st_uid if self.root else 0

    @property
    def is_worker(self) -> bool:
        """Whether anything of a worker node's is here: a single file that is gone is for the checks to report."""
        return any(os.path.lexists(self.path(name)) for name in (SETTINGS, FILES_RECORD, LIBVIRT_HOOK, PREPARE_HOOK))

    @property
    def is_access_point(self) -> bool:
        """Whether this machine has factories."""
        return any(os.path.lexists(self.path(name)) for name in (MACHINETYPES_DIRECTORY, FACTORY_PROGRAM))

    def room(self, directory: str) -> tuple[int, int | None]:
        """Bytes and files that a directory's file system has room for; None if it counts no files. Raises OSError."""
        status = os.statvfs(self.path(directory))
        return status.f_bavail * status.f_frsize, status.f_favail if status.f_files else None

    def text(self, name: str) -> str:
        """A text file of the node; empty if it is not there. Raises VacError if it cannot be read."""
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as stream:
                # The kernel makes room for as much as is asked of a file below /proc/sys, and refuses megabytes.
                pieces = iter(functools.partial(stream.read, _PIECE), "")
                return "".join(itertools.islice(pieces, TEXT_LIMIT // _PIECE))
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise VacError(f"{name}: {error.strerror}") from error

    @Once
    def settings(self) -> Settings:
        """The node's settings. Raises VacError."""
        return settings_module.load(self.path(SETTINGS))

    @property
    def emulation(self) -> bool:
        """Whether VMs may be emulated here; not where the settings cannot be read, which another check reports."""
        try:
            return self.settings.emulation
        except VacError:
            return False

    def table(self, name: str) -> dict[str, str]:
        """A JSON file of the node that maps names to words. Raises VacError."""
        found = fields.load_object(self.path(name))
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise VacError(f"{name}: is not a table of names and words; {CONVERGE}")
        return found

    def unit(self, name: str) -> dict[str, str]:
        """What `UNIT_PROPERTIES` names, of a systemd unit that is there."""
        output = tools.run(["systemctl", "show", f"--property={UNIT_PROPERTIES}", name], timeout=TIMEOUT_SECONDS)
        return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)

    @Once
    def libvirt_unit(self) -> str:
        """The unit of libvirt's daemon for QEMU: the monolithic one, or the modular one of Enterprise Linux."""
        for name in ("libvirtd.service", "virtqemud.service"):
            unit = self.unit(name)
            if unit.get("LoadState") == "loaded" and unit.get("UnitFileState") != "disabled":
                return name
        return "libvirtd.service"

    def virsh(self, *words: str) -> str:
        """What libvirt answers. Raises ToolError."""
        return tools.run(["virsh", "-q", "-c", libvirt.URI, *words], timeout=TIMEOUT_SECONDS)

    @Once
    def knobs(self) -> dict[str, str]:
        """HTCondor's whole configuration, expanded, by lower-case name. Raises VacError."""
        output = tools.run(["condor_config_val", "-dump", "-expand"], timeout=TIMEOUT_SECONDS)
        pairs = (line.partition(" = ") for line in output.splitlines() if not line.startswith("#"))
        return {name.strip().lower(): value.strip() for name, equals, value in pairs if equals}

    @Once
    def slot(self) -> dict[str, Any]:
        """The startd's own ad of its (partitionable) slot. Raises VacError."""
        return startd.slot(self.master)

    @Once
    def master(self) -> dict[str, str]:
        """The master's ad of its daemons; empty if no condor_master runs. Raises VacError."""
        return startd.daemons()


def unit_findings(node: Node, name: str, *, enabled: bool = True) -> list[Finding]:
    """Whether a unit is there, runs, and will run after a reboot."""
    unit = node.unit(name)
    if unit.get("LoadState") != "loaded":
        state = "masked" if unit.get("LoadState") == "masked" else "not there"
        return [Finding(f"{name} is {state}", CONVERGE if state == "not there" else f"systemctl unmask {name}")]
    found = []
    if unit.get("ActiveState") != "active":
        remedy = f"systemctl start {name}; if it fails, journalctl -u {name}"
        found.append(Finding(f"{name} is {unit.get('ActiveState')}", remedy))
    if enabled and unit.get("UnitFileState") not in {"enabled", "static", "generated", "alias", "indirect"}:
        found.append(Finding(f"{name} does not start with the node", f"systemctl enable {name}"))
    if unit.get("NeedDaemonReload") == "yes":
        found.append(Finding(f"systemd has not read the current files of {name}", "systemctl daemon-reload"))
    return found


def replaceable(path: str, owner: int) -> str:
    """Why another user than root could replace what is at ``path``; empty if none could.

    HTCondor refuses a hook that is world-writable or in such a directory (validateHookPath in
    condor_utils/hook_utils.cpp); an ancestor that others can write to is the same hole one level up.
    """
    try:
        status = os.lstat(path)
    except OSError as error:
        return f"{path}: {error.strerror}"
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in {0, owner}:
        return f"{path} belongs to uid {status.st_uid}"
    sticky = stat.S_ISDIR(status.st_mode) and mode & stat.S_ISVTX
    if mode & stat.S_IWOTH and not sticky and not stat.S_ISLNK(status.st_mode):
        return f"{path} is world-writable (mode {mode:04o})"
    if mode & stat.S_IWGRP and status.st_gid != 0 and not stat.S_ISLNK(status.st_mode):
        return f"{path} is writable by group {status.st_gid} (mode {mode:04o})"
    parent = os.path.dirname(path)
    return "" if parent == path else replaceable(parent, owner)


def program(name: str, more: Sequence[str] = ()) -> str | None:
    """The path of one of the system's or HTCondor's own programs."""
    return shutil.which(name, path=":".join([tools.SYSTEM_PATH, _CONDOR_PATH, *more]))
