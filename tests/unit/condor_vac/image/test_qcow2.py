# SPDX-License-Identifier: GPL-3.0-or-later
"""What a qcow2 image says that it reads: images that QEMU's own tool makes, and headers that none makes."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.base.errors import UsageError, VacError
from condor_vac.image import qcow2
from condor_vac.image.qcow2 import Header


def made(path: Path, *options: str, size: str = "1M") -> str:
    """An image by qemu-img."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), size], check=True)
    return str(path)


@pytest.mark.parametrize("version", ["0.10", "1.1"])
@pytest.mark.parametrize("cluster", ["512", "64k", "2M"])
def test_images_of_qemus_own_tool(tmp_path: Path, version: str, cluster: str) -> None:
    options = ["-o", f"compat={version},cluster_size={cluster}"]
    assert qcow2.read(made(tmp_path / "alone", *options)) == Header(None, None, False)
    base = made(tmp_path / "base")
    assert qcow2.read(made(tmp_path / "overlay", *options, "-F", "qcow2", "-b", base)) == Header(base, "qcow2", False)


def test_an_external_data_file(tmp_path: Path) -> None:
    path = made(tmp_path / "image", "-o", f"data_file={tmp_path}/data,data_file_raw=on")
    header = qcow2.read(path)
    assert header == Header(None, None, True)
    with pytest.raises(UsageError, match="image: has its data in another file, which QEMU would read"):
        qcow2.check_alone(header, "image")


def test_what_stands_alone_is_good(tmp_path: Path) -> None:
    qcow2.check_alone(qcow2.read(made(tmp_path / "alone")), "image")
    qcow2.check_alone(qcow2.parse(b"an ISO or a raw disk" * 100, "image"), "image")
    with pytest.raises(UsageError, match="image: has a backing file, '/etc/passwd', which QEMU would read"):
        qcow2.check_alone(Header("/etc/passwd", "raw", False), "image")


def header(version: int = 3, *, offset: int = 0, size: int = 0, features: int = 0, length: int = 104) -> bytes:
    fixed = struct.pack(">4sIQI", b"QFI\xfb", version, offset, size)
    return fixed.ljust(72, b"\0") + struct.pack(">QQQII", features, 0, 0, 4, length)


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack(">II", kind, len(data)) + data.ljust((len(data) + 7) // 8 * 8, b"\0")


DAMAGED = {
    "four bytes": b"QFI\xfb",
    "half a header": header()[:60],
    "version 1": header(1),
    "version 4": header(4),
    "a header of 90 bytes": header(length=90),
    "a header of 4 GiB": header(length=2**32 - 1),
    "a name of 4 GiB": header(offset=104, size=2**32 - 1),
    "a name at 16 EiB": header(offset=2**64 - 1, size=10),
    "a name behind the first 64 KiB": header(offset=1 << 16, size=10) + bytes(1 << 17),
    "a name with a null byte": header(offset=104, size=8) + b"/a\0/etc/",
    "an extension of 4 GiB": header() + struct.pack(">II", 5, 2**32 - 1) + bytes(100),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_header_is_refused(kind: str) -> None:
    with pytest.raises(UsageError, match=r"^image: its qcow2 header is damaged"):
        qcow2.parse(DAMAGED[kind][: qcow2.HEAD_BYTES], "image")


def test_a_data_file_is_seen_by_either_sign() -> None:
    assert qcow2.parse(header(features=4) + extension(0, b""), "image") == Header(None, None, True)
    assert qcow2.parse(header() + extension(0x44415441, b"/etc/passwd"), "image") == Header(None, None, True)
    assert qcow2.parse(header() + extension(0x6803F857, b"x" * 49), "image") == Header(None, None, False)


@given(st.binary(max_size=300), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.sampled_from([2, 3]))
def test_whatever_the_bytes_the_answer_is_a_header_or_one_line(
    rest: bytes, offset: int, size: int, version: int
) -> None:
    for at, length in ((offset % 400, size % 100), (offset, size)):
        try:
            found = qcow2.parse(header(version, offset=at, size=length) + rest, "image")
        except UsageError as error:
            message = str(error)
        else:
            assert found is not None
            message = ascii(found)
        assert message.isprintable()


@pytest.mark.parametrize("data", [b"", b"not an image at all, really", b"KDMV" + bytes(600), b"QFI\xfa" + bytes(600)])
def test_what_is_no_qcow2_image_is_refused_as_one(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "image").write_bytes(data)
    with pytest.raises(UsageError, match="not a qcow2 image; correct its format"):
        qcow2.read(str(tmp_path / "image"))


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "image")
    with pytest.raises(UsageError, match="not a regular file"):
        qcow2.read(str(tmp_path / "image"))
    with pytest.raises(VacError, match="none: cannot be read: No such file"):
        qcow2.read(str(tmp_path / "none"))
