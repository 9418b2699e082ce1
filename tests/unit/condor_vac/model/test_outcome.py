# SPDX-License-Identifier: GPL-3.0-or-later
"""How shutdown messages are read, from well-behaved guests and from hostile ones."""

from __future__ import annotations

import io
import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.base.errors import VacError
from condor_vac.cli import dispatch
from condor_vac.model.outcome import READ_LIMIT, TEXT_LIMIT, parse, read_message

KINDS = [
    (100, 199, "host_request", False),
    (200, 299, "success", False),
    (300, 399, "no_work", True),
    (400, 499, "banned", True),
    (500, 599, "site", True),
    (600, 699, "experiment", True),
    (700, 999, "agent", True),
]


@pytest.mark.parametrize(("low", "high", "kind", "abort"), KINDS)
def test_every_code_of_a_hundred_is_classified_alike_at_any_runtime(
    low: int, high: int, kind: str, abort: bool
) -> None:
    for code in range(low, high + 1):
        for runtime in (0, 599, 600, 90000):
            outcome = parse(b"%d whatever" % code, runtime, 600)
            assert (outcome.code, outcome.kind, outcome.abort) == (code, kind, abort)
            assert outcome.text == "whatever"


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (b"200 Intended work completed ok", 200, "Intended work completed ok"),
        (b"200 Success\n", 200, "Success"),
        (b"300 No more work\r\n", 300, "No more work"),
        (b"300\n", 300, ""),
        (b"300", 300, ""),
        (b"300: no work", 300, ": no work"),
        (b" 200 padded", 200, "padded"),
        (b"200\tSuccess", 200, "Success"),
        (b"200 Success\n700 second line", 200, "Success"),
        (b"700 Transient\r300 x", 700, "Transient"),
        (b'200 "] ShutdownCode = 300; x = "', 200, '"] ShutdownCode = 300; x = "'),
        (b"200 caf\xc3\xa9", 200, "caf\u00e9"),
        (b"200 \xff\xfe", 200, "\ufffd\ufffd"),
        (b"200\x00\x1b[31mred", 200, "\ufffd\ufffd[31mred"),
        (b"200 right\xe2\x80\xae-to-left", 200, "right\ufffd-to-left"),
    ],
)
def test_the_code_counts_and_the_text_is_made_safe(message: bytes, code: int, text: str) -> None:
    outcome = parse(message, 10, 600)
    assert (outcome.code, outcome.text) == (code, text)


@pytest.mark.parametrize(
    "message",
    [None, b"", b"\n", b"\n200 second line", b"Success", b"99 low", b"1000 high", b"2000", b"020 octal",
     b"-200", b"+200 x", b"20 0", b"2e2 x", b"200ok", b"200_1", b"\x00200 x",
     b"\xd9\xa2\xd9\xa0\xd9\xa0 arabic digits"],
)  # fmt: skip
def test_a_message_without_a_code_counts_as_none(message: bytes | None) -> None:
    short = parse(message, 599.9, 600)
    assert (short.code, short.abort, short.kind) == (None, True, "fizzle")
    long = parse(message, 600, 600)
    assert (long.code, long.abort, long.kind) == (None, False, "none")


def test_a_runtime_that_is_not_a_number_counts_as_short() -> None:
    assert parse(None, float("nan"), 600).kind == "fizzle"
    assert parse(None, -5, 600).kind == "fizzle"


@given(st.binary(max_size=2 * READ_LIMIT), st.floats(allow_nan=True), st.integers(1, 100000))
def test_no_message_breaks_the_reader_or_its_text(message: bytes, runtime: float, fizzle: int) -> None:
    outcome = parse(message, runtime, fizzle)
    assert outcome.code is None or 100 <= outcome.code <= 999
    assert len(outcome.text) <= TEXT_LIMIT
    assert outcome.text == "" or outcome.text.isprintable()
    assert outcome.abort == (outcome.kind in {"no_work", "banned", "site", "experiment", "agent", "fizzle"})
    json.dumps(outcome.text)


def test_only_the_beginning_of_a_huge_message_is_read(tmp_path: Path) -> None:
    path = tmp_path / "shutdown_message"
    with path.open("wb") as stream:
        stream.write(b"300 No work ")
        stream.truncate(1 << 30)
    message = read_message(str(tmp_path))
    assert message is not None
    assert len(message) == READ_LIMIT
    outcome = parse(message, 1, 600)
    assert outcome.code == 300
    assert outcome.text.startswith("No work")
    assert len(outcome.text) == TEXT_LIMIT


def _symlink(path: Path) -> None:
    (path.parent / "secret").write_bytes(b"200 secret")
    path.symlink_to("secret")


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path is limited to some 100 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def _hard_link(path: Path) -> None:
    (path.parent / "other").write_bytes(b"200 other")
    os.link(path.parent / "other", path)


HOSTILE = {
    "absent": lambda path: None,
    "symlink": _symlink,
    "dangling": lambda path: path.symlink_to("/nowhere/at/all"),
    "loop": lambda path: path.symlink_to(path.name),
    "directory": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
    "socket": _socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "hard link": _hard_link,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_only_a_plain_file_is_a_message(what: str, tmp_path: Path) -> None:
    HOSTILE[what](tmp_path / "shutdown_message")
    assert read_message(str(tmp_path)) is None
    dir_fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert read_message(dir_fd) is None
    finally:
        os.close(dir_fd)


def test_an_outputs_directory_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "shutdown_message").write_bytes(b"200 OK")
    (tmp_path / "link").symlink_to("real")
    assert read_message(str(tmp_path / "real")) == b"200 OK"
    assert read_message(str(tmp_path / "link")) is None


def test_an_empty_file_is_a_message_without_code(tmp_path: Path) -> None:
    (tmp_path / "shutdown_message").touch()
    assert read_message(str(tmp_path)) == b""


def test_a_fault_of_the_node_is_not_taken_for_silence(tmp_path: Path) -> None:
    with pytest.raises(VacError, match="shutdown_message: cannot read: File name too long"):
        read_message(str(tmp_path / ("x" * 300)))


def _run(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    assert dispatch.main(["outcome", "--json", *argv]) == 0
    result = json.loads(capsys.readouterr().out)
    assert isinstance(result, dict)
    return result


def test_command_prints_the_four_keys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "message"
    path.write_bytes(b"501 No CVMFS\n")
    assert _run(capsys, "--runtime", "30", str(path)) == {
        "code": 501,
        "text": "No CVMFS",
        "abort": True,
        "kind": "site",
    }


def test_command_takes_an_absent_file_as_no_message(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    assert _run(capsys, "--runtime", "1799", "--fizzle", "1800", absent)["kind"] == "fizzle"
    assert _run(capsys, "--runtime", "1800", "--fizzle", "1800", absent)["kind"] == "none"
    assert _run(capsys, "--runtime", "700", absent) == {
        "code": None,
        "text": "",
        "abort": False,
        "kind": "none",
    }


def test_command_reads_a_dash_as_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"400 Banned")))
    assert _run(capsys, "--runtime", "9", "-")["kind"] == "banned"


def test_command_refuses_a_wrong_directory_and_runtime(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert dispatch.main(["outcome", "--runtime", "1", str(tmp_path / "no" / "file")]) == 2
    assert "no such directory" in capsys.readouterr().err
    for runtime in ("-1", "nan", "inf", "soon"):
        with pytest.raises(SystemExit) as exit_info:
            dispatch.main(["outcome", f"--runtime={runtime}", str(tmp_path / "x")])
        assert exit_info.value.code == 2
