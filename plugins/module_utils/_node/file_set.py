# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Several files and directories as one desired state: all of them, or what was there before."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import FileError, ModuleError
from ansible_collections.vacuum.htcondor.plugins.module_utils._node import files


@dataclass(frozen=True)
class Wanted:
    """A file with this content and mode, or none if ``content`` is None; an owner of None is left as it is."""

    path: str
    content: bytes | None
    mode: int = 0o644
    owner: str | None = None
    group: str | None = None
    hidden: bool = False


def apply(module: AnsibleModule, wanted: Sequence[Wanted]) -> list[files.Change]:
    """Make the files so, in this order. If one fails, those before it are put back. Raises FileError."""
    done: list[files.Change] = []
    try:
        for item in wanted:
            done.append(_apply(module, item))
    except ModuleError:
        for change in reversed(done):
            files.restore(module, change)
        raise
    return done


def directory(module: AnsibleModule, path: str, owner: str | None, mode: int = 0o755) -> bool:
    """Make sure of a directory with this mode and owner (None: who runs this); whether it was not so."""
    uid = os.geteuid() if owner is None else files.uid_of(owner)
    try:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            raise FileError(f"{path} is not a directory", "move it away")
        if (status.st_uid, stat.S_IMODE(status.st_mode)) == (uid, mode):
            return False
    except FileNotFoundError:
        if not module.check_mode:
            os.makedirs(path)
    if not module.check_mode:
        try:
            os.chown(path, uid, -1)
            os.chmod(path, mode)
        except OSError as error:
            raise FileError(f"cannot change {path} ({error.strerror})", "run the task with become") from error
    return True


def _apply(module: AnsibleModule, item: Wanted) -> files.Change:
    if item.content is None:
        return files.remove(module, item.path, hidden=item.hidden)
    return files.write(
        module,
        item.path,
        item.content,
        mode=item.mode,
        owner=item.owner,
        group=item.group,
        hidden=item.hidden,
    )
