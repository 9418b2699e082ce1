# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the context ISO with the tool that the node has: xorriso, genisoimage or mkisofs."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping

from condor_vac.base import tools
from condor_vac.base.errors import VacError

_TIMEOUT_SECONDS = 60.0
# All take mkisofs's options; xorriso is what current distributions ship.
_TOOLS = (("xorriso", "-as", "mkisofs"), ("genisoimage",), ("mkisofs",))
# What xorriso prints when it has caught a signal: 1.5.4 died by SIGSEGV twice in these tests, on busy hosts.
_CRASHED = "UNIX-SIGNAL"
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,60}"
_LABEL = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,31}"
# 1 January 2000: the same files make the same image, whenever they are made.
_EPOCH = 946684800


def make(path: str, files: Mapping[str, bytes], label: str, mode: int = 0o600) -> None:
    """Write an ISO 9660 image (Rock Ridge, Joliet) with these files at its root to ``path``, atomically.

    ``mode`` is that of the image, which may hold secrets; ``label`` is the volume's. The directory of
    ``path`` is used for the work, so it must have room for twice the files. Raises VacError.
    """
    if not re.fullmatch(_LABEL, label):
        raise VacError(f"{label!a}: not a volume label; use letters, digits, _ and -")
    directory, name = os.path.split(os.path.abspath(path))
    try:
        with _work_directory(os.path.join(directory, f".{name}.work"), files) as work:
            tree, image = f"{work}/tree", f"{work}/image"
            _write_tree(tree, files)
            _run([*_tool(), "-quiet", "-no-pad", "-o", image, "-V", label, "-r", "-J", tree], image)
            os.chmod(image, mode)
            os.replace(image, path)
    except OSError as error:
        raise VacError(f"{path}: cannot make the image: {error.strerror}; check space and quota") from error


@contextlib.contextmanager
def _work_directory(path: str, files: Iterable[str]) -> Iterator[str]:
    """A new directory for a tree with these files and an image, which is gone with them afterwards."""
    os.mkdir(path, 0o700)
    try:
        yield path
    finally:
        for file in (*(f"tree/{name}" for name in files), "image"):
            with contextlib.suppress(OSError):
                os.unlink(f"{path}/{file}")
        for directory in (f"{path}/tree", path):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(directory)


def _run(argv: list[str], image: str) -> None:
    """Run the tool, once more if it crashed."""
    environment = {"SOURCE_DATE_EPOCH": str(_EPOCH)}
    try:
        tools.run(argv, timeout=_TIMEOUT_SECONDS, environment=environment)
    except tools.ToolError as error:
        if _CRASHED not in str(error):
            raise
        with contextlib.suppress(FileNotFoundError):
            os.unlink(image)
        tools.run(argv, timeout=_TIMEOUT_SECONDS, environment=environment)


def _tool() -> tuple[str, ...]:
    for tool in _TOOLS:
        if tools.find(tool[0]):
            return tool
    names = ", ".join(tool[0] for tool in _TOOLS)
    raise VacError(f"none of {names} is in {tools.SYSTEM_PATH}; install xorriso or genisoimage")


def _write_tree(tree: str, files: Mapping[str, bytes]) -> None:
    os.mkdir(tree)
    for name, data in files.items():
        if not re.fullmatch(_NAME, name):
            raise VacError(f"{name!a}: not a name for a file on an ISO; use letters, digits and _ . -")
        file = os.path.join(tree, name)
        with open(file, "xb") as stream:
            stream.write(data)
        os.utime(file, (_EPOCH, _EPOCH))
    os.utime(tree, (_EPOCH, _EPOCH))
