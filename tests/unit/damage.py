# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of damage that a file which a program reads can have; each reader's tests put them beside good files.

`MADE` maps a kind to what makes it: a function of the path of a good file, which it replaces. `unreadable` is for what
only the kernel can make (EACCES, which root does not get, and EIO): opening that one path fails. `wrong_types` gives
every text of a JSON document in which one value has another type.
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DEPTH = 100_000
HUGE = 80 << 20
YEARS_AHEAD = 20 * 366 * 86400
OTHER_VALUES: tuple[Any, ...] = (None, True, -1, 1e300, "\x1b[31m\n", [], [[]], {}, {"a": 1})
UNREADABLE = {"no permission": errno.EACCES, "EIO": errno.EIO}


def _replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def empty(path: Path) -> None:
    _replace(path, b"")


def truncated(path: Path) -> None:
    content = path.read_bytes()
    _replace(path, content[: len(content) // 2])


def wrong_encoding(path: Path) -> None:
    _replace(path, b"\xff\xfe\x00" + path.read_text().encode("utf-16-le"))


def not_an_object(path: Path) -> None:
    _replace(path, b"[1, 2]\n")


def deeply_nested(path: Path) -> None:
    _replace(path, b'{"a":' * DEPTH + b"1" + b"}" * DEPTH)


def huge(path: Path) -> None:
    """A sparse file: it takes no disk, and 80 MiB of memory from who reads all of it."""
    path.unlink()
    with open(path, "wb") as file:
        file.truncate(HUGE)


def directory(path: Path) -> None:
    path.unlink()
    (path / "inner").mkdir(parents=True)


def dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def from_the_future(path: Path) -> None:
    ahead = time.time() + YEARS_AHEAD
    os.utime(path, (ahead, ahead))


MADE: dict[str, Callable[[Path], None]] = {
    "empty": empty,
    "truncated": truncated,
    "wrong encoding": wrong_encoding,
    "not an object": not_an_object,
    "deeply nested": deeply_nested,
    "huge": huge,
    "a directory": directory,
    "a dangling link": dangling_link,
    "a link to itself": link_to_itself,
    "from the future": from_the_future,
}


def unreadable(monkeypatch: pytest.MonkeyPatch, path: Path, kind: str) -> None:
    """From now on opening what is named as `path` is fails, as `kind` of UNREADABLE says."""
    number = UNREADABLE[kind]

    def guard(real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(name: Any, *arguments: Any, **options: Any) -> Any:
            if not isinstance(name, int) and os.path.basename(os.fspath(name)) == path.name:
                raise OSError(number, os.strerror(number), str(name))
            return real(name, *arguments, **options)

        return opened

    monkeypatch.setattr(os, "open", guard(os.open))
    monkeypatch.setattr(builtins, "open", guard(builtins.open))
    monkeypatch.setattr(io, "open", guard(io.open))


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield from _places(value[key], (*place, key))


def _changed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = _changed(copy[place[0]], place[1:], new)
    return copy


def wrong_types(document: Any) -> Iterator[tuple[str, str]]:
    """Each (name, JSON text) of `document` with the value at one place replaced by one of another type."""
    for place in _places(document):
        at = document
        for key in place:
            at = at[key]
        for value in OTHER_VALUES:
            if type(value) is not type(at):
                yield f"{'.'.join(map(str, place)) or 'whole'}={value!r}", json.dumps(_changed(document, place, value))
