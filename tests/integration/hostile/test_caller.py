# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's user stops vac_lease, or reads nothing of it, at any moment: others get their leases all the same."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hostile.conftest import OTHER, Hostile
from tests.unit.condor_vac.worker.conftest import GID, UID
from tests.unit.condor_vac.worker.watched import ended

# Seconds after which a test that waits for something would wait for ever.
HANGS = 120
HELPER = "condor_vac.worker.programs.lease_helper"
CALLER = {"PATH": os.environ["PATH"], "SUDO_UID": str(UID), "SUDO_GID": str(GID), "ALICE": str(OTHER)}


def another_gets_a_lease(hostile: Hostile, number: int = 2) -> None:
    """Another owner, meanwhile."""
    asked = hostile.node.request(sandbox=hostile.node.sandbox(number, uid=OTHER), domain=f"alice_lab_{number}.0")
    done = hostile.lease("acquire", asked, uid=OTHER)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["uid"] == OTHER


def full_pipe() -> tuple[int, int]:
    """A pipe that takes nothing more."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    return reader, writer


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_caller_who_reads_nothing(hostile: Hostile, stream: str) -> None:
    """A release that has something to complain about: the console cannot be handed over."""
    sandbox = hostile.node.sandbox(1)
    given = json.loads(hostile.lease("acquire", hostile.node.request(sandbox=sandbox)).stdout)
    Path(sandbox, "console.log").mkdir()
    reader, writer = full_pipe()
    streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: writer}
    with subprocess.Popen(
        hostile.command(HELPER, "release"), stdin=subprocess.PIPE, env=CALLER, cwd="/", **streams
    ) as process:
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({"uuid": given["uuid"]}).encode())
            process.stdin.close()
            end = time.monotonic() + HANGS
            while hostile.leases() and time.monotonic() < end:
                time.sleep(0.02)
            assert hostile.leases() == [], "the work is done"
            assert process.poll() is None, "and its caller has no answer yet"
            another_gets_a_lease(hostile)
        finally:
            process.kill()
    os.close(reader)
    os.close(writer)


SLOW = '#!/bin/sh\necho "$@" >> @BASE@/slow\n[ -e @BASE@/gate ] || exec true\nread line < @BASE@/gate\n'


def let_go_on(base: Path) -> None:
    """The tool's two calls of one lease end, and later ones do not wait. It must not be stopped itself."""
    end = time.monotonic() + HANGS
    for number in (1, 2):
        while not _one_goes_on(base, number):
            assert time.monotonic() < end, "the tool is stopped with what its caller reaches"
            time.sleep(0.02)
    (base / "gate").unlink()


