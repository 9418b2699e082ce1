# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings an image to the state that a site asks for: fetched, checked, and only then in the old one's place.

The source is an https URL or a file of this node. Whatever goes wrong (another status than 200, a wrong
length, digest or signature, no room) leaves what is there unchanged.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from condor_vac.base import fetch, public_hosts, urls
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.http_proxy import Exempt, HttpProxy
from condor_vac.base.shared import IMAGE_CHECKSUM, IMAGE_CHECKSUM_REMEDY
from condor_vac.base.x509 import GRID_CA, grid_ca
from condor_vac.image import qcow2, signature
from condor_vac.image.store import Record, Store, check_name, version_name

_CHUNK = 1 << 20
_GIB = 1 << 30
_NO_LIMIT = 1 << 60
# Sandboxes are often on the same file system, and a full one fails every VM.
RESERVE_BYTES = _GIB

Progress = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class Wanted:
    """What a site asks for. ``sha256`` pins the contents; ``signing_dn`` demands a signature (a regular
    expression for its DN); ``ca`` is where the CAs are that may vouch for the signer and for the server.
    ``origin`` is what the record names where ``source`` is only a temporary copy. ``private_hosts`` is given, be it
    empty, where a pipe wrote ``source`` (``public_hosts``)."""

    name: str
    source: str
    sha256: str | None = None
    signing_dn: str | None = None
    ca: str | None = None
    origin: str | None = None
    private_hosts: str | None = None

    def checked(self) -> Wanted:
        """The same with its digest in lower case. Raises UsageError for what can never be."""
        check_name(self.name)
        if urls.is_url(self.source):
            try:
                urls.check_url(self.source)
            except VacError as error:
                raise UsageError(str(error)) from error
        elif not self.source.startswith("/"):
            raise UsageError(f"{ascii(self.source)[:120]}: must be an https URL or an absolute path of this node")
        if self.origin is not None and self.sha256 is None:
            raise UsageError("an image that was copied to this node needs its checksum, which identifies it")
        self.may_reach()
        if self.signing_dn is not None:
            signature.check_pattern(self.signing_dn)
        return replace(self, sha256=None if self.sha256 is None else check_digest(self.sha256))

    def may_reach(self) -> tuple[Exempt, ...] | None:
        """The private hosts that the source may lead to, None for any. Raises UsageError."""
        return None if self.private_hosts is None else public_hosts.named(self.private_hosts)


@dataclass(frozen=True)
class Bounds:
    """What images may cost: bytes of all versions together (None: what the disk has), seconds of a fetch; and the
    site's HTTP proxy, if a fetch has to go through one."""

    budget_bytes: int | None = None
    seconds: float = 3600.0
    proxy: HttpProxy | None = None


@dataclass(frozen=True)
class Outcome:
    """What was done (or, without applying, would be). ``after`` is None where only a fetch could show it."""

    changed: bool
    before: Record | None
    after: Record | None
    removed: tuple[str, ...] = ()


def check_digest(text: str) -> str:
    """A SHA-256 digest, ``sha256:HEX`` or HEX, as lower-case hex. Raises UsageError."""
    found = re.fullmatch(IMAGE_CHECKSUM, text)
    if found is None:
        raise UsageError(f"checksum {ascii(text)[:80]}: {IMAGE_CHECKSUM_REMEDY}")
    return found[1].lower()


def digest_of(path: str) -> str:
    """The SHA-256 digest of a file, in hex. Raises VacError."""
    sink = _Sink(None, None)
    _copy(path, sink)
    return sink.sha256()


def signed_parts(path: str) -> tuple[bytes, bytes]:
    """A file's last 32 KiB, and the SHA-256 digest of what is before them. Raises VacError."""
    sink = _Sink(None, None)
    _copy(path, sink)
    return sink.tail, sink.signed_digest()


