# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that a worker node keeps: each version a file that never changes, and a link that names the present.

``IMAGE_DIR/NAME`` is a symbolic link to ``.versions/DIGEST-NAME``, swapped by one rename; beside the versions
is ``NAME.json``, which records where the image came from. VMs run on the version that the link led to when they
were prepared (overlays name it), so that a new image changes nothing under a running VM. A version that no link
leads to, no record describes and no VM's lease names is removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Collection, Iterator
from typing import NamedTuple

from condor_vac.base import atomic
from condor_vac.base import fields as f
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import one_line

VERSIONS = ".versions"
# VMs run as their jobs' users.
MODE = 0o644
_NAME = r"[A-Za-z0-9_+@=-][A-Za-z0-9._+@=-]{0,99}"
_VERSION = r"[0-9a-f]{16}-[A-Za-z0-9._+@=-]{1,100}"
_RECORD_LIMIT = 1 << 16
_ROOT = "run as root, with a directory for images"


class Record(NamedTuple):
    """One image as it is stored. ``size`` in bytes, ``fetched`` in Unix s, ``sha256`` in hex.

    ``pinned``: the site named the digest, so that nothing at the source can change it. ``etag`` and
    ``last_modified`` are the server's words. ``signed_by`` is the DN that was verified, None if none was asked for.
    ``private_hosts`` are those of a source that a pipe wrote, None for one of the site's own.
    """

    name: str
    source: str
    sha256: str
    size: int
    fetched: int
    pinned: bool = False
    etag: str | None = None
    last_modified: str | None = None
    signing_dn: str | None = None
    signed_by: str | None = None
    ca: str | None = None
    private_hosts: str | None = None

    @property
    def version(self) -> str:
        """The file name of this version."""
        return version_name(self.name, self.sha256)


def check_name(name: str) -> str:
    """The image's name, if it is one for a file. Raises UsageError."""
    if not re.fullmatch(_NAME, name):
        raise UsageError(
            f"image name {ascii(name)[:80]}: must be a file name of letters, digits and . _ + @ = - (no slash)"
        )
    return name


def version_name(name: str, sha256: str) -> str:
    """The file name of a version; it ends as the image's does, by which a CD is known."""
    return f"{sha256[:16]}-{name}"


def resolved(path: str, image_dir: str) -> str:
    """What an image's path leads to now, below ``image_dir``, for a VM to keep to; any other path as it is."""
    real, base = os.path.realpath(path), os.path.realpath(image_dir)
    if path.startswith(image_dir + "/") and real.startswith(base + "/"):
        return image_dir + real[len(base) :]
    return path


def version_of(path: str, image_dir: str) -> str | None:
    """The version that a resolved path is, as a lease names it; None for what is not a version in a store."""
    directory, name = os.path.split(path)
    return name if directory == f"{image_dir}/{VERSIONS}" and re.fullmatch(_VERSION, name) else None