def _one_goes_on(base: Path, number: int) -> bool:
    """Whether the call of this number was waiting, and goes on now."""
    if len((base / "slow").read_text().splitlines()) < number:
        return False
    try:
        gate = os.open(base / "gate", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    os.write(gate, b"go on\n")
    os.close(gate)
    return True


def test_a_caller_who_stops_or_kills_it_in_the_middle(hostile: Hostile) -> None:
    """While a tool that it started is at work, under the lock: what the caller reaches is stopped, the work goes on."""
    tool = hostile.base / "bin" / "ip"
    text = tool.read_text()
    os.mkfifo(hostile.base / "gate")
    tool.write_text(SLOW.replace("@BASE@", str(hostile.base)) + text.partition("\n")[2])
    asked = hostile.node.request(sandbox=hostile.node.sandbox(1))
    with subprocess.Popen(
        hostile.command(HELPER, "acquire"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=CALLER, cwd="/",
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(asked).encode())
            process.stdin.close()
            end = time.monotonic() + HANGS
            while not (hostile.base / "slow").exists() and time.monotonic() < end:
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGSTOP)
            let_go_on(hostile.base)
            another_gets_a_lease(hostile)
            assert {one["uid"] for one in hostile.leases()} == {UID, OTHER}
            assert process.poll() is None
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert len(hostile.node.exported()) == 6


SUDOERS = "Defaults use_pty\nDefaults !requiretty\nroot ALL=(ALL:ALL) ALL\ndaemon ALL=(root) NOPASSWD: @PROGRAM@\n"


def _kill_all(base: Path) -> None:
    """The processes of this test alone: sudo puts what it runs into a session of its own, where it stays stopped."""
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(base).encode() in words.read_bytes():
                os.kill(int(words.parent.name), signal.SIGKILL)


@pytest.mark.skipif(shutil.which("sudo") is None, reason="needs sudo")
def test_the_terminals_stop_key_by_way_of_sudo(hostile: Hostile) -> None:
    """The real sudo with use_pty passes ^Z on to what it runs. The caller is the user daemon, at a terminal."""
    program, sudoers = hostile.base / "open" / "vac_lease", hostile.base / "sudoers"
    words = " ".join(hostile.command(HELPER, "acquire"))
    program.write_text(f"#!/bin/sh\nexec env ALICE={OTHER} {words}\n")
    program.chmod(0o755)
    sudoers.write_text(SUDOERS.replace("@PROGRAM@", str(program)))
    sudoers.chmod(0o440)
    tool = hostile.base / "bin" / "ip"
    text = tool.read_text()
    os.mkfifo(hostile.base / "gate")
    tool.write_text(SLOW.replace("@BASE@", str(hostile.base)) + text.partition("\n")[2])
    sandbox = hostile.node.sandbox(1, uid=1)
    request = hostile.base / "request"
    request.write_text(json.dumps(hostile.node.request(sandbox=sandbox)))
    request.chmod(0o644)
    # Only with job control (set -m) is there a process group for ^Z to stop: POSIX leaves an orphaned one running.
    as_daemon = f"setpriv --reuid=1 --regid=1 --clear-groups sh -c 'set -m; sudo -n {program} < {request}; sleep 100'"
    script = f"mount --bind {sudoers} /etc/sudoers && exec {as_daemon}"
    child, terminal = pty.fork()
    if child == 0:
        os.execvp("unshare", ["unshare", "-m", "sh", "-c", script])  # noqa: S606 - a child of pty.fork
    try:
        end = time.monotonic() + HANGS
        while not (hostile.base / "slow").exists() and time.monotonic() < end:
            time.sleep(0.02)
        assert (hostile.base / "slow").exists(), os.read(terminal, 4096)
        os.write(terminal, b"\x1a")
        time.sleep(0.3)
        let_go_on(hostile.base)
        another_gets_a_lease(hostile)
        assert {one["uid"] for one in hostile.leases()} == {1, OTHER}
    finally:
        os.killpg(os.getpgid(child), signal.SIGKILL)
        os.waitpid(child, 0)
        _kill_all(hostile.base)
        os.close(terminal)


def test_a_lease_named_like_the_administrators_vm(hostile: Hostile) -> None:
    """root's watch would shut that VM down. The same is granted under a name of the caller's own."""
    asked = hostile.node.request(sandbox=hostile.node.sandbox(1), domain="ubuntu_22.04", max_wallclock_seconds=1)
    done = hostile.lease("acquire", asked)
    assert done.returncode == 2
    assert b"must be one of vac's own VMs, vac_UID_DOMAIN_CLUSTER.PROC" in done.stderr
    assert hostile.leases() == []
    done = hostile.lease("acquire", {**asked, "domain": "vac_ubuntu_22.04"})
    assert done.returncode == 0, done.stderr
    assert ended(hostile.node) == []


def test_one_damaged_lease_among_others(hostile: Hostile) -> None:
    sandbox = hostile.node.sandbox(1)
    assert hostile.lease("acquire", hostile.node.request(sandbox=sandbox)).returncode == 0
    bad = Path(hostile.node.store.directory, "11111111-1111-4111-8111-111111111111.json")
    bad.write_text('{"uuid": "11111111-1111-4111-8111-111111111111", "doma')
    another_gets_a_lease(hostile)
    listed = hostile.lease("list", {})
    assert len(json.loads(listed.stdout)) == 2
    assert listed.stderr.count(b"11111111-1111-4111-8111-111111111111.json") == 1
    done = hostile.lease("end", {"sandbox": sandbox, "reason": "exit"})
    assert json.loads(done.stdout)["released"], done.stderr


def test_1100_nested_directories_in_the_outputs(hostile: Hostile) -> None:
    """As vac_watch runs, with 1024 descriptors: it looks at every VM, and ends this one."""
    node = hostile.node
    deep, late = (node.acquire(sandbox=node.sandbox(number), domain=f"vac_lab_{number}.0") for number in (1, 2))
    node.change(deep, started=1, started_boottime=time.clock_gettime(time.CLOCK_BOOTTIME))
    node.change(late, started=1, started_boottime=-1e6)
    stats = "".join(f"Domain: '{one.domain}'\n  state.state=1\n  vcpu.0.time=1\n" for one in (deep, late))
    (hostile.base / "domstats").write_text(stats)
    fd = os.open(deep.joboutputs, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    argv = ["prlimit", "--nofile=1024", *hostile.command("condor_vac.worker.programs.watch")]
    done = subprocess.run(
        argv, capture_output=True, check=False, timeout=HANGS, env={"PATH": os.environ["PATH"]}, cwd="/"
    )
    subprocess.run(["rm", "-rf", deep.joboutputs], check=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(ended(node)) == sorted([deep.uuid, late.uuid])
    assert b"700 Outputs nest deeper than 32 directories" in done.stdout
