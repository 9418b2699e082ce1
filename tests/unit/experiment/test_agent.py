# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent of the test guest, run by this host's sh against a real task queue."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.experiment import taskqueue

TEMPLATE = Path(taskqueue.__file__).parent / "guest" / "agent.user_data"
FEATURES = {
    "machinefeatures/total_cpu": "2",
    "jobfeatures/allocated_cpu": "2",
    "jobfeatures/jobstart_secs": "1700000000",
    "jobfeatures/job_id": "7b9d3b1e",
    "jobfeatures/wall_limit_secs": "86400",
    "jobfeatures/cpu_limit_secs": "172800",
}


@contextmanager
def served(kind: type[taskqueue.Server]) -> Iterator[str]:
    """The address of a queue of such a server, while the context lasts."""
    with kind(("127.0.0.1", 0), lease=100) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/exp"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def queue() -> Iterator[str]:
    with served(taskqueue.Server) as url:
        yield url


class Vm:
    """Directories as a VM has them, and the agent in them."""

    def __init__(self, directory: Path, queue: str) -> None:
        self.directory = directory
        self.outputs = directory / "joboutputs"
        self.values = {
            "machinetype": "exp", "space": "lab", "uuid": "7b9d3b1e", "option_queue_url": queue,
            "option_idle_seconds": "0", "option_heartbeat_interval": "1",
        }  # fmt: skip
        self.outputs.mkdir()
        for name, value in FEATURES.items():
            path = directory / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(value)
        (directory / "vm-bootstrap.log").write_text("vm[1.0] kernel up\n")

    def start(self, **options: str) -> subprocess.Popen[bytes]:
        values = {**self.values, **options}
        text = re.sub(r"##user_data_(\w+)##", lambda match: values.get(match[1], ""), TEMPLATE.read_text())
        script = self.directory / "user-data"
        script.write_text(text)
        environment = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.directory),
            "MACHINEFEATURES": str(self.directory / "machinefeatures"),
            "JOBFEATURES": str(self.directory / "jobfeatures"),
            "JOBOUTPUTS": str(self.outputs) if self.outputs.exists() else "",
            "BOOTSTRAP_LOG": str(self.directory / "vm-bootstrap.log"),
            "SYSRQ": str(self.directory / "sysrq"),
            "DEAF_FILE": str(self.directory / "deaf"),
            "POLL_SECONDS": "1",
        }
        return subprocess.Popen(
            ["/bin/sh", str(script)], env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def run(self, **options: str) -> str | None:
        """Runs the agent to its end; returns the shutdown message."""
        process = self.start(**options)
        try:
            process.wait(60)
        finally:
            end(process)
        return self.read("shutdown_message")

    def read(self, name: str) -> str | None:
        path = self.outputs / name
        return path.read_text() if path.exists() else None


def end(process: subprocess.Popen[bytes]) -> None:
    """Whatever is left of the agent's process group is stopped."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def until(found: object) -> None:
    """Waits until the callable is true."""
    assert callable(found)
    for _ in range(300):
        if found():
            return
        time.sleep(0.1)
    raise AssertionError("did not happen")


@pytest.fixture
def vm(tmp_path: Path, queue: str) -> Vm:
    return Vm(tmp_path, queue)


class Hushed(taskqueue.Server):
    """A queue that does what it is asked, and of which no first answer to a question arrives."""

    def __init__(self, address: tuple[str, int], lease: float) -> None:
        super().__init__(address, lease)
        self.asked: set[str] = set()

    def answer(self, method: str, target: str) -> tuple[str, bytes]:
        found = super().answer(method, target)
        if method == "POST" and target not in self.asked:
            self.asked.add(target)
            raise ConnectionError(target)
        self.asked.discard(target)
        return found


@pytest.mark.slow
def test_no_task_is_lost_with_an_answer(tmp_path: Path) -> None:
    with served(Hushed) as url:
        with pytest.raises(OSError, match="closed"):
            taskqueue.add(url, 2, 0)
        assert Vm(tmp_path, url).run() == "200 Success\n"
        found = taskqueue.status(url)
    assert {key: found[key] for key in ("queued", "taken", "done", "requeued")} == {
        "queued": 0, "taken": 0, "done": 2, "requeued": 0,
    }  # fmt: skip
    assert [event["event"] for event in found["events"]].count("again") == 2


@pytest.mark.slow
def test_does_all_tasks_then_200_with_logs_heartbeat_and_reports(vm: Vm, queue: str) -> None:
    taskqueue.add(queue, 2, 1)
    assert vm.run() == "200 Success\n"
    found = taskqueue.status(queue)
    assert (found["done"], found["queued"], found["taken"]) == (2, 0, 0)
    assert list(found["vms"]) == ["7b9d3b1e"]
    log = vm.read("vm-pilot.log") or ""
    assert "task t2: done" in log
    assert "jobfeature wall_limit_secs = 86400" in log
    assert vm.read("vm-bootstrap.log") == "vm[1.0] kernel up\n"
    assert (vm.read("heartbeat") or "").strip().isdecimal()


def test_publishes_the_certificates_of_its_proxy_and_not_the_key(vm: Vm, queue: str) -> None:
    block = "-----BEGIN {0}-----\n{1}\n-----END {0}-----\n"
    one, two = (block.format("CERTIFICATE", word) for word in ("QUJD", "REVG"))
    vm.run(option_x509_proxy=one + block.format("RSA PRIVATE KEY", "c2VjcmV0") + two)
    assert (vm.read("x509_certificates.pem") or "").rstrip("\n") + "\n" == one + two
    assert "proxy: 2 certificates" in (vm.read("vm-pilot.log") or "")


def test_empty_queue_gives_300_and_a_limit_of_tasks_leaves_the_rest(vm: Vm, queue: str) -> None:
    assert vm.run() == "300 No more work in the queue\n"
    taskqueue.add(queue, 3, 0)
    assert vm.run(option_tasks_per_vm="2") == "200 Success\n"
    assert taskqueue.status(queue)["queued"] == 1


@pytest.mark.slow
def test_a_light_task_takes_its_time_and_next_to_no_processor(tmp_path: Path) -> None:
    used = {}
    for light in (True, False):
        directory = tmp_path / f"light-{light}"
        directory.mkdir()
        work = taskqueue.Work("exp", 1, 3, light)
        with taskqueue.Server(("127.0.0.1", 0), lease=100, tasks=[work]) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            vm = Vm(directory, f"http://127.0.0.1:{server.server_address[1]}/exp")
            began = time.monotonic()
            process = vm.start(option_tasks_per_vm="1")
            _, status, usage = os.wait4(process.pid, 0)
            assert (status, vm.read("shutdown_message")) == (0, "200 Success\n")
            assert time.monotonic() - began >= 2
            used[light] = usage.ru_utime + usage.ru_stime
            server.shutdown()
            thread.join()
    assert used[True] < used[False] / 2


@pytest.mark.slow
def test_waits_idle_seconds_for_a_first_task(vm: Vm, queue: str) -> None:
    process = vm.start(option_idle_seconds="50")
    try:
        until(lambda: taskqueue.status(queue)["asks_without_task"] >= 2)
        assert vm.read("shutdown_message") is None
        taskqueue.add(queue, 1, 0)
        process.wait(60)
    finally:
        end(process)
    assert vm.read("shutdown_message") == "200 Success\n"


def test_unreachable_queue_is_a_transient_problem_not_lack_of_work(vm: Vm) -> None:
    assert vm.run(option_queue_url="http://127.0.0.1:9/none") == "700 The task queue does not answer\n"


def test_all_features_that_there_are_stand_in_the_log(vm: Vm) -> None:
    (vm.directory / "machinefeatures/vac_space").write_text("site.example.org")
    vm.run()
    log = (vm.read("vm-pilot.log") or "").splitlines()
    assert any("machinefeatures has" in line and "vac_space" in line.split() for line in log)


def test_missing_features_are_named_in_the_log(vm: Vm) -> None:
    (vm.directory / "jobfeatures/cpu_limit_secs").unlink()
    vm.run()
    assert "jobfeature cpu_limit_secs is MISSING" in (vm.read("vm-pilot.log") or "")


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("error600", "600 "),
        ("silent", None),
        ("no_heartbeat", "200 "),
        ("crash", "600 "),
        ("nonsense", "600 "),
    ],
)
def test_misbehaviour(vm: Vm, queue: str, mode: str, message: str | None) -> None:
    taskqueue.add(queue, 1, 0)
    printed = vm.run(option_mode=mode)
    assert printed == message if message is None else (printed or "").startswith(message)
    assert (vm.directory / "sysrq").exists() == (mode == "crash")
    if mode == "no_heartbeat":
        assert vm.read("heartbeat") is None
    if mode in ("silent", "no_heartbeat"):
        assert taskqueue.status(queue)["done"] == 1


@pytest.mark.slow
def test_hang_is_deaf_but_its_heart_beats(vm: Vm) -> None:
    process = vm.start(option_mode="hang")
    try:
        until(lambda: (vm.directory / "deaf").exists() and vm.read("heartbeat"))
        os.killpg(process.pid, signal.SIGTERM)
        (vm.outputs / "heartbeat").unlink()
        until(lambda: vm.read("heartbeat"))
        assert process.poll() is None
    finally:
        end(process)


def test_when_stopped_it_ends_and_leaves_the_message_to_others(vm: Vm, queue: str) -> None:
    taskqueue.add(queue, 1, 300)
    process = vm.start()
    try:
        until(lambda: taskqueue.status(queue)["taken"] == 1)
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    finally:
        end(process)
    assert vm.read("shutdown_message") is None
    assert "told to stop" in (vm.read("vm-pilot.log") or "")


class Outputs(BaseHTTPRequestHandler):
    """What serves features and takes outputs of a VM that shares by HTTP, and refuses each of ``busy`` once."""

    received: ClassVar[dict[str, bytes]] = {}
    busy: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        value = FEATURES.get(self.path.lstrip("/"))
        self.send_response(200 if value else 404)
        self.end_headers()
        self.wfile.write((value or "").encode())

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path in self.busy:
            self.busy.remove(self.path)
            self.send_response(503)
        else:
            self.received[self.path] = data
            self.send_response(201)
        self.end_headers()


# As busybox nc: what comes in goes out, and it ends when the other side does.
NC = """#!{python}
import socket, sys
with socket.create_connection((sys.argv[-2], int(sys.argv[-1]))) as link:
    link.sendall(sys.stdin.buffer.read())
    while data := link.recv(4096):
        sys.stdout.buffer.write(data)
"""


@pytest.mark.slow
def test_outputs_go_by_put_where_there_are_no_directories(
    vm: Vm, queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/nc").write_text(NC.format(python=sys.executable))
    (tmp_path / "bin/nc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    taskqueue.add(queue, 1, 0)
    names = ("machinefeatures", "jobfeatures", "joboutputs")
    for name in names:
        shutil.rmtree(vm.directory / name)
    Outputs.received.clear()
    Outputs.busy.add("/joboutputs/shutdown_message")
    with HTTPServer(("127.0.0.1", 0), Outputs) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            vm.run(**{f"{name}_url": f"{base}/{name}" for name in names})
        finally:
            server.shutdown()
            thread.join()
    assert not Outputs.busy
    assert Outputs.received["/joboutputs/shutdown_message"] == b"200 Success\n"
    assert b"jobfeature job_id = 7b9d3b1e" in Outputs.received["/joboutputs/vm-pilot.log"]
