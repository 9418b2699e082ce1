# SPDX-License-Identifier: GPL-3.0-or-later
"""SSH to the lab's nodes: to machines over the host's loopback interface, to containers over a unix socket.

How each node is reached stands in one ssh_config of the lab, which serves ssh, Ansible, molecule and testinfra.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import state
from .paths import SOURCE, LabError, cache_dir, lab_dir, locked, write_atomically
from .state import Node

# A name's node changes from day to day, and the way leads over this host only.
_ALL = """\
Host *
  User root
  IdentityFile "{key}"
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  GlobalKnownHostsFile /dev/null
  GSSAPIAuthentication no
  ForwardAgent no
  LogLevel ERROR
"""


def private_key() -> Path:
    """Return the labs' own key, made on first use."""
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
    """Return the public half of the labs' key."""
    return private_key().with_suffix(".pub").read_text("utf-8")


def config_path() -> Path:
    """Where the lab's ssh_config is."""
    return lab_dir() / "ssh_config"


def write_config() -> None:
    """Write the ssh_config for every recorded node."""
    with locked("ssh", lab_dir()):
        blocks = [_block(node) for node in state.load_all()]
        write_atomically(config_path(), "".join([*blocks, _ALL.format(key=private_key())]))


def _block(node: Node) -> str:
    lines = [f"Host {node.name} {node.alias}"]
    if node.kind == "machine":
        lines += ["HostName 127.0.0.1", f"Port {node.ssh_port}"]
    else:
        # ssh's tokens begin with a percent sign.
        words = [sys.executable, "-I", str(SOURCE / "fdpass.py"), str(node.directory / "export/ssh")]
        quoted = " ".join(f"'{word}'" for word in words).replace("%", "%%")
        lines += [f"ProxyCommand {quoted}", "ProxyUseFdpass yes"]
    return "\n  ".join(lines) + "\n"


def command(node: Node, *words: str, options: Sequence[str] = ()) -> list[str]:
    """Return the ssh command that runs `words` (or a login shell) on the node as root."""
    return ["ssh", "-F", str(config_path()), *options, node.alias, *words]


def run(node: Node, script: str, stdin: str = "") -> str:
    """Run a shell script on the node and return its output; raises LabError if it fails."""
    done = subprocess.run(
        command(node, script, options=("-o", "ConnectTimeout=60")),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(f"{node.name}: {script!r} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def answers(node: Node) -> bool:
    """Tell whether the node lets us in."""
    attempt = command(node, "true", options=("-o", "ConnectTimeout=10", "-o", "BatchMode=yes"))
    try:
        done = subprocess.run(attempt, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
