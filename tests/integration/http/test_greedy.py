# SPDX-License-Identifier: GPL-3.0-or-later
"""What one VM can take of the web server's disk and time, and that the other VMs have theirs meanwhile."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.http.conftest import Vm
from tests.integration.http.node import MAX_BODY_MB, MJF, PUTS_OF_A_VM, HttpNode

# Opens connections from an address, sends text (and bytes of a body) on each, prints how many of them it was answered
# on and how many stay open, and keeps those until its standard input ends.
CLIENT = """
import json, resource, select, socket, sys
address, count, head, body = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode(), int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
held, answered = [], []


def ready(link, events, milliseconds):
    poll = select.poll()
    poll.register(link, events)
    return sum(found for _, found in poll.poll(milliseconds))


for number in range(count):
    link = socket.socket()
    link.bind((address, 0))
    link.settimeout(10)
    try:
        link.connect(("169.254.169.253", 80))
        link.sendall(head.replace(b"NUMBER", b"%d" % number))
        left = body
        while left:
            events = ready(link, select.POLLIN | select.POLLOUT, 10000)
            if events != select.POLLOUT:
                break
            left -= link.send(b"x" * min(left, 1 << 16))
    except OSError:
        answered.append("closed")
        continue
    (answered if ready(link, select.POLLIN, 1000 if body else 0) else held).append(link)


def first(link):
    try:
        return "closed" if link == "closed" else link.recv(12).decode() or "closed"
    except OSError:
        return "closed"


words = [first(link) for link in answered]
print(json.dumps({"held": len(held), "answers": sorted(set(words))}), flush=True)
sys.stdin.read()
"""

# Keeps connections open on which it asks again and again, while others come and go.
REGULARS = """
import socket, sys


def connect():
    link = socket.socket()
    link.bind((sys.argv[1], 0))
    # For what never comes.
    link.settimeout(120)
    link.connect(("169.254.169.253", 80))
    return link


def ask(link):
    link.sendall(b"GET /machinefeatures/total_cpu HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    text = b""
    while not text.endswith(b"\\r\\n\\r\\n2"):
        text += link.recv(4096)


held = [connect() for _ in range(16)]
for number in range(300):
    connect().close()
    for link in held:
        ask(link)
"""


@contextmanager
def greedy(node: HttpNode, vm: Vm, count: int, head: str, body: int) -> Iterator[dict[str, object]]:
    """What CLIENT got, while it holds its connections."""
    words = (sys.executable, "-c", CLIENT, vm.address, str(count), head, str(body))
    with node.popen(*words) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.communicate(timeout=60)


def on_disk(node: HttpNode) -> int:
    """Bytes of the bodies that nginx is receiving."""
    return sum(file.stat().st_size for file in (node.base / "nginx" / "body").rglob("*") if file.is_file())


HALF_PUT = f"PUT /joboutputs/half-NUMBER HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_MB << 20}\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (HALF_PUT, (MAX_BODY_MB << 20) - 1),
        (HALF_PUT.replace("Content-Length: ", "X: ").replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n")
         + f"{(MAX_BODY_MB << 20) - 1:x}\r\n", (MAX_BODY_MB << 20) - 1),
        (HALF_PUT.replace("PUT", "GET"), (MAX_BODY_MB << 20) - 1),
        (HALF_PUT.replace("joboutputs", "machinefeatures"), (MAX_BODY_MB << 20) - 1),
    ],
    ids=["PUT", "chunked", "GET with a body", "PUT to features"],
)  # fmt: skip
def test_half_sent_bodies_of_a_vm_are_bounded(node: HttpNode, vm: Vm, other: Vm, head: str, body: int) -> None:
    with greedy(node, vm, 20, head, body) as got:
        held = on_disk(node)
        assert held <= (PUTS_OF_A_VM * MAX_BODY_MB) << 20
        if head.startswith("PUT /joboutputs"):
            assert got == {"held": PUTS_OF_A_VM, "answers": ["HTTP/1.1 429"]}
            assert held >= (PUTS_OF_A_VM * (MAX_BODY_MB - 1)) << 20
        else:
            assert held == 0
        # The others write and read meanwhile, and so does the VM itself, but for what it holds already.
        assert other.get(f"{MJF}/joboutputs/meanwhile", "-X", "PUT", "-d", "x").status in {201, 204}
        assert vm.get(f"{MJF}/machinefeatures/total_cpu").status == 200
    assert gone(node)


def gone(node: HttpNode) -> bool:
    """Whether nothing is left of bodies whose senders went away. As long as a busy host may take."""
    for _ in range(6000):
        if on_disk(node) == 0:
            return True
        time.sleep(0.1)
    return False


def test_as_many_puts_as_a_vm_may_send_at_once_are_all_taken(vm: Vm) -> None:
    words = ["--parallel", "--parallel-immediate", "--parallel-max", str(PUTS_OF_A_VM), "-X", "PUT", "-d", "x"]
    urls = [f"{MJF}/joboutputs/at-once-{number}" for number in range(PUTS_OF_A_VM)]
    done = vm.node.inside("curl", "-sS", "-f", "-m", "20", "--interface", vm.address, *words, *urls)
    assert done.returncode == 0, done.stderr
    assert {f"at-once-{number}" for number in range(PUTS_OF_A_VM)} <= set(
        name.name for name in (vm.sandbox / "joboutputs").iterdir()
    )


def test_a_body_that_stops_coming_is_given_up(node: HttpNode, vm: Vm) -> None:
    """With the time limit of the role's file made short."""
    with greedy(node, vm, 1, HALF_PUT, 1 << 20) as got:
        assert got == {"held": 1, "answers": []}
        assert on_disk(node) > 0
        assert gone(node)


def test_no_process_of_nginx_waits_for_a_connection_that_another_took(vm: Vm) -> None:
    """It would leave all its own unanswered until somebody else connects."""
    done = vm.node.inside(sys.executable, "-c", REGULARS, vm.address)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("head", ["", "GET / HT"], ids=["silent", "half a line"])
def test_connections_of_one_vm_leave_room_for_the_others(node: HttpNode, vm: Vm, other: Vm, head: str) -> None:
    with greedy(node, vm, 3000, head, 0) as got:
        assert isinstance(got["held"], int)
        assert got["held"] > 1024, "more than a worker process of nginx has without the role's limit"
        for _ in range(5):
            assert other.get(f"{MJF}/machinefeatures/total_cpu").body == "2"
