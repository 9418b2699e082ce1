# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A tree of program files as a value: its manifest, digest and archive, and how far a copy has drifted.

The controller and the node both import this, so that both mean the same by "this tree". A manifest maps each
file's relative path (with ``/``) to the SHA-256 of its content; the digest is that of the manifest.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import FileError

FILE_MODE = 0o644
DIRECTORY_MODE = 0o755
CACHE = "__pycache__"
# The oldest time a zip archive can hold: the same tree makes the same archive on every controller.
EPOCH = (1980, 1, 1, 0, 0, 0)
# The package is well under 1 MB; an archive that would unpack to more than this is not of this collection.
MAX_TOTAL = 64 * 1024 * 1024

Manifest = Mapping[str, str]


@dataclass(frozen=True)
class Drift:
    """How a tree on disk differs from its manifest: relative paths."""

    content: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.content or self.extra or self.attributes)


def read_files(directory: str) -> dict[str, bytes]:
    """The files below *directory*, without caches and hidden names. Raises FileError (a link, no files)."""
    files: dict[str, bytes] = {}
    for base, names, leaves in os.walk(directory):
        names[:] = sorted(name for name in names if name != CACHE and not name.startswith("."))
        for leaf in sorted(leaves):
            path = os.path.join(base, leaf)
            if leaf.startswith(".") or leaf.endswith(".pyc"):
                continue
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise FileError(f"{path} is not a regular file", "the program tree holds plain files only")
            with open(path, "rb") as stream:
                files[os.path.relpath(path, directory).replace(os.sep, "/")] = stream.read()
    if not files:
        raise FileError(f"{directory} holds no program files", "install the collection with its src directory")
    return files


def manifest_of(files: Mapping[str, bytes]) -> dict[str, str]:
    """The manifest of files in memory."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}


def digest_of(manifest: Manifest) -> str:
    """SHA-256 of a manifest, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(dict(manifest), sort_keys=True).encode()).hexdigest()


def pack(files: Mapping[str, bytes]) -> bytes:
    """A zip archive of *files*, the same bytes for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFREG | FILE_MODE) << 16
            info.create_system = 3
            archive.writestr(info, content)
    return buffer.getvalue()


def unpack(data: bytes, manifest: Manifest) -> dict[str, bytes]:
    """The files of an archive, which must be exactly those of *manifest*. Raises FileError."""
    remedy = "run the task again; if it persists, the connection corrupts what is transferred"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(info.file_size for info in archive.infolist()) > MAX_TOTAL:
                raise FileError("the program archive is far too large", remedy)
            files = {info.filename: archive.read(info) for info in archive.infolist()}
    except zipfile.BadZipFile as error:
        raise FileError(f"the program archive is damaged ({error})", remedy) from error
    if manifest_of(files) != dict(manifest):
        raise FileError("the program archive is not what the controller announced", remedy)
    for name in files:
        if name.startswith("/") or ".." in name.split("/"):
            raise FileError(f"the program archive names {name!r}, outside its tree", remedy)
    return files


def audit(directory: str, manifest: Manifest, owner: int) -> Drift:
    """How *directory* differs from *manifest*, from the package's modes and from uid *owner*."""
    found: set[str] = set()
    extra: list[str] = []
    attributes: list[str] = []
    for name, status in _entries(directory):
        cached = CACHE in name.split("/")
        if stat.S_ISREG(status.st_mode) and (name in manifest or cached):
            found.add(name)
        elif not stat.S_ISDIR(status.st_mode):
            extra.append(name)
            continue
        if status.st_uid != owner or not _mode_is_right(status.st_mode, cached):
            attributes.append(name)
    content = [name for name in manifest if name not in found or _differs(directory, name, manifest[name])]
    return Drift(tuple(sorted(content)), tuple(sorted(extra)), tuple(sorted(attributes)))


def write_files(directory: str, files: Mapping[str, bytes]) -> None:
    """Write *files* below *directory*, each replaced by one rename. Raises FileError."""
    for name, content in sorted(files.items()):
        path = os.path.join(directory, name)
        try:
            os.makedirs(os.path.dirname(path), DIRECTORY_MODE, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=os.path.dirname(path))
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                os.fchmod(stream.fileno(), FILE_MODE)
            os.replace(temporary, path)
        except OSError as error:
            raise FileError(f"cannot write {path} ({error.strerror})", "check the file system") from error


def repair_attributes(directory: str, owner: int) -> None:
    """Give every file and directory below (and including) *directory* its mode and owner."""
    for name, status in _entries(directory):
        if stat.S_ISLNK(status.st_mode):
            continue
        path = os.path.join(directory, name)
        os.chown(path, owner, owner if owner == 0 else -1)
        os.chmod(path, DIRECTORY_MODE if stat.S_ISDIR(status.st_mode) else FILE_MODE)


def remove_extra(directory: str, names: tuple[str, ...]) -> None:
    """Remove the files that no manifest names; those already gone do not matter."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))


def _entries(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    """Relative path and lstat of *directory* itself (as ``.``) and of everything below it."""
    yield ".", os.lstat(directory)
    for base, names, leaves in os.walk(directory):
        for name in sorted(names + leaves):
            path = os.path.join(base, name)
            yield os.path.relpath(path, directory).replace(os.sep, "/"), os.lstat(path)


def _mode_is_right(mode: int, cached: bool) -> bool:
    """Exact modes for the package; for caches, which Python writes, only that no other user may write them."""
    if cached:
        return not stat.S_IMODE(mode) & 0o022
    return stat.S_IMODE(mode) == (DIRECTORY_MODE if stat.S_ISDIR(mode) else FILE_MODE)


def _differs(directory: str, name: str, expected: str) -> bool:
    with open(os.path.join(directory, name), "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest() != expected
