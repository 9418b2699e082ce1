# SPDX-License-Identifier: GPL-3.0-or-later
"""An initramfs archive written without root (cpio newc; format: kernel.org, buffer-format.rst)."""

from __future__ import annotations

import stat
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One file: path without leading slash, mode with its type bits, contents, device numbers."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(path: str) -> Entry:
    return Entry(path, stat.S_IFDIR | 0o755)


def symlink(path: str, target: str) -> Entry:
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def regular(path: str, data: bytes, executable: bool = False) -> Entry:
    return Entry(path, stat.S_IFREG | (0o755 if executable else 0o644), data)


def console(path: str) -> Entry:
    """The character device 5:1, which the kernel opens for /init before anything is mounted."""
    return Entry(path, stat.S_IFCHR | 0o600, device=(5, 1))


def _record(number: int, entry: Entry) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def archive(entries: list[Entry]) -> bytes:
    """The archive, parent directories added; the last entry of a path wins."""
    by_path: dict[str, Entry] = {}
    for entry in entries:
        for parent in _parents(entry.path):
            by_path.setdefault(parent, directory(parent))
        by_path[entry.path] = entry
    ordered = [by_path[path] for path in sorted(by_path)]
    records = [_record(number, entry) for number, entry in enumerate([*ordered, Entry("TRAILER!!!", 0)], 1)]
    return b"".join(records)
