# SPDX-License-Identifier: GPL-3.0-or-later
"""Real containers of a lab of their own: names, power cuts, layers, and that nothing is ever left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leftovers
from tests.lab.paths import cache_dir

ROOT = Path(__file__).resolve().parents[3]
LAB = "lab-test"
LAYER = "lab-test"
# For what hangs; nothing here takes a tenth of it.
PATIENCE_SECONDS = 600


def lab(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A verb of the lab."""
    done = subprocess.run(argv(*words), cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


def argv(*words: str) -> list[str]:
    return [sys.executable, "-m", "tests.lab", *words]


def on(name: str, script: str) -> str:
    """What a shell script prints on a node."""
    return lab("ssh", name, script).stdout.strip()


def left() -> list[str]:
    """What is left of this lab, and not of others that run beside it."""
    mine = leftovers.found(cache_dir() / "labs" / LAB)
    return [line for line in mine if not line.startswith(("cgroup", "link"))] + cgroups()


def cgroups() -> list[str]:
    code = "from tests.lab import space; print(space.cgroup())"
    name = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [line for line in leftovers.found() if line.startswith("cgroup") and name.strip() in line]


@pytest.fixture(autouse=True)
def own_lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("VAC_LAB", LAB)
    monkeypatch.setenv("LAB", "container")
    lab("down")
    yield
    lab("down")
    assert left() == []


def test_two_nodes_know_each_other_and_the_host_sees_nothing_of_them() -> None:
    mounts, links = Path("/proc/self/mountinfo").read_text("utf-8"), sorted(os.listdir("/sys/class/net"))
    lab("up", "one", "two")
    assert on("one", "getent hosts two.lab | cut -d' ' -f1") == on("two", "hostname -I").split()[0]
    assert on("one", "ping -c 1 -W 60 two > /dev/null && echo reached") == "reached"
    assert on("two", "hostname -f") == "two.lab"
    assert on("one", "cat /etc/machine-id") != on("two", "cat /etc/machine-id")
    assert Path("/proc/self/mountinfo").read_text("utf-8") == mounts
    assert sorted(os.listdir("/sys/class/net")) == links
    assert left(), "the look for leftovers sees a lab that runs"


def test_a_container_cannot_change_the_hosts_kernel_or_clock() -> None:
    lab("up", "one")
    assert on("one", "echo 1 > /proc/sys/net/ipv4/ip_forward && cat /proc/sys/net/ipv4/ip_forward") == "1", "its own"
    for change in ("date -s @0", "echo 1 > /proc/sys/vm/dirty_bytes", "echo 0 > /sys/devices/system/cpu/cpu1/online"):
        assert on("one", f"({change}) > /dev/null 2>&1 && echo changed || echo refused") == "refused", change


def test_a_power_cut_loses_processes_and_no_files() -> None:
    lab("up", "one", "two")
    boot = on("one", "touch /root/there; sleep 1000 > /dev/null 2>&1 & cat /proc/sys/kernel/random/boot_id")
    lab("cut", "one")
    assert lab("ssh", "one", "true", check=False).returncode != 0
    assert on("two", "hostname") == "two", "the other one lives on"
    lab("boot", "one")
    assert on("one", "test -e /root/there && pgrep -c sleep; cat /proc/sys/kernel/random/boot_id") not in {"", boot}


def test_a_reboot_from_inside_boots_again() -> None:
    lab("up", "one")
    boot = on("one", "cat /proc/sys/kernel/random/boot_id; systemd-run --quiet --on-active=1 systemctl reboot")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (now := lab("ssh", "one", "cat /proc/sys/kernel/random/boot_id", check=False).stdout.strip()) in {"", boot}:
        assert time.monotonic() < deadline, now
        time.sleep(0.5)


def test_what_a_node_has_become_is_where_others_start() -> None:
    lab("up", "one")
    address = on("one", "echo kept > /root/kept; rm /etc/issue; hostname -I")
    lab("save", "one", LAYER)
    assert json.loads(lab("status", "--json").stdout) == []
    for change in ("first", "second"):
        lab("up", "one", "--layer", LAYER)
        assert (
            on("one", "cat /root/kept; ls /etc/issue /root/first 2> /dev/null || true; hostname -I")
            == f"kept\n{address}"
        )
        on("one", f"touch /root/{change}")
        lab("down")
    refused = lab("up", "other", "--layer", LAYER, check=False)
    assert refused.returncode == 1
    assert "is of one, not of other" in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_start_leaves_no_node(number: signal.Signals) -> None:
    process = subprocess.Popen(argv("up", "one", "two"), cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True)
    record = cache_dir() / "labs" / LAB / "nodes" / "one" / "node.json"
    while not record.exists() or '"pid"' not in record.read_text("utf-8"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert json.loads(lab("status", "--json").stdout) == []
    lab("up", "one")


@pytest.mark.parametrize("after", [0.05, 0.3, 0.5, 0.7, 0.9, 1.2, 1.6, 2.2])
def test_a_killed_start_is_cleaned_by_the_next(after: float) -> None:
    process = subprocess.Popen(argv("up", "one", "two"), cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    time.sleep(after)
    process.kill()
    process.wait()
    lab("down")
    assert left() == []
    lab("up", "one")
    assert on("one", "hostname") == "one"


def test_the_end_of_the_holder_is_the_end_of_all() -> None:
    lab("up", "one")
    holder = json.loads((cache_dir() / "labs" / LAB / "holder.json").read_text("utf-8"))["pid"]
    os.kill(holder, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(line.startswith("process") for line in left()):
        assert time.monotonic() < deadline, left()
        time.sleep(0.1)
    lab("up", "one")
    assert on("one", "hostname") == "one"
