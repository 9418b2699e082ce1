# SPDX-License-Identifier: GPL-3.0-or-later
"""The context ISO, made by each of the tools that a node may have and read back byte by byte."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from condor_vac.base import tools
from condor_vac.base.errors import VacError
from condor_vac.worker.vm import iso

FILES = {"context.sh": b"A=1\n" * 700, "user-data": bytes(range(256)) * 20, "meta-data": b"{}"}


def volume(path: Path) -> tuple[str, dict[str, bytes]]:
    """Label and root files of an ISO 9660 image, names by Rock Ridge (ECMA-119 8.4, 9.1; RRIP 4.1.4)."""
    image = path.read_bytes()
    primary = image[16 * 2048 : 17 * 2048]
    assert primary[:6] == b"\x01CD001"
    root = primary[156:190]
    files = {}
    start, size = (int.from_bytes(root[at : at + 4], "little") for at in (2, 10))
    directory = image[start * 2048 : start * 2048 + size]
    at = 0
    while at < size and directory[at]:
        record = directory[at : at + directory[at]]
        first, length = (int.from_bytes(record[pos : pos + 4], "little") for pos in (2, 10))
        name_field = record.find(b"NM", 33 + record[32])
        if name_field > 0:
            name = record[name_field + 5 : name_field + record[name_field + 2]].decode()
            files[name] = image[first * 2048 : first * 2048 + length]
        at += directory[at]
    return primary[40:72].decode().rstrip(), files


def only(tool: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that has none of the tools but this one."""
    found = shutil.which(tool, path=tools.SYSTEM_PATH)
    assert found, f"{tool} is not installed; tests/install_packages installs it"
    directory.mkdir()
    (directory / tool).symlink_to(found)
    monkeypatch.setattr(tools, "SYSTEM_PATH", str(directory))


@pytest.mark.parametrize("tool", ["xorriso", "genisoimage", "mkisofs"])
def test_label_names_and_bytes_come_back(
    tool: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(tool, tmp_path_factory.mktemp("node") / "bin", monkeypatch)
    path = tmp_path / "context.iso"
    iso.make(str(path), FILES, "cidata")
    assert volume(path) == ("cidata", FILES)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["context.iso"]


def test_the_same_files_make_the_same_image(tmp_path: Path) -> None:
    for name in ("a", "b"):
        iso.make(str(tmp_path / name), FILES, "CONTEXT", mode=0o644)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_an_older_image_or_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "context.iso").symlink_to("victim")
    iso.make(str(tmp_path / "context.iso"), FILES, "CONTEXT")
    assert (tmp_path / "victim").read_text() == "precious"
    assert volume(tmp_path / "context.iso")[1] == FILES


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-o", ".hidden", "a b", "x" * 70])
def test_names_are_plain(name: str, tmp_path: Path) -> None:
    with pytest.raises(VacError, match="not a name for a file on an ISO"):
        iso.make(str(tmp_path / "x.iso"), {name: b""}, "CONTEXT")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("label", ["", "a b", "-o", "x" * 33])
def test_labels_are_plain(label: str, tmp_path: Path) -> None:
    with pytest.raises(VacError, match="not a volume label"):
        iso.make(str(tmp_path / "x.iso"), FILES, label)


def test_a_missing_tool_or_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VacError, match=r"x\.iso: cannot make the image: No such file"):
        iso.make(str(tmp_path / "no" / "x.iso"), FILES, "CONTEXT")
    monkeypatch.setattr(tools, "SYSTEM_PATH", str(tmp_path))
    with pytest.raises(VacError, match=r"^none of xorriso, genisoimage, mkisofs .*; install xorriso"):
        iso.make(str(tmp_path / "x.iso"), FILES, "CONTEXT")
    assert os.listdir(tmp_path) == []


# xorriso with a part of the image written, as it dies; the real one from the second start, or from the third, on.
CRASHES = """#!/bin/sh
for word; do [ "$last" = -o ] && image=$word; last=$word; done
[ -e "$image" ] && { echo "the image is there already" >&2; exit 1; }
echo start >> "$0.starts"
[ "$(wc -l < "$0.starts")" -gt CRASHES ] && exec REAL "$@"
echo half > "$image"
echo "libburn : FATAL : xorriso : UNIX-SIGNAL:  SIGSEGV  errno= 0" >&2
exit 1
"""


def crashing(times: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A xorriso that crashes so many times."""
    real = shutil.which("xorriso", path=tools.SYSTEM_PATH)
    assert real, "xorriso is not installed; tests/install_packages installs it"
    tool = directory / "xorriso"
    tool.write_text(CRASHES.replace("CRASHES", str(times)).replace("REAL", real))
    tool.chmod(0o755)
    monkeypatch.setattr(tools, "SYSTEM_PATH", f"{directory}:{tools.SYSTEM_PATH}")
    return directory / "xorriso.starts"


def test_a_tool_that_crashes_is_started_once_more(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = crashing(1, tmp_path_factory.mktemp("bin"), monkeypatch)
    iso.make(str(tmp_path / "a.iso"), FILES, "CONTEXT")
    assert volume(tmp_path / "a.iso") == ("CONTEXT", FILES)
    assert starts.read_text() == "start\n" * 2


def test_one_that_crashes_again_is_an_error(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = crashing(2, tmp_path_factory.mktemp("bin"), monkeypatch)
    with pytest.raises(VacError, match="SIGSEGV"):
        iso.make(str(tmp_path / "a.iso"), FILES, "CONTEXT")
    assert list(tmp_path.iterdir()) == []
    assert starts.read_text() == "start\n" * 2