def ensure(
    store: Store,
    wanted: Wanted,
    in_use: Collection[str],
    bounds: Bounds,
    *,
    apply: bool = True,
    progress: Progress | None = None,
) -> Outcome:
    """Have the image as wanted; the caller holds the store's lock if ``apply``. Raises UsageError, VacError.

    An image of the right digest is left alone without asking anybody; else a server is asked whether it has
    another one (If-None-Match, If-Modified-Since). Without ``apply`` nothing is stored, and what is not there yet
    is not fetched from the web either.
    """
    wanted = wanted.checked()
    before = _present(store, wanted.name)
    removed = store.prune(in_use) if apply else store.unused(in_use)
    after = _ready(store, wanted, before)
    if after is None and before is None and not apply and urls.is_url(wanted.source):
        return Outcome(True, None, None, tuple(removed))
    part = None
    if after is None:
        after, part = _fetched(store, wanted, before, _Room(store, bounds, removed), bounds, apply, progress)
    if before is not None and after.version == before.version:
        # It may be there since before images were looked at when they are fetched.
        qcow2.check_file(store.path(before))
    if apply and (part is not None or after != before):
        store.install(after, part)
        removed += store.prune(in_use)
    elif before is not None and after.version != before.version and before.version not in in_use:
        removed.append(before.version)
    mended = before is not None and after.version == before.version and store.mend(before, apply=apply)
    changed = mended or bool(removed) or before is None or _visible(before) != _visible(after)
    return Outcome(changed, before, after, tuple(removed))


def _present(store: Store, name: str) -> Record | None:
    """The image as it is there; None also where its record is damaged, in whose place the new one comes."""
    try:
        return store.record(name)
    except VacError:
        return None


def _fetched(
    store: Store,
    wanted: Wanted,
    before: Record | None,
    room: _Room,
    bounds: Bounds,
    apply: bool,
    progress: Progress | None,
) -> tuple[Record, str | None]:
    """The record of what the source has now, and its file where that is another one than before."""
    part = store.part(wanted.name) if apply else None
    keep = False
    try:
        record = _bring(wanted, before, part, room, bounds, progress)
        keep = before is None or record.sha256 != before.sha256
        return record, part if keep else None
    finally:
        if part is not None and not keep:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)


def _visible(record: Record) -> Record:
    """The record without what no administrator asked for: when, and the server's validators."""
    return record._replace(fetched=0, etag=None, last_modified=None)


def _ready(store: Store, wanted: Wanted, before: Record | None) -> Record | None:
    """The record without any fetch, where the digest is given and its version is on disk already."""
    if wanted.sha256 is None:
        return None
    path = os.path.join(store.versions_directory, version_name(wanted.name, wanted.sha256))
    if before is not None and before.sha256 == wanted.sha256 and _asks_nothing_new(before, wanted):
        return before
    if not os.path.exists(path):
        return None
    sink = _Sink(None, None)
    _copy(path, sink)
    if sink.sha256() != wanted.sha256:
        return None
    return _record(wanted, sink, None)


def _asks_nothing_new(before: Record, wanted: Wanted) -> bool:
    """Whether the image was asked for in just these words, so that its source's former answer still counts."""
    asked = (
        wanted.origin or wanted.source, wanted.sha256 is not None, wanted.signing_dn, wanted.ca, wanted.private_hosts
    )  # fmt: skip
    return (before.source, before.pinned, before.signing_dn, before.ca, before.private_hosts) == asked


def _bring(
    wanted: Wanted, before: Record | None, part: str | None, room: _Room, bounds: Bounds, progress: Progress | None
) -> Record:
    """Fetch to ``part`` (None: only look) and check; the record of what came, or of what is still right."""
    known = None
    if before is not None and wanted.sha256 is None and _asks_nothing_new(before, wanted):
        known = fetch.Known(before.etag, before.last_modified)
    with _Sink.open(part, room) as sink:
        answer = None
        if urls.is_url(wanted.source):
            limits = fetch.Limits(_NO_LIMIT, seconds=bounds.seconds)

            def look(done: int, announced: int | None) -> None:
                if announced is not None:
                    room.check(announced, wanted.name)
                if progress is not None:
                    progress(done, announced)

            access = fetch.Access(wanted.ca or grid_ca(), bounds.proxy, wanted.may_reach())
            answer = fetch.download(wanted.source, sink.write, limits, known, access=access, progress=look)
            if not answer.modified and before is not None:
                return before._replace(etag=_printed(answer.etag), last_modified=_printed(answer.last_modified))
        else:
            room.check(_size(wanted.source), wanted.name)
            _copy(wanted.source, sink, progress)
        record = _record(wanted, sink, answer)
        if wanted.sha256 not in {None, record.sha256}:
            raise VacError(
                f"{wanted.source}: SHA-256 is {record.sha256}, not {wanted.sha256}; not used. "
                "Correct the checksum if a new image was published"
            )
        sink.finish()
    return record


