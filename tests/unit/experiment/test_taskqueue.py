# SPDX-License-Identifier: GPL-3.0-or-later
"""The task queue: no task is lost or done twice, whatever VMs do."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.experiment import taskqueue

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def url() -> Iterator[str]:
    with taskqueue.Server(("127.0.0.1", 0), lease=100) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def ask(url: str, method: str = "POST", body: bytes | None = None) -> tuple[int, str]:
    server, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(server, timeout=30)
    try:
        connection.request(method, f"/{path}", body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def post(url: str) -> str:
    status, text = ask(url)
    assert status == 200, text
    return text


def test_a_light_task_says_so(url: str) -> None:
    taskqueue.add(url, 1, 2)
    assert taskqueue.main(["add", url, "1", "3", "--light"]) == 0
    assert [post(f"{url}/task?vm=a&host=node1") for _ in range(2)] == ["t1 2\n", "t2 3 light\n"]


def test_a_vm_that_did_not_hear_the_answer_asks_for_its_task_again(url: str) -> None:
    taskqueue.add(url, 3, 2)
    again = f"{url}/task?vm=a&host=node1&again=yes"
    assert [post(again) for _ in range(3)] == ["t1 2\n"] * 3
    assert post(f"{url}/task?vm=b&host=node1&again=yes") == "t2 2\n"
    assert post(f"{url}/task?vm=a&host=node1") == "t3 2\n"
    assert taskqueue.status(url)["vms"]["a"]["taken"] == 2
    for task in ("t1", "t3"):
        post(f"{url}/done?vm=a&id={task}")
    assert post(again) == "none\n"


def test_tasks_go_out_in_order_once_and_are_counted(url: str) -> None:
    taskqueue.add(url, 2, 30)
    taskqueue.add(url, 1, 7.5)
    taken = [post(f"{url}/task?vm={vm}&host=node1") for vm in ("a", "b", "a", "c")]
    assert taken == ["t1 30\n", "t2 30\n", "t3 7.5\n", "none\n"]
    assert post(f"{url}/done?vm=b&id=t2") == "ok\n"
    found = taskqueue.status(url)
    assert [found[key] for key in ("queued", "taken", "done", "asks_without_task")] == [0, 2, 1, 1]
    assert {name: (vm["asks"], vm["taken"], vm["done"]) for name, vm in found["vms"].items()} == {
        "a": (2, 2, 0), "b": (1, 1, 1), "c": (1, 0, 0),
    }  # fmt: skip
    assert found["tasks"]["t2"] == {"vm": "b", "host": "node1", "state": "done", "seconds": 30}
    assert [event["event"] for event in found["events"]] == [
        "added", "added", "taken", "taken", "taken", "none", "done",
    ]  # fmt: skip


def test_named_queues_are_separate_and_the_bare_address_is_the_default_one(url: str) -> None:
    taskqueue.add(f"{url}/atlas", 1, 5)
    assert post(f"{url}/task?vm=a&host=h") == "none\n"
    assert json.loads(post(f"{url}/atlas/task?vm=a&host=h&format=json")) == {
        "id": "t1",
        "seconds": 5,
        "light": False,
    }
    assert json.loads(post(f"{url}/atlas/task?vm=a&host=h&format=json")) == {}
    assert taskqueue.status(f"{url}/default")["queues"] == ["atlas", "default"]


@pytest.mark.parametrize(
    ("target", "method", "code"),
    [
        ("/task?host=h", "POST", 400),
        ("/task?vm=a%0Ab", "POST", 400),
        ("/task?vm=" + "x" * 129, "POST", 400),
        ("/task?vm=a", "GET", 405),
        ("/status", "POST", 405),
        ("/add?n=0&seconds=1", "POST", 400),
        ("/add?n=-1&seconds=1", "POST", 400),
        ("/add?n=100001&seconds=1", "POST", 400),
        ("/add?n=1&seconds=nan", "POST", 400),
        ("/done?vm=a&id=t1", "POST", 404),
        ("/../etc/status", "GET", 404),
        ("/a/b/status", "GET", 404),
        ("/__init__", "POST", 404),
    ],
)
def test_bad_requests_are_refused_and_change_nothing(url: str, target: str, method: str, code: int) -> None:
    assert ask(url + target, method)[0] == code
    found = taskqueue.status(url)
    assert (found["queued"], found["taken"], found["vms"]) == (0, 0, {})


def test_a_request_with_a_body_is_answered(url: str) -> None:
    assert ask(f"{url}/task?vm=a", body=b"x" * 50_000) == (200, "none\n")


def test_a_lost_task_returns_after_its_length_and_the_lease() -> None:
    clock = Clock()
    queue = taskqueue.Queue(lease=100, clock=clock)
    queue.add(1, 50)
    assert queue.take("lost", "h") is not None
    clock.now += 150
    assert queue.take("next", "h") is None
    clock.now += 1
    again = queue.take("next", "h")
    assert again is not None
    assert again.id == "t1"
    with pytest.raises(taskqueue.BadRequest, match="next"):
        queue.done("lost", "t1")
    queue.done("next", "t1")
    queue.done("next", "t1")
    found = queue.status()
    assert (found["requeued"], found["done"], found["vms"]["next"]["done"]) == (1, 1, 1)


def test_a_returned_task_goes_before_tasks_not_taken_yet() -> None:
    clock = Clock()
    queue = taskqueue.Queue(lease=10, clock=clock)
    queue.add(3, 5)
    assert queue.take("lost", "h") is not None
    clock.now += 16
    taken = [queue.take("next", "h") for _ in range(3)]
    assert [task.id for task in taken if task] == ["t1", "t2", "t3"]


def test_a_late_report_counts_while_no_other_vm_took_the_task() -> None:
    clock = Clock()
    queue = taskqueue.Queue(lease=10, clock=clock)
    queue.add(1, 5)
    queue.take("slow", "h")
    clock.now += 16
    queue.done("slow", "t1")
    assert queue.take("other", "h") is None
    assert queue.status()["done"] == 1


def taken(queue: taskqueue.Queue, vm: str) -> str:
    task = queue.take(vm, "h")
    return task.id if task else "none"


def test_a_series_is_work_for_one_vm_until_it_is_ended() -> None:
    queue = taskqueue.Queue(lease=100, clock=Clock())
    queue.add(2, 5, series=True)
    queue.add(1, 5)
    assert [taken(queue, vm) for vm in "abcd"] == ["t1", "t2", "t3", "none"]
    queue.done("b", "t2")
    assert [queue.status()[key] for key in ("queued", "kept", "taken", "done")] == [1, 1, 2, 1]
    assert [taken(queue, vm) for vm in "cdb"] == ["none", "none", "t4"]
    queue.done("a", "t1")
    queue.done("c", "t3")
    assert [taken(queue, vm) for vm in "ca"] == ["none", "t5"]
    queue.end_series()
    queue.done("a", "t5")
    queue.done("b", "t4")
    assert [taken(queue, vm) for vm in "abcd"] == ["none"] * 4
    assert [queue.status()[key] for key in ("queued", "kept", "taken", "done")] == [0, 0, 0, 5]


def test_emptying_withdraws_what_no_vm_has(url: str) -> None:
    taskqueue.add(url, 3, 5)
    assert post(f"{url}/task?vm=a").split() == ["t1", "5"]
    assert json.loads(post(f"{url}/empty")) == {"withdrawn": 2}
    assert post(f"{url}/task?vm=b").strip() == "none"
    assert post(f"{url}/done?vm=a&id=t1").strip() == "ok"
    found = taskqueue.status(url)
    assert (found["queued"], found["taken"], found["done"]) == (0, 0, 1)
    taskqueue.add(url, 1, 7)
    assert post(f"{url}/task?vm=b").split() == ["t4", "7"]


def test_a_lost_task_is_withdrawn_as_well() -> None:
    clock = Clock()
    queue = taskqueue.Queue(lease=100, clock=clock)
    queue.add(1, 10)
    assert queue.take("a", "") is not None
    assert queue.empty() == 0
    clock.now += 111
    assert queue.empty() == 1
    assert queue.take("b", "") is None


def test_the_next_task_of_a_series_whose_vm_is_lost_goes_to_another_one() -> None:
    clock = Clock()
    queue = taskqueue.Queue(lease=100, clock=clock)
    queue.add(1, 5, series=True)
    assert taken(queue, "lost") == "t1"
    queue.done("lost", "t1")
    clock.now += taskqueue.KEEP_SECONDS - 1
    assert taken(queue, "next") == "none"
    clock.now += 1
    assert queue.status()["kept"] == 0
    assert taken(queue, "next") == "t2"
    queue.done("next", "t2")
    assert taken(queue, "lost") == "none"
    assert taken(queue, "next") == "t3"


def test_a_report_that_comes_twice_makes_one_successor() -> None:
    queue = taskqueue.Queue(lease=100, clock=Clock())
    queue.add(1, 5, series=True)
    assert taken(queue, "a") == "t1"
    queue.done("a", "t1")
    queue.done("a", "t1")
    assert queue.status()["queued"] == 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["take", "done", "wait", "add"]))))
def test_every_task_is_queued_taken_or_done_and_done_only_once(steps: list[tuple[str, str]]) -> None:
    clock = Clock()
    queue = taskqueue.Queue(lease=10, clock=clock)
    held: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    finished: list[str] = []
    added = 0
    for vm, step in steps:
        if step == "add":
            added += len(queue.add(2, 3))
        elif step == "wait":
            clock.now += 8
        elif step == "take":
            task = queue.take(vm, "h")
            held[vm] += [task.id] if task else []
        elif held[vm]:
            identifier = held[vm].pop(0)
            try:
                queue.done(vm, identifier)
            except taskqueue.BadRequest:
                continue
            if identifier not in finished:
                finished.append(identifier)
        found = queue.status()
        assert found["queued"] + found["taken"] + found["done"] == added
        assert found["done"] == len(finished) == sum(seen["done"] for seen in found["vms"].values())


def test_the_file_alone_serves_and_its_command_line_adds_and_shows(tmp_path: Path) -> None:
    script = tmp_path / "taskqueue.py"
    script.write_bytes(Path(taskqueue.__file__).read_bytes())
    command = [sys.executable, "-I", str(script)]
    with subprocess.Popen(
        [
            *command,
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--tasks=q:2:5",
            "--tasks=other:1:7.5",
            "--tasks=other:1:3:light",
            "--series=more:2:5:light",
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().split()[1]
        try:
            assert post(f"{url}/other/task?vm=a&host=node1") == "t1 7.5\n"
            assert post(f"{url}/other/task?vm=a&host=node1") == "t2 3 light\n"
            subprocess.run([*command, "add", f"{url}/q", "3", "20"], check=True)
            for task, following in (("t1", 1), ("t3", 0)):
                assert post(f"{url}/more/task?vm=a") == f"{task} 5 light\n"
                post(f"{url}/more/done?vm=a&id={task}")
                assert taskqueue.status(f"{url}/more")["kept"] == following
                subprocess.run([*command, "end", f"{url}/more"], check=True)
            shown = subprocess.run([*command, "status", f"{url}/q"], check=True, capture_output=True)
        finally:
            server.terminate()
    assert json.loads(shown.stdout)["queued"] == 5
    done = subprocess.run([*command, "status", url], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("taskqueue: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "work", ["q", "q:1", "q:x:1", "../q:1:5", "q:1:-5", "q:1:1.2.3", "q:999999:1", "q:0:1", ":1:1", "q:1:1:heavy"]
)
def test_tasks_that_cannot_be_are_refused_before_anything_is_served(work: str) -> None:
    done = subprocess.run(
        [sys.executable, taskqueue.__file__, "serve", "--host", "127.0.0.1", "--port", "0", f"--tasks={work}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode in {1, 2}
    assert "taskqueue" in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
