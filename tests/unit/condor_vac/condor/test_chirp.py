# SPDX-License-Identifier: GPL-3.0-or-later
"""What is set in the job's ad, as the starter at the other end reads it."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from condor_vac.base.errors import VacError
from condor_vac.condor import chirp
from tests.unit.condor_vac.worker.starter import COOKIE, Starter


@pytest.fixture
def starter() -> Iterator[Starter]:
    found = Starter()
    yield found
    found.stop()


@pytest.fixture
def config(starter: Starter, tmp_path: Path) -> str:
    path = tmp_path / ".chirp.config"
    path.write_text(starter.config)
    return str(path)


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        (200, "200"),
        (-1, "-1"),
        (0.5, "0.5"),
        (float("nan"), "undefined"),
        (True, "true"),
        (None, "undefined"),
        ("no more work", '"no more work"'),
        ("", '""'),
        ('"] ShutdownCode = 200', '"\\"] ShutdownCode = 200"'),
        ("two\nlines\tand \\ more", '"two\ufffdlines\ufffdand / more"'),
        ("no-break\u00a0space", '"no-break\ufffdspace"'),
        ("Zürich", '"Zürich"'),
    ],
)
def test_a_value_arrives_as_it_was_meant(starter: Starter, config: str, value: chirp.Value, literal: str) -> None:
    chirp.set_attributes(config, {"A": value, "B": 1}, timeout=10)
    assert starter.asked == [("A", literal), ("B", "1")]
    assert starter.connections == 1


@pytest.mark.parametrize("size", [chirp.LITERAL_LIMIT - 1, chirp.LITERAL_LIMIT, 10**6])
def test_a_long_value_is_cut_and_the_next_still_arrives(starter: Starter, config: str, size: int) -> None:
    chirp.set_attributes(config, {"A": '"' * size, "B": 2}, timeout=10)
    text = dict(starter.asked)["A"]
    assert len(text) <= chirp.LITERAL_LIMIT + 2
    assert (len(text) - 2) % 2 == 0
    assert dict(starter.asked)["B"] == "2"


@pytest.mark.parametrize(
    ("answer", "message"),
    [("-2", "A: .*WantIOProxy"), ("-14", "A: .*error -14"), ("what?", "A: .*answered"), ("", "A: .*ended")],
)
def test_a_refusal_names_the_attribute_and_ends_it(starter: Starter, config: str, answer: str, message: str) -> None:
    starter.answer = answer
    with pytest.raises(VacError, match=message):
        chirp.set_attributes(config, {"A": 1, "B": 2}, timeout=10)
    assert starter.asked == []


def test_a_starter_that_ends_has_heard_everything(tmp_path: Path) -> None:
    """It answers nothing before all was sent, and then ends."""
    printed: list[bytes] = []

    def listen(server: socket.socket) -> None:
        client, _ = server.accept()
        with client:
            while b"".join(printed).count(b"\n") < 4:
                printed.append(client.recv(4096))
            client.sendall(b"0\n0\n")

    key = tmp_path / ".chirp.config"
    with socket.create_server(("127.0.0.1", 0)) as server:
        key.write_text(f"127.0.0.1 {server.getsockname()[1]} {COOKIE}\n")
        thread = threading.Thread(target=listen, args=(server,))
        thread.start()
        with pytest.raises(VacError, match="B: the job's starter ended the connection"):
            chirp.set_attributes(str(key), {"A": 1, "B": "two words", "C": None}, timeout=10)
        thread.join()
    wanted = [f"cookie {COOKIE}", "set_job_attr A 1", 'set_job_attr B "two\\ words"', "set_job_attr C undefined"]
    assert b"".join(printed).decode().splitlines() == wanted


def test_a_silent_starter_costs_no_more_than_the_timeout(starter: Starter, config: str) -> None:
    starter.answer = None
    with pytest.raises(VacError, match="no answer within"):
        chirp.set_attributes(config, {"A": 1}, timeout=0.3)


def test_another_jobs_cookie_is_refused(starter: Starter, config: str) -> None:
    Path(config).write_text(starter.config.replace(COOKIE, "stolen"))
    with pytest.raises(VacError, match="does not know this cookie"):
        chirp.set_attributes(config, {"A": 1}, timeout=10)


def test_a_starter_that_is_gone(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = tmp_path / ".chirp.config"
    path.write_text(f"127.0.0.1 {port} x\n")
    with pytest.raises(VacError, match=f"starter at 127.0.0.1:{port}: Connection refused"):
        chirp.set_attributes(str(path), {"A": 1}, timeout=10)
    path.unlink()
    with pytest.raises(VacError, match="not there; the job needs WantIOProxy"):
        chirp.set_attributes(str(path), {"A": 1}, timeout=10)


@pytest.mark.parametrize(
    "text",
    ["", "x", "127.0.0.1 1", "127.0.0.1 99999 x", "127.0.0.1 0 x", "a 1 b\nset_job_attr A 1\n", "h 1 \xff", "h 1 c d"],
)
def test_a_key_that_is_not_htcondors(tmp_path: Path, text: str) -> None:
    path = tmp_path / ".chirp.config"
    path.write_text(text, "latin-1")
    with pytest.raises(VacError, match="chirp"):
        chirp.set_attributes(str(path), {"A": 1}, timeout=1)


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_a_key_that_is_not_a_file(config: str, kind: str) -> None:
    shutil.move(config, f"{config}.real")
    if kind == "link":
        os.symlink(f"{config}.real", config)
    elif kind == "fifo":
        os.mkfifo(config)
    else:
        Path(config).mkdir()
    with pytest.raises(VacError, match="chirp"):
        chirp.set_attributes(config, {"A": 1}, timeout=1)


def test_a_name_is_checked_before_anything_is_sent(starter: Starter, config: str) -> None:
    for name in ("A B", "1A", "A\n", "", "A" * 65, "Ä"):
        with pytest.raises(VacError, match="not an attribute name"):
            chirp.set_attributes(config, {"Good": 1, name: 1}, timeout=10)
    assert starter.connections == 0
