# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest may leave in its outputs directory, and what the host makes of it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from condor_vac.worker.lease.store import boottime
from tests.integration.hostile.conftest import Hostile
from tests.unit.condor_vac.worker.conftest import GID, UID

SECRET = b"200 root:$6$secret\n"


@pytest.fixture
def secret(hostile: Hostile) -> Path:
    """A file of root's that only root may read, as /etc/shadow is."""
    path = hostile.base / "shadow"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return path


def link(path: Path, secret: Path) -> None:
    path.symlink_to(secret)


def link_to_readable(path: Path, secret: Path) -> None:
    secret.chmod(0o644)
    path.symlink_to(secret)


def hard_link(path: Path, secret: Path) -> None:
    secret.chmod(0o644)
    os.link(secret, path)


def fifo(path: Path, secret: Path) -> None:
    os.mkfifo(path, 0o666)


def link_to_fifo(path: Path, secret: Path) -> None:
    os.mkfifo(path.with_name("pipe"), 0o666)
    path.symlink_to("pipe")


def directory(path: Path, secret: Path) -> None:
    path.mkdir()


def device(path: Path, secret: Path) -> None:
    os.mknod(path, 0o020666, os.makedev(1, 5))


def unreadable(path: Path, secret: Path) -> None:
    path.write_bytes(b"200 ok")
    path.chmod(0)


def empty(path: Path, secret: Path) -> None:
    path.touch()


def contents(data: bytes, size: int | None = None) -> Callable[[Path, Path], None]:
    def make(path: Path, secret: Path) -> None:
        path.write_bytes(data)
        if size is not None:
            os.truncate(path, size)

    return make


CASES: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "symbolic link to a file of root": (link, "undefined"),
    "symbolic link to a file that all may read": (link_to_readable, "undefined"),
    "hard link to a file of root": (hard_link, "undefined"),
    "FIFO": (fifo, "undefined"),
    "symbolic link to a FIFO": (link_to_fifo, "undefined"),
    "directory": (directory, "undefined"),
    "device": (device, "undefined"),
    "file without any right": (unreadable, "undefined"),
    "zero bytes": (empty, "undefined"),
    "1 GiB that begins with a code": (contents(b"300 no work\n", 1 << 30), "300"),
    "1 GiB of NUL bytes": (contents(b"", 1 << 30), "undefined"),
    "NUL bytes": (contents(b"200 a\0b\0"), "200"),
    "NUL bytes before the code": (contents(b"\0200 x"), "undefined"),
    "quotes": (contents(b"600 say \"yes\" 'no' `id` $(id)"), "600"),
    "an attribute in the text": (contents(b'300 x"] ShutdownCode = 200; Y = ["'), "300"),
    "an attribute on the next line": (contents(b"300 x\nShutdownCode = 200\n"), "300"),
    "carriage returns": (contents(b"300 x\rShutdownCode = 200\r"), "300"),
    "Unicode line ends": (contents("300 x\u2028ShutdownCode = 200\u0085Y = 1".encode()), "300"),
    "a backslash at the end": (contents(b"300 x\\"), "300"),
    "terminal escapes": (contents(b"300 \x1b]0;owned\x07\x1b[2J"), "300"),
    "bytes that are not text": (contents(bytes(range(128, 256))), "undefined"),
    "a line of 1 MiB": (contents(b"500 " + b'\\"' * (1 << 19)), "500"),
}


@pytest.mark.parametrize("name", CASES)
def test_shutdown_message(hostile: Hostile, secret: Path, name: str) -> None:
    make, code = CASES[name]
    node = hostile.node
    found = node.acquire()
    node.change(found, started=1, started_boottime=boottime() - 5000)
    make(Path(found.joboutputs, "shutdown_message"), secret)
    for path in Path(found.joboutputs).iterdir():
        if not path.is_symlink() and path.stat().st_nlink == 1:
            os.chown(path, UID, GID)
    done = hostile.ended(found.domain)
    assert done.returncode == 0
    recorded = node.recorded()
    assert recorded["ShutdownCode"] == code
    assert "secret" not in recorded["ShutdownMessage"]
    one_attribute(recorded["ShutdownMessage"])
    assert hostile.leases() == []
    assert node.exported() == []
    kept = Path(found.sandbox, "joboutputs")
    for path in kept.iterdir():
        assert path.is_file()
        assert not path.is_symlink()
    assert SECRET.strip() not in b"".join(path.read_bytes() for path in kept.iterdir() if path.stat().st_size < 10**6)


def one_attribute(literal: str) -> None:
    """The text is one string to both ClassAd parsers, and can bring no attribute of its own."""
    classad = importlib.import_module("classad2")
    for text, syntax in (
        (f"ShutdownMessage = {literal}\nNext = 1\n", classad.Parser.Old),
        (f"[ShutdownMessage = {literal}; Next = 1]", classad.Parser.New),
    ):
        ad = classad.parseOne(text, syntax)
        assert sorted(ad.keys()) == ["Next", "ShutdownMessage"]
        value = ad["ShutdownMessage"]
        assert isinstance(value, str)
        assert value.isprintable()
        assert len(value) <= 256


def test_a_hundred_thousand_files(hostile: Hostile) -> None:
    node = hostile.node
    found = node.acquire()
    node.change(found, started=1, started_boottime=boottime() - 5000)
    fd = os.open(found.joboutputs, os.O_RDONLY)
    for number in range(100_000):
        os.close(os.open(f"f{number:06}", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd))
        os.chown(f"f{number:06}", UID, GID, dir_fd=fd)
    os.close(fd)
    node.output(found, "shutdown_message", b"200 Success")
    node.output(found, "vm-pilot.log", b"a log")
    assert hostile.ended(found.domain).returncode == 0
    assert node.recorded()["ShutdownCode"] == "200"
    kept = os.listdir(Path(found.sandbox, "joboutputs"))
    assert len(kept) == 200
    assert {"shutdown_message", "vm-pilot.log"} <= set(kept)
    assert hostile.leases() == []


@pytest.mark.parametrize("mode", [0o000, 0o200, 0o555, 0o7777])
def test_an_outputs_directory_whose_rights_the_guest_took_away(hostile: Hostile, mode: int) -> None:
    node = hostile.node
    found = node.acquire()
    node.change(found, started=1, started_boottime=boottime() - 5000)
    node.output(found, "shutdown_message", b"200 Success")
    node.output(found, "vm-pilot.log", b"a log")
    Path(found.joboutputs, "vm-pilot.log").chmod(0)
    (Path(found.joboutputs) / "locked").mkdir(0)
    Path(found.joboutputs).chmod(mode)
    assert hostile.ended(found.domain).returncode == 0
    assert node.recorded()["ShutdownCode"] == "200"
    assert sorted(os.listdir(found.joboutputs)) == ["shutdown_message", "vm-pilot.log"]
    for path in (Path(found.joboutputs), Path(found.joboutputs, "vm-pilot.log")):
        assert path.stat().st_mode & 0o7444 == 0o444
    assert hostile.leases() == []
