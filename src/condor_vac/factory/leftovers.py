# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes what worker nodes sent back into the VMs' directories: files of any kind, and directories of any depth."""

from __future__ import annotations

import os

from condor_vac.base import tools
from condor_vac.base.errors import VacError
from condor_vac.base.tools import ToolError

_SECONDS = 300.0


def remove(path: str) -> None:
    """Remove ``path``, with all that is in it if it is a directory; that there is nothing is fine. Raises VacError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        # What unlink answers for a directory: EISDIR on Linux, EPERM by POSIX.
        _remove_directory(path)
    except OSError as error:
        raise VacError(f"{path}: cannot remove: {error.strerror}") from error


def _remove_directory(path: str) -> None:
    # Programs, because they walk any depth; shutil.rmtree recurses.
    remover = ["rm", "-rf", "--", path]
    try:
        tools.run(remover, timeout=_SECONDS)
    except ToolError:
        # Directories may have come without the right to enter or change them.
        try:
            tools.run(["chmod", "-R", "u+rwX", "--", path], timeout=_SECONDS)
            tools.run(remover, timeout=_SECONDS)
        except ToolError as error:
            raise VacError(f"{path}: cannot remove: {error}; remove it by hand") from error