class Store:
    """The image directory of a node. Who changes it holds ``lock``."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.versions_directory = os.path.join(directory, VERSIONS)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store's lock, waiting for it; what a killed fetch left is cleared. Raises VacError."""
        try:
            os.makedirs(self.versions_directory, mode=0o755, exist_ok=True)
            for made in (self.directory, self.versions_directory):
                os.chmod(made, 0o755)  # noqa: S103  VMs run as the jobs' users, whatever root's umask is
        except OSError as error:
            raise VacError(f"{self.directory}: {error.strerror}; {_ROOT}") from error
        with atomic.locked(os.path.join(self.versions_directory, ".lock"), _ROOT):
            self._remove([name for name in os.listdir(self.versions_directory) if name.endswith(".part")])
            yield

    def names(self) -> list[str]:
        """The stored images, sorted, also those with a damaged record. Raises VacError."""
        try:
            found = os.listdir(self.versions_directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unreadable(error) from error
        return sorted(file[: -len(".json")] for file in found if re.fullmatch(rf"{_NAME}\.json", file))

    def record(self, name: str) -> Record | None:
        """The image of that name; None if there is none, or not all of it. Raises VacError for a damaged record."""
        record = self.described(name)
        if record is None or self.linked(name) != record.version:
            return None
        try:
            return record if os.stat(self.path(record)).st_size == record.size else None
        except OSError:
            return None

    def described(self, name: str) -> Record | None:
        """What the record of that image says, be the image there or not; None without a record.

        Raises VacError for a damaged one.
        """
        path = self._record_path(name)
        return _record(f.load_object(path), path, name) if os.path.lexists(path) else None

    def linked(self, name: str) -> str | None:
        """The version that VMs start on; None if the name leads to none."""
        try:
            directory, version = os.path.split(os.readlink(os.path.join(self.directory, name)))
        except OSError:
            return None
        return version if directory == VERSIONS and re.fullmatch(_VERSION, version) else None

    def path(self, record: Record) -> str:
        """Where the version itself is."""
        return os.path.join(self.versions_directory, record.version)

    def part(self, name: str) -> str:
        """A path for a version that is on its way."""
        return os.path.join(self.versions_directory, f".{name}.{os.urandom(6).hex()}.part")

    def install(self, record: Record, part: str | None) -> None:
        """Make this the present version: ``part`` becomes its file, None where that file exists.

        Raises VacError, after which the former version is the present one.
        """
        try:
            if part is not None:
                os.chmod(part, MODE)
                os.replace(part, self.path(record))
            data = json.dumps(record._asdict(), indent=1, sort_keys=True).encode() + b"\n"
            atomic.write(self._record_path(record.name), data)
            link = os.path.join(self.versions_directory, f".{record.name}.{os.urandom(6).hex()}.part")
            os.symlink(f"{VERSIONS}/{record.version}", link)
            os.replace(link, os.path.join(self.directory, record.name))
        except OSError as error:
            raise VacError(f"{self.directory}/{record.name}: cannot put the image there: {error.strerror}") from error

    def mend(self, record: Record, *, apply: bool) -> bool:
        """Give the version the mode by which VMs can read it; whether it had another. Raises VacError."""
        path = self.path(record)
        try:
            wrong = stat.S_IMODE(os.lstat(path).st_mode) != MODE
            if wrong and apply:
                os.chmod(path, MODE)
        except OSError as error:
            raise VacError(f"{path}: cannot change its mode: {error.strerror}") from error
        return wrong

    def forget(self, name: str) -> None:
        """No VM starts on this image any more; its versions go when no VM runs on them. Raises VacError."""
        link = os.path.join(self.directory, name)
        try:
            if os.path.islink(link):
                os.unlink(link)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._record_path(name))
        except OSError as error:
            raise VacError(f"{link}: cannot remove: {error.strerror}") from error

    def present(self) -> set[str]:
        """The versions that links lead to, and those of records: between the two a crash leaves different ones."""
        try:
            links = os.listdir(self.directory)
        except FileNotFoundError:
            links = []
        return {version for name in {*links, *self.names()} for version in self.versions_of(name)}

    def versions_of(self, name: str) -> set[str]:
        """The version that VMs of that image start on, and that of its record; a damaged record names none."""
        found = {self.linked(name)}
        with contextlib.suppress(VacError):
            record = self.described(name)
            found.add(None if record is None else record.version)
        return {version for version in found if version is not None}

    def sizes(self) -> dict[str, int]:
        """Every version on disk, with its bytes there. Raises VacError."""
        try:
            with os.scandir(self.versions_directory) as entries:
                return {
                    entry.name: entry.stat(follow_symlinks=False).st_size
                    for entry in entries
                    if re.fullmatch(_VERSION, entry.name)
                }
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unreadable(error) from error

    def unused(self, in_use: Collection[str]) -> list[str]:
        """The versions that are neither present nor in use, sorted."""
        return sorted(set(self.sizes()) - self.present() - set(in_use))

    def prune(self, in_use: Collection[str]) -> list[str]:
        """Remove the versions that nothing needs; which. Raises VacError."""
        gone = self.unused(in_use)
        self._remove(gone)
        return gone

    def _unreadable(self, error: OSError) -> VacError:
        return VacError(f"{self.versions_directory}: cannot be read: {error.strerror}; check its disk and its owner")

    def free_bytes(self) -> int:
        """What the file system has left."""
        place = self.directory
        while not os.path.exists(place):
            place = os.path.dirname(place)
        status = os.statvfs(place)
        return status.f_bavail * status.f_frsize

    def _record_path(self, name: str) -> str:
        return os.path.join(self.versions_directory, f"{check_name(name)}.json")

    def _remove(self, names: Collection[str]) -> None:
        for name in names:
            path = os.path.join(self.versions_directory, name)
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise VacError(f"{path}: cannot remove: {error.strerror}") from error


def _record(data: object, path: str, name: str) -> Record:
    try:
        if not isinstance(data, dict):
            raise TypeError("no object")
        record = Record(**{key: value for key, value in data.items() if key in Record._fields})
        _check(record, name)
    except TypeError as error:
        reason = one_line(str(error), 120)
        raise VacError(f"{path}: not an image's record ({reason}); remove it, and fetch the image again") from error
    return record


def _check(record: Record, name: str) -> None:
    """Whether all values are what a record has. Raises TypeError."""
    for field, value in record._asdict().items():
        wanted = int if field in {"size", "fetched"} else bool if field == "pinned" else str
        optional = field in Record._field_defaults and wanted is str
        of_type = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
        if not of_type and not (optional and value is None):
            raise TypeError(f"{field} is {value!r}")
        if isinstance(value, str) and not value.isprintable():
            raise TypeError(f"{field} cannot be printed")
    if record.name != name:
        raise TypeError("of another image")
    if not re.fullmatch(r"[0-9a-f]{64}", record.sha256):
        raise TypeError("no digest")
