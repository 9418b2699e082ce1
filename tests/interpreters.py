# SPDX-License-Identifier: GPL-3.0-or-later
"""The Pythons that this machine has, and an environment of its own for each."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
CONSTRAINTS = ROOT / "tests" / "constraints.txt"
OLDEST = (3, 9)
Version = tuple[int, int]


class NotMadeError(Exception):
    """An environment could not be made; has pip's words."""


def dotted(version: Version) -> str:
    """3.9 for (3, 9)."""
    return f"{version[0]}.{version[1]}"


def find() -> dict[Version, Path]:
    """An interpreter of each version from 3.9 on, the oldest first: on PATH, or of pyenv's though not on PATH."""
    found: dict[Version, Path] = {}
    for path in _candidates():
        version = _version(path)
        if version is not None and version >= OLDEST:
            found.setdefault(version, path)
    return dict(sorted(found.items()))


def _candidates() -> Iterator[Path]:
    pyenv = {Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser(), Path("~/.pyenv").expanduser()}
    directories = [Path(name) for name in os.environ.get("PATH", os.defpath).split(":") if name]
    directories += [path for root in sorted(pyenv) for path in sorted(root.glob("versions/*/bin"))]
    for directory in directories:
        for path in sorted(directory.glob("python3.*")):
            if re.fullmatch(r"python3\.\d+", path.name):
                yield path


def _version(path: Path) -> Version | None:
    """The version that an interpreter reports; None if it does not run (as a shim of pyenv) or can make no venv."""
    code = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    try:
        done = subprocess.run((path, "-c", code), capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    major, minor = done.stdout.split()
    return int(major), int(minor)


def environment(name: str, python: Path, requirements: Path, *words: str) -> Path:
    """The Python of the environment ``.cache/NAME``, made once for each state of the requirements.

    *words* are more arguments for pip; the files that they name count as requirements. Raises NotMadeError.
    """
    place = CACHE / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{place}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = _key(python, [requirements, *(Path(word) for word in words if not word.startswith("-"))])
        stamp = place / "made-from"
        if not stamp.exists() or stamp.read_text("utf-8") != key:
            shutil.rmtree(place, ignore_errors=True)
            _run(python, "-m", "venv", str(place))
            _run(place / "bin/python", "-m", "pip", "install", "--quiet", "-r", str(requirements), *words)
            stamp.write_text(key, "utf-8")
    return place / "bin/python"


def _key(python: Path, files: Sequence[Path]) -> str:
    digest = hashlib.sha256(str(python).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _run(*words: str | Path) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotMadeError(f"{' '.join(map(str, words))}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def own() -> Version:
    """The version that runs this."""
    return sys.version_info[0], sys.version_info[1]
