# SPDX-License-Identifier: GPL-3.0-or-later
"""Which QEMU runs the lab's machines, and how one that is not installed is unpacked and called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lab import emulator, host, images
from tests.lab.host import Acceleration
from tests.lab.paths import LabError

TCG = Acceleration("tcg", (), 1)
KVM = Acceleration("kvm", (), 2)
OLD = "QEMU emulator version 7.2.17 (Debian 1:7.2+dfsg-7+deb12u13)"


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host's own QEMU, which reports an old version, and an empty lab."""
    program = tmp_path / "bin" / emulator.PROGRAM
    program.parent.mkdir()
    answer(program, OLD)
    monkeypatch.setenv("VAC_LAB_DIR", str(tmp_path / "lab"))
    monkeypatch.setattr(host, "find_program", lambda _: str(program))
    monkeypatch.setattr(host, "check", lambda: None)
    monkeypatch.setattr(images, "host_targets", lambda: ["Debian|Debian|main|http://mirror.example.org/debian"])
    return program


def answer(program: Path, text: str) -> None:
    program.write_text(f"#!/bin/sh\necho '{text}'\n")
    program.chmod(0o755)


def builder(monkeypatch: pytest.MonkeyPatch, fails: bool = False) -> list[str]:
    """Instead of mmdebstrap: makes the tree, or half of it and an error; returns what was built."""
    built: list[str] = []

    def build(what: str, script: str, log: Path) -> None:
        built.append(script)
        work = Path(next(word for word in script.split() if "/.qemu-" in word))
        (work / "usr").mkdir()
        if fails:
            raise LabError(f"building the {what} failed, see {log}")

    monkeypatch.setattr(images, "run_build", build)
    return built


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (OLD, (7, 2)),
        ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright (c) 2003-2025 Fabrice Bellard", (10, 0)),
        ("QEMU emulator version 11.1.3", (11, 1)),
        ("something else", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_the_version_is_read_from_what_qemu_prints(text: str, number: tuple[int, int]) -> None:
    assert emulator.version(text) == number


@pytest.mark.parametrize(
    ("accel", "says"), [(KVM, OLD), (TCG, "QEMU emulator version 11.1.0"), (TCG, "QEMU emulator version 11.1.3")]
)
def test_the_hosts_own_runs_where_it_need_not_emulate_or_is_new(
    own: Path, monkeypatch: pytest.MonkeyPatch, accel: Acceleration, says: str
) -> None:
    built = builder(monkeypatch)
    answer(own, says)
    assert emulator.command(accel) == [str(own)]
    assert not built


@pytest.mark.parametrize("says", [OLD, "QEMU emulator version 10.0.11", "QEMU emulator version 10.1.3"])
def test_an_old_one_that_would_emulate_is_replaced_by_one_that_is_unpacked_once(
    own: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    answer(own, says)
    built = builder(monkeypatch)
    first = emulator.command(TCG)
    assert emulator.command(TCG) == first
    assert len(built) == 1
    for suite in ("trixie", "trixie-backports"):
        assert f"http://mirror.example.org/debian {suite} main" in built[0]
    place = images.images_dir() / emulator.name()
    assert first[0] == f"{place}/usr/lib64/ld-linux-x86-64.so.2"
    assert f"{place}/usr/bin/{emulator.PROGRAM}" in first
    assert str(own) not in first
    assert emulator.name() not in images.prune([emulator.name()])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: removes a tree of root's")
def test_half_a_tree_is_never_used(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder(monkeypatch, fails=True)
    with pytest.raises(LabError, match=r"QEMU of Debian 13's backports failed, see .*qemu\.log"):
        emulator.command(TCG)
    assert not [path for path in images.images_dir().iterdir() if path.is_dir()]
    assert len(builder(monkeypatch)) == 0
    assert emulator.command(TCG)[0].endswith("ld-linux-x86-64.so.2")


def test_another_mirror_is_another_tree(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = emulator.name()
    monkeypatch.setattr(images, "host_targets", lambda: ["Debian|Debian|main|http://other.example.org/debian"])
    assert emulator.name() != before


def test_a_qemu_that_does_not_start_is_reported(own: Path) -> None:
    answer(own, "no")
    own.write_text("#!/bin/sh\necho broken library >&2\nexit 127\n")
    with pytest.raises(LabError, match="--version failed: broken library"):
        emulator.command(TCG)


def test_the_words_run_a_program_of_the_tree_with_its_own_loader(tmp_path: Path) -> None:
    """As far as that goes without a download: the host's loader and a program of the host's in QEMU's place."""
    loader = Path("/lib64/ld-linux-x86-64.so.2")
    if not loader.exists():
        pytest.skip("no x86_64 loader on this host")
    usr = tmp_path / "usr"
    for directory in ("lib64", "bin", "lib/x86_64-linux-gnu"):
        (usr / directory).mkdir(parents=True)
    shutil.copy(loader.resolve(), usr / "lib64/ld-linux-x86-64.so.2")
    for library in ("libc.so.6", "libselinux.so.1", "libpcre2-8.so.0"):
        for found in Path("/lib/x86_64-linux-gnu").glob(library):
            shutil.copy(found.resolve(), usr / "lib/x86_64-linux-gnu" / library)
    shutil.copy("/bin/echo", usr / "bin" / emulator.PROGRAM)
    done = subprocess.run([*emulator.loaded(tmp_path), "started"], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "started"
    assert f"-L {usr}/share/seabios" in done.stdout
