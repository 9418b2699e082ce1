# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole files as desired state: compared, validated by the tool that reads them, replaced atomically."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import FileError

# Called with the path of a file that holds the new content; raises InvalidContent to refuse it.
Validator = Callable[[str], None]


@dataclass(frozen=True)
class FileState:
    """What is at a path. ``content`` is None if there is nothing, or something that is not a regular file."""

    content: bytes | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    link: str | None = None

    @property
    def exists(self) -> bool:
        """Whether the path exists at all (a symbolic link counts)."""
        return self.mode is not None

    def attributes(self) -> str:
        """Mode and owner as lines of a diff."""
        if not self.exists:
            return ""
        lines = [f"mode: {self.mode:04o}"]
        lines += [f"owner: {_user_name(self.uid)}", f"group: {_group_name(self.gid)}"]
        if self.link is not None:
            lines.append(f"symbolic link to: {self.link}")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Change:
    """What a call did, or would do in check mode."""

    path: str
    before: FileState
    after: FileState
    hidden: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything differs: content, mode, owner, kind or existence."""
        return self.before != self.after

    def diff(self) -> list[dict[str, Any]]:
        """Entries for the result's ``diff``: content, and mode and owner where they differ."""
        header = {"before_header": self.path, "after_header": self.path}
        before, after = _text(self.before.content), _text(self.after.content)
        if self.hidden and before != after:
            before, after = ("(hidden)\n" if before else ""), ("(hidden, changed)\n" if after else "")
        entries: list[dict[str, Any]] = [{**header, "before": before, "after": after}]
        if self.before.exists and self.after.exists and self.before.attributes() != self.after.attributes():
            entries.append({**header, "before": self.before.attributes(), "after": self.after.attributes()})
        return entries


def read_state(path: str) -> FileState:
    """The state of *path*, symbolic links not followed. Raises FileError if it cannot be read."""
    try:
        status = os.lstat(path)
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            return FileState(None, mode, status.st_uid, status.st_gid, os.readlink(path))
        if not stat.S_ISREG(status.st_mode):
            raise FileError(f"{path} is not a regular file", "move it away, this module writes a file there")
        with open(path, "rb") as stream:
            return FileState(stream.read(), mode, status.st_uid, status.st_gid)
    except FileNotFoundError:
        return FileState()
    except OSError as error:
        raise FileError(f"cannot read {path} ({error.strerror})", "run the task with become") from error


def write(
    module: AnsibleModule,
    path: str,
    content: bytes | str,
    *,
    mode: int = 0o644,
    owner: str | None = None,
    group: str | None = None,
    validate: Validator | None = None,
    hidden: bool = False,
) -> Change:
    """Make *path* a regular file with this content, mode and owner; None leaves an owner as it is.

    A differing file is validated (in check mode as well) and then replaced by one rename. The temporary name
    begins with a dot and ends in .tmp, which sudo, sysctl, exportfs and HTCondor's config.d all ignore.
    *hidden* keeps the content out of the diff. Raises FileError, and what *validate* raises.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    before = read_state(path)
    uid = uid_of(owner) if owner is not None else _keep(before.uid, os.geteuid())
    gid = _gid(group) if group is not None else _keep(before.gid, os.getegid())
    change = Change(path, before, FileState(data, mode, uid, gid), hidden)
    if not change.changed:
        return change
    directory = module.tmpdir if module.check_mode else os.path.dirname(path)
    with _temporary(directory, path, change.after) as name:
        if validate is not None:
            validate(name)
        if not module.check_mode:
            _label(module, name, path)
            os.replace(name, path)
            _sync_directory(directory)
    return change


def link(module: AnsibleModule, path: str, target: str) -> Change:
    """Make *path* a symbolic link to *target*, owned by the caller; replaced by one rename. Raises FileError."""
    before = read_state(path)
    change = Change(path, before, FileState(None, 0o777, os.geteuid(), _keep(before.gid, os.getegid()), target))
    if change.changed and not module.check_mode:
        temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}.tmp")
        try:
            os.symlink(target, temporary)
            os.replace(temporary, path)
        except OSError as error:
            raise FileError(f"cannot make the link {path} ({error.strerror})", "run the task with become") from error
    return change


def remove(module: AnsibleModule, path: str, *, hidden: bool = False) -> Change:
    """Make sure that there is no file at *path*; *hidden* keeps what it held out of the diff. Raises FileError."""
    change = Change(path, read_state(path), FileState(), hidden)
    if change.changed and not module.check_mode:
        try:
            os.unlink(path)
        except OSError as error:
            raise FileError(f"cannot remove {path} ({error.strerror})", "run the task with become") from error
    return change


def restore(module: AnsibleModule, change: Change) -> None:
    """Put back what a change replaced or removed, with its mode and owner. Raises FileError."""
    if not change.changed or module.check_mode:
        return
    if not change.before.exists:
        remove(module, change.path)
        return
    if change.before.link is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(change.path)
        os.symlink(change.before.link, change.path)
        return
    with _temporary(os.path.dirname(change.path), change.path, change.before) as name:
        _label(module, name, change.path)
        os.replace(name, change.path)


@contextlib.contextmanager
def _temporary(directory: str, path: str, state: FileState) -> Iterator[str]:
    """A file in *directory* with the new content, mode and owner; gone afterwards unless renamed."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", suffix=".tmp", dir=directory)
    except OSError as error:
        remedy = "create the directory first (the package that owns it is missing?) or run with become"
        raise FileError(f"cannot write in {directory} ({error.strerror})", remedy) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(state.content or b"")
            # Before the mode: a user's write takes the set-user-ID bit away.
            stream.flush()
            os.fchown(stream.fileno(), _keep(state.uid, -1), _keep(state.gid, -1))
            os.fchmod(stream.fileno(), _keep(state.mode, 0o600))
            os.fsync(stream.fileno())
        yield name
    except OSError as error:
        remedy = "check the file system and your rights"
        raise FileError(f"cannot write {path} ({error.strerror})", remedy) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _label(module: AnsibleModule, name: str, path: str) -> None:
    """Give the temporary file the SELinux context that policy has for *path*, where SELinux is on."""
    if module.selinux_enabled():
        module.set_context_if_different(name, module.selinux_default_context(path), False)


def _sync_directory(directory: str) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _keep(value: int | None, default: int) -> int:
    return default if value is None else value


def _text(content: bytes | None) -> str:
    return "" if content is None else content.decode("utf-8", "replace")


def uid_of(owner: str) -> int:
    """The number of a user. Raises FileError if the node has none of that name."""
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise FileError(f"there is no user {owner} on this node", "install the package that creates it") from None


def _gid(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise FileError(f"there is no group {group} on this node", "install the package that creates it") from None


def _user_name(uid: int | None) -> str:
    try:
        return pwd.getpwuid(_keep(uid, -1)).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def _group_name(gid: int | None) -> str:
    try:
        return grp.getgrgid(_keep(gid, -1)).gr_name
    except (KeyError, OverflowError):
        return str(gid)
