# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The programs that an installed tree offers to HTCondor, libvirt and people: paths and scripts."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import FileError
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import (
    CLI,
    EXIT_HOOK,
    FACTORY_PROGRAM,
    LEASE_PROGRAM,
    LIBVIRT_HOOK,
    PREPARE_HOOK,
    WATCH_PROGRAM,
    XML_SCRIPT,
)

# The job hooks, the XML script, the lease helper and the VM watch are the worker node's; the
# scheduler-universe job is the access point's; the command line is for both.
SETS: dict[str, dict[str, str]] = {
    "worker": {
        PREPARE_HOOK: "condor_vac.worker.programs.prepare_hook",
        EXIT_HOOK: "condor_vac.worker.programs.exit_hook",
        XML_SCRIPT: "condor_vac.worker.programs.xml_script",
        LEASE_PROGRAM: "condor_vac.worker.programs.lease_helper",
        WATCH_PROGRAM: "condor_vac.worker.programs.watch",
        LIBVIRT_HOOK: "condor_vac.worker.programs.libvirt_hook",
    },
    "factory": {FACTORY_PROGRAM: "condor_vac.cli.factory"},
    "cli": {CLI: "condor_vac.cli.dispatch"},
}

# What the tree has for people who type at a terminal: path → file of the tree to which a link there leads, through
# ``current``, so that it changes with the programs.
DOCUMENTS: dict[str, dict[str, str]] = {
    "cli": {
        "/usr/local/share/man/man8/condor_vac.8": "share/condor_vac.8",
        "/usr/local/share/bash-completion/completions/condor_vac": "share/condor_vac.bash",
    }
}

# realpath, not the link itself: a program that imports late must not mix two versions after a switch.
SCRIPT = """\
#!{interpreter} -I{more}
# SPDX-License-Identifier: GPL-3.0-or-later
# Installed by vacuum.htcondor.programs, which overwrites changes.
import os
import sys
{guard}
sys.path.insert(0, os.path.realpath("{current}"))

from {module} import main  # noqa: E402

sys.exit(main({arguments}))
"""

# What a program does before it imports anything of the package.
GUARDS = {
    # libvirt calls its hook five times for each VM and holds the VM meanwhile; two of the calls matter.
    "condor_vac.worker.programs.libvirt_hook": """
if sys.argv[2:4] not in (["started", "begin"], ["release", "end"]):
    sys.exit()
""",
    # On any exit code but 0 vm-gahp builds a domain of its own. What comes after the import is the module's.
    "condor_vac.worker.programs.xml_script": """

def refuse(*_):
    reason = "its programs do not run on this node; condor_vac doctor checks them"
    os_type = f"<os><type>condor_vac: {reason}</type></os>"
    print(f"<domain type='kvm'><name>condor_vac-refused</name>{os_type}</domain>", flush=True)
    os._exit(0)


sys.excepthook = refuse
""",
}


# They use the standard library alone, and a VM waits for each of them: no look for other packages (-S).
WITHOUT_SITE = frozenset(
    {
        "condor_vac.worker.programs.exit_hook",
        "condor_vac.worker.programs.libvirt_hook",
        "condor_vac.worker.programs.lease_helper",
        "condor_vac.worker.programs.xml_script",
    }
)


@dataclass(frozen=True)
class EntryPoint:
    """One program: where it is and which module of the package it runs."""

    path: str
    module: str

    def source(self, package: str) -> tuple[str, str]:
        """Relative paths in the tree, either of which provides the module: a file or a package."""
        words = self.module.split(".")[1:]
        return "/".join([package, *words]) + ".py", "/".join([package, *words, "__init__.py"])

    def script(self, interpreter: str, current: str) -> str:
        """The text of the program. Isolated (-I), so that nothing of a job's environment counts."""
        arguments = "sys.argv[1:]" if self.module == "condor_vac.cli.dispatch" else ""
        guard = GUARDS.get(self.module, "")
        more = "S" if self.module in WITHOUT_SITE else ""
        return SCRIPT.format(
            interpreter=interpreter, more=more, current=current, module=self.module, arguments=arguments, guard=guard
        )


def select(names: list[str], root: str = "") -> list[EntryPoint]:
    """The entry points of the named sets, sorted by path; *root* is put before each path."""
    table = {path: module for name in names for path, module in SETS[name].items()}
    return [EntryPoint(root + path, module) for path, module in sorted(table.items())]


def documents(names: Iterable[str], root: str = "") -> dict[str, str]:
    """The documents of the named sets; *root* is put before each path."""
    return {root + path: source for name in names for path, source in DOCUMENTS.get(name, {}).items()}


def paths() -> set[str]:
    """The path of every entry point of every set."""
    return {path for table in SETS.values() for path in table}


def refuse_unsafe_directory(path: str, trusted: frozenset[int]) -> None:
    """Raise FileError if programs in *path* could be replaced by another user, or could not be executed.

    HTCondor refuses a hook in a world-writable directory (validateHookPath in condor_utils/hook_utils.cpp); a
    replaceable ancestor is the same hole one level up. A directory that does not exist yet is judged by the
    ancestors it will be made in.
    """
    existing = os.path.realpath(path)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if os.statvfs(existing).f_flag & os.ST_NOEXEC:
        raise FileError(f"{existing} is on a file system mounted noexec", "remount it with exec")
    directory = existing
    while True:
        _refuse_unsafe(directory, trusted, sticky_is_safe=directory != os.path.realpath(path))
        if directory == "/":
            return
        directory = os.path.dirname(directory)


def _refuse_unsafe(directory: str, trusted: frozenset[int], *, sticky_is_safe: bool) -> None:
    status = os.stat(directory)
    if status.st_uid not in trusted:
        raise FileError(
            f"{directory} belongs to uid {status.st_uid}, who could replace root's programs in it",
            f"chown root {directory}",
        )
    if status.st_mode & stat.S_IWOTH and not (sticky_is_safe and status.st_mode & stat.S_ISVTX):
        raise FileError(f"{directory} is world-writable, HTCondor refuses hooks there", f"chmod o-w {directory}")
