# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab keeps things, the error it raises, and files that are replaced in one step."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
CHECKOUT = SOURCE.parents[1]


class LabError(Exception):
    """What went wrong and what to do about it, for the person who called the lab."""


def cache_dir() -> Path:
    """Return the directory of images and machines (VAC_LAB_DIR, else .cache/lab), made if absent."""
    place = Path(os.environ.get("VAC_LAB_DIR") or CHECKOUT / ".cache" / "lab").absolute()
    place.mkdir(parents=True, exist_ok=True)
    return place


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace the file: a reader sees the old text or the new one, never a part."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold one of the lab's locks, so that two commands do not build or number the same thing."""
    with open(cache_dir() / f"{name}.lock", "w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
