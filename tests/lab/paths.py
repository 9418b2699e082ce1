# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab keeps things, the error it raises, how it becomes root, and files that are replaced in one step.

What labs share (images, the guest's ISO, the key) is in ``cache_dir()``. Each lab has a directory of its own there, so
that several labs run side by side; the environment's VAC_LAB names it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
CHECKOUT = SOURCE.parents[1]
DEFAULT_LAB = "default"


class LabError(Exception):
    """What went wrong and what to do about it, for the person who called the lab."""


def cache_dir() -> Path:
    """Return the directory of what labs share (VAC_LAB_DIR, else .cache/lab), made if absent."""
    place = Path(os.environ.get("VAC_LAB_DIR") or CHECKOUT / ".cache" / "lab").absolute()
    place.mkdir(parents=True, exist_ok=True)
    return place


def lab_name() -> str:
    """Return the name of this lab (VAC_LAB). Raises LabError for one that can be no directory."""
    name = os.environ.get("VAC_LAB") or DEFAULT_LAB
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,40}", name):
        raise LabError(f"VAC_LAB={name!r}: use lower-case letters, digits, and . _ - after the first character")
    return name


def lab_dir() -> Path:
    """Return this lab's own directory, made if absent."""
    place = cache_dir() / "labs" / lab_name()
    place.mkdir(parents=True, exist_ok=True)
    return place


@contextlib.contextmanager
def in_lab(name: str) -> Iterator[None]:
    """Have ``lab_dir()`` be that of another lab meanwhile."""
    before = os.environ.get("VAC_LAB", "")
    os.environ["VAC_LAB"] = name
    try:
        yield
    finally:
        os.environ["VAC_LAB"] = before


def lab_id() -> str:
    """Return eight hexadecimal digits that no other lab on this host has."""
    return hashlib.sha256(str(lab_dir()).encode()).hexdigest()[:8]


def as_root(*words: str) -> list[str]:
    """Return the command that runs ``words`` as root; an ordinary user's sudo must not have to ask."""
    return list(words) if os.geteuid() == 0 else ["sudo", "--non-interactive", *words]


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace the file: a reader sees the old text or the new one, never a part."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        # An interrupt may come when the file has its name already.
        Path(name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP wait for the end of what must not be half done; KeyboardInterrupt comes then."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def locked(name: str, place: Path | None = None) -> Iterator[None]:
    """Hold a lock of all labs, or that of one directory, so that two commands do not build or number the same thing."""
    with open((place or cache_dir()) / f"{name}.lock", "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
