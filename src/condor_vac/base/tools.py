# SPDX-License-Identifier: GPL-3.0-or-later
"""Running other programs: found in the system's directories only, in a clean environment, never for ever.

A job hook's environment holds HTCondor's session keys, and the root helpers are called by users: nothing
of a caller's environment reaches a program that is started here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from condor_vac.base.errors import VacError
from condor_vac.base.shared import one_line

# The directories of administrators' tools, which a user's PATH lacks on Debian.
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# What a message shows of a program's output, in characters.
SHOWN = 300


class ToolError(VacError):
    """A program was missing, failed or took too long; ``status`` is its exit code, None if it has none."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program and return what it printed. ``timeout`` in seconds. Raises ToolError."""
    # Half of the programs that a VM waits for run no others.
    import subprocess  # noqa: PLC0415 - 1.6 ms of 22

    name = argv[0]
    path = find(name)
    if path is None:
        remedy = "HTCondor is not installed here" if name.startswith("condor_") else "install the package that has it"
        raise ToolError(f"{name}: not found in {SYSTEM_PATH}; {remedy}", None)
    try:
        done = subprocess.run(
            [path, *argv[1:]],
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
            env={"PATH": SYSTEM_PATH, "LC_ALL": "C", **(environment or {})},
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{name}: no answer within {timeout:g} s; check its service", None) from error
    except OSError as error:
        raise ToolError(f"{name}: cannot be run: {error.strerror}", None) from error
    if done.returncode != 0:
        text = (done.stderr or done.stdout).decode("utf-8", "replace")
        output = one_line(text, SHOWN, end=True) or "no output"
        raise ToolError(f"{name}: exit code {done.returncode}: {output}", done.returncode)
    return done.stdout.decode("utf-8", "replace")


def find(name: str) -> str | None:
    """The path of a program in the system's directories; None if none of them has it."""
    for directory in SYSTEM_PATH.split(":"):
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None
