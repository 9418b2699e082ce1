# SPDX-License-Identifier: GPL-3.0-or-later
"""SSH to the lab's machines over the host's loopback interface."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from .paths import LabError, cache_dir, locked
from .state import Machine

# The port's machine changes from day to day and the way leads over loopback only.
OPTIONS = (
    "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null",
    "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-o", "GSSAPIAuthentication=no", "-o", "ForwardAgent=no",
)  # fmt: skip


def private_key() -> Path:
    """Return the lab's own key, made on first use."""
    path = cache_dir() / "id_ed25519"
    with locked("key"):
        if not path.exists():
            for stale in (path.with_suffix(".new"), path.with_suffix(".new.pub")):
                stale.unlink(missing_ok=True)
            new = path.with_suffix(".new")
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(new)], check=True)
            new.with_suffix(".new.pub").rename(path.with_suffix(".pub"))
            new.rename(path)
    return path


def public_key() -> str:
    """Return the public half of the lab's key."""
    return private_key().with_suffix(".pub").read_text("utf-8")


def command(machine: Machine, *words: str, options: Sequence[str] = ()) -> list[str]:
    """Return the ssh command that runs `words` (or a login shell) on the machine as root."""
    return [
        "ssh", "-F", "none", "-i", str(private_key()), *OPTIONS, *options,
        "-p", str(machine.ssh_port), "root@127.0.0.1", *words,
    ]  # fmt: skip


def run(machine: Machine, script: str, stdin: str = "") -> str:
    """Run a shell script on the machine and return its output; raises LabError if it fails."""
    done = subprocess.run(
        command(machine, script, options=("-o", "ConnectTimeout=30")),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(f"{machine.name}: {script!r} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def answers(machine: Machine) -> bool:
    """Tell whether the machine lets us in."""
    attempt = command(machine, "true", options=("-o", "ConnectTimeout=10", "-o", "BatchMode=yes"))
    return subprocess.run(attempt, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
