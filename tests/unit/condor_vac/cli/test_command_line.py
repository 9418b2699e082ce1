# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac`` itself: misspelt words, and an output that nobody reads any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from condor_vac.cli import dispatch, mjf_check

SOURCE = Path(__file__).resolve().parents[4] / "src"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("statsu", "condor_vac: error: argument COMMAND: 'statsu' is unknown; did you mean status?"),
        ("Doctor", "condor_vac: error: argument COMMAND: 'Doctor' is unknown; did you mean doctor?"),
        ("image lst", "condor_vac image: error: argument ACTION: 'lst' is unknown; did you mean list?"),
        ("doctor --step hoks", "condor_vac doctor: error: argument --step: 'hoks' is unknown; did you mean hooks?"),
        ("status --jsn", "condor_vac status: error: unrecognized arguments: --jsn; did you mean --json?"),
        ("machines a --whatch=5", "unrecognized arguments: --whatch=5; did you mean --watch?"),
        ("image put a b --chksum x", "condor_vac image put: error: unrecognized arguments: --chksum x; did you mean"),
        # Nothing is near.
        ("frobnicate", "'frobnicate' is unknown; give one of factory, factory-job, status"),
        ("shutdowntime x", "'x' is unknown; give one of show, set, cancel"),
        ("status --colour", "condor_vac status: error: unrecognized arguments: --colour\n"),
        ("proxy a b c", "condor_vac proxy: error: unrecognized arguments: b c\n"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest_right_one(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        dispatch.main(words.split())
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_words_that_are_right_are_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "message").write_text("200 Done")
    assert dispatch.main(["outcome", "--runtime", "9999", "--json", str(tmp_path / "message")]) == 0
    assert '"code": 200' in capsys.readouterr().out


# A little, which stays in Python's buffer until the end; of argparse, which ends the program; more than a buffer holds.
@pytest.mark.parametrize(
    "words", [["outcome", "--runtime=9", "FILE"], ["image", "--help"], ["render-user-data", "FILE"]]
)
def test_a_reader_that_leaves_ends_the_command_by_sigpipe_without_a_word(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("200 Done\n" + "x" * 500_000)
    argv = [sys.executable, "-m", "condor_vac", *(str(tmp_path / "file") if word == "FILE" else word for word in words)]
    environment = {"PYTHONPATH": str(SOURCE)}
    read = subprocess.run(argv, env=environment, capture_output=True, check=False)
    assert (read.returncode, read.stderr) == (0, b"")
    assert read.stdout
    out, into = os.pipe()
    os.close(out)
    try:
        left = subprocess.run(argv, env=environment, stdout=into, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(into)
    assert (left.returncode, left.stderr) == (-signal.SIGPIPE, b"")


def test_without_an_output_a_command_does_its_work(tmp_path: Path) -> None:
    (tmp_path / "message").write_text("200 Done")
    command = f"exec {sys.executable} -m condor_vac outcome --runtime=9 {tmp_path}/message >&-"
    done = subprocess.run(["sh", "-c", command], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_another_broken_pipe_is_no_readers(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def broken(_args: object) -> int:
        raise BrokenPipeError("a connection to a daemon")

    monkeypatch.setattr(mjf_check, "run", broken)
    with pytest.raises(BrokenPipeError, match="a connection"):
        dispatch.main(["mjf-check"])
