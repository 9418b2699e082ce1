# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.leftovers``: what is on the host of labs and builds of this checkout; exits 1 if there is anything.

Looked for: processes that name the labs' directories or run in a namespace that one of those holds, mounts and loop
devices of files there, links named after the lab's bridge, and cgroups. Needs root, to see other users' processes and
all cgroups.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.lab.inside import BRIDGE
from tests.lab.paths import as_root, cache_dir

_CGROUPS = "mount -t cgroup2 none /sys/fs/cgroup && find /sys/fs/cgroup -type d -name 'vac-lab-*'"


def found(place: Path | None = None) -> list[str]:
    """A line for each thing that belongs to a lab below ``place`` (default: the labs of this checkout)."""
    labs = str(place or cache_dir() / "labs")
    # Builds of every kind mount below the cache.
    mounts = _mounts(str(place or cache_dir().parent))
    return [*_processes(labs), *mounts, *_loops(labs), *_links(), *_cgroups()]


def _processes(labs: str) -> Iterator[str]:
    held: dict[str, str] = {}
    others: list[tuple[str, str, str]] = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
            space = os.readlink(directory / "ns/mnt")
        except OSError:  # it has ended meanwhile
            continue
        if int(directory.name) == os.getpid() or not words:
            continue
        if labs in words:
            held[space] = words
            yield f"process {directory.name}: {words[:150]}"
        else:
            others.append((directory.name, space, words))
    own = os.readlink("/proc/self/ns/mnt")
    for number, space, words in others:
        if space in held and space != own:
            yield f"process {number} in a lab's namespace: {words[:150]}"


def _mounts(place: str) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines():
        if place in line:
            yield f"mount {line.split()[4]}"


def _loops(labs: str) -> Iterator[str]:
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        if labs in path.read_text("utf-8"):
            yield f"loop device {path.parts[3]}"


def _links() -> Iterator[str]:
    for path in Path("/sys/class/net").iterdir():
        if path.name == BRIDGE or path.name.startswith("vb-"):
            yield f"link {path.name}"


def _cgroups() -> Iterator[str]:
    command = as_root("unshare", "--mount", "sh", "-c", _CGROUPS)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        yield f"cgroup {line}"


def main() -> int:
    """Print what there is."""
    lines = found()
    print("\n".join(lines) or "nothing is left")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