def _record(wanted: Wanted, sink: _Sink, answer: fetch.Answer | None) -> Record:
    try:
        qcow2.check_alone(qcow2.parse(sink.head, wanted.source), wanted.source)
    except UsageError as error:
        raise VacError(f"{error}; not used") from error
    signer = None
    if wanted.signing_dn is not None:
        try:
            signer = signature.verify(sink.tail, sink.signed_digest(), wanted.signing_dn, wanted.ca or GRID_CA)
        except signature.SignatureError as error:
            raise VacError(f"{wanted.source}: {error}; not used") from error
    return Record(
        name=wanted.name,
        source=wanted.origin or wanted.source,
        sha256=sink.sha256(),
        size=sink.size,
        fetched=int(time.time()),
        pinned=wanted.sha256 is not None,
        etag=None if answer is None else _printed(answer.etag),
        last_modified=None if answer is None else _printed(answer.last_modified),
        signing_dn=wanted.signing_dn,
        signed_by=signer,
        ca=wanted.ca,
        private_hosts=wanted.private_hosts,
    )


def _printed(validator: str | None) -> str | None:
    """The server's word, if it is one that can be kept and sent again."""
    if validator is None or not validator.isprintable():
        return None
    return validator


class _Room:
    """How many bytes a new version may have, now that the ``removed`` ones are gone (or would be)."""

    def __init__(self, store: Store, bounds: Bounds, removed: Collection[str]) -> None:
        taken = sum(size for version, size in store.sizes().items() if version not in removed)
        self._free = store.free_bytes() - RESERVE_BYTES
        self._budget = None if bounds.budget_bytes is None else bounds.budget_bytes - taken
        self._taken = taken
        self._directory = store.directory

    def check(self, size: int, name: str) -> None:
        """Raises VacError if that many bytes are too many."""
        if self._budget is not None and size > self._budget:
            raise VacError(
                f"{name}: {_shown(size)}, and the images here take {_shown(self._taken)}: over the budget for images; "
                "raise it (worker_image_budget_gb), or remove a machinetype's image"
            )
        if size > self._free:
            spare = _shown(max(self._free, 0))
            raise VacError(f"{name}: {_shown(size)}, but {self._directory} has only {spare} to spare; make room")


class _Sink:
    """Takes an image's bytes: to a file or to nowhere, with both digests, the first bytes and the last block."""

    def __init__(self, fd: int | None, room: _Room | None) -> None:
        self.size = 0
        self.head = b""
        self.tail = b""
        self._fd = fd
        self._room = room
        self._all = hashlib.sha256()
        self._signed = hashlib.sha256()

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: str | None, room: _Room) -> Iterator[_Sink]:
        """A sink that writes to a new file; None keeps nothing."""
        if path is None:
            yield cls(None, room)
            return
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise VacError(f"{path}: cannot write: {error.strerror}") from error
        try:
            yield cls(fd, room)
        finally:
            os.close(fd)

    def write(self, piece: bytes) -> None:
        """Take the next piece. Raises VacError where there is no room for it."""
        self.size += len(piece)
        if self._room is not None:
            self._room.check(self.size, "the image")
        self.head += piece[: qcow2.HEAD_BYTES - len(self.head)]
        self._all.update(piece)
        held = self.tail + piece
        self._signed.update(held[: -signature.BLOCK_BYTES])
        self.tail = held[-signature.BLOCK_BYTES :]
        if self._fd is not None:
            try:
                view = memoryview(piece)
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError as error:
                raise VacError(f"cannot write the image: {error.strerror}; make room") from error

    def finish(self) -> None:
        """Have it on disk before it takes a name."""
        if self._fd is not None:
            os.fsync(self._fd)

    def sha256(self) -> str:
        """The digest of everything, in hex."""
        return self._all.hexdigest()

    def signed_digest(self) -> bytes:
        """The digest of everything before the last 32 KiB."""
        return self._signed.digest()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise VacError(f"{path}: {error.strerror}; give an image that this node can read") from error


def _copy(path: str, sink: _Sink, progress: Progress | None = None) -> None:
    total = _size(path)
    try:
        with open(path, "rb") as stream:
            for piece in iter(lambda: stream.read(_CHUNK), b""):
                sink.write(piece)
                if progress is not None:
                    progress(sink.size, total)
    except OSError as error:
        raise VacError(f"{path}: cannot read: {error.strerror}") from error


def _shown(size: int) -> str:
    return f"{size / _GIB:.2f} GiB" if size >= _GIB // 10 else f"{size / (1 << 20):.1f} MiB"
