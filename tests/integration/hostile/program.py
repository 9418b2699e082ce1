# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one of the node's programs as its own process: ``python program.py BASE UID GID MODULE [ARGUMENT...]``.

The program is the real one; only where it finds settings, leases and the system's tools is below BASE, since a
machine that runs tests has no NFS server and no libvirt. It starts as root, whose Python others need not be able
to read, and is the user for good before the program begins.

With SWAP=N in the environment a link to SWAP_TO takes the place of ``joboutputs`` in the directory SANDBOX just
before the program's step N about it (from 0), as the job's user could do it at that moment. SWAP_LOG is a file that
grows by one byte a step.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))

from condor_vac.base import tools
from condor_vac.worker import settings, shutdown_plan
from condor_vac.worker.lease import console, grant
from condor_vac.worker.lease import store as lease_store

# What the programs import where they need it.
LATE = (
    "argparse",
    "decimal",
    "socket",
    "subprocess",
    "syslog",
    "traceback",
    "urllib.parse",
    "condor_vac.worker.vm.ending",
    "condor_vac.worker.vm.user_proxy",
)


# What the program does to directories, and the tools that it starts.
STEPS = {"open", "os.mkdir", "os.chmod", "os.chown", "os.rename", "os.rmdir", "os.remove", "subprocess.Popen"}


def _swap_at(step: int, sandbox: Path, target: str, log: Path) -> None:
    """Do as the job's user might, before the so-many-th step that is about a directory in the sandbox."""
    busy = False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal busy
        if busy or event not in STEPS or "joboutputs" not in repr(arguments):
            return
        busy = True
        if log.stat().st_size == step:
            name = sandbox / "joboutputs"
            with contextlib.suppress(FileNotFoundError):
                name.rename(sandbox / "aside")
            name.symlink_to(target)
        # In a file, since part of the steps are a child's.
        with log.open("a") as stream:
            stream.write("x")
        busy = False

    sys.addaudithook(hook)


def _warm_up() -> None:
    """Import what the programs import at first use."""
    for name in LATE:
        importlib.import_module(name)


def main() -> int:
    """Point the modules at BASE and run the program; its exit code."""
    base, uid, gid, name = sys.argv[1:5]
    tools.SYSTEM_PATH = f"{base}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    settings.load.__defaults__ = (f"{base}/worker.json",)
    lease_store.Store.__init__.__defaults__ = (f"{base}/run",)
    # The machine does not know the tests' users; sudo asks for the caller's name in the same place.
    vars(grant)["user_name"] = lambda uid: "alice" if uid == int(os.environ.get("ALICE", "-1")) else "vac"
    vars(shutdown_plan)["RUN_DIRECTORY"] = f"{base}/run"
    for function in (console.path, console.orphans):
        function.__defaults__ = (f"{base}/console",)
    sys.argv = [name, *sys.argv[5:]]
    module = importlib.import_module(name)
    _warm_up()
    if uid != "0":
        os.setgroups([])
        os.setresgid(int(gid), int(gid), int(gid))
        os.setresuid(int(uid), int(uid), int(uid))
    if "SWAP" in os.environ:
        _swap_at(
            int(os.environ["SWAP"]),
            Path(os.environ["SANDBOX"]),
            os.environ["SWAP_TO"],
            Path(os.environ["SWAP_LOG"]),
        )
    return int(module.main())


sys.exit(main())
