# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's hook as libvirt calls it, on a pretended node."""

from __future__ import annotations

import os
import subprocess
import sys
import syslog
import time
from pathlib import Path

import pytest

from condor_vac.base.errors import VacError
from condor_vac.worker.detached import detached
from condor_vac.worker.programs import libvirt_hook
from tests.unit.condor_vac.worker.conftest import Node, lease_files
from tests.unit.condor_vac.worker.programs.vms import started

# Seconds after which a test that waits for something would wait for ever.
HANGS = 300


def event(node: Node, domain: str, operation: str, part: str = "begin", extra: str = "-") -> None:
    libvirt_hook.handle(domain, operation, part, extra, store=node.store)


def test_libvirts_hook_notes_start_and_end(node: Node) -> None:
    lease = node.acquire()
    for operation in ("prepare", "start", "started"):
        event(node, lease.domain, operation)
    assert lease_files(node)[0]["started"] is not None
    node.output(lease, "shutdown_message", b"200 ok")
    event(node, lease.domain, "stopped", "end")
    assert len(lease_files(node)) == 1
    event(node, lease.domain, "release", "end", "shutdown")
    assert node.recorded()["ShutdownCode"] == "200"
    assert lease_files(node) == []
    assert node.exported() == []
    event(node, lease.domain, "release", "end", "shutdown")
    assert node.called("virsh") == []


def test_the_console_is_returned_even_if_the_ad_cannot_be_changed(node: Node) -> None:
    lease = started(node)
    Path(lease.console).write_text("kernel up\n")
    node.starter.answer = ""
    with pytest.raises(VacError):
        libvirt_hook.handle(lease.domain, "release", "end", "shutdown", store=node.store)
    assert Path(lease.sandbox, "console.log").read_text() == "kernel up\n"


@pytest.mark.parametrize("reason", ["migrated", "from snapshot"])
def test_a_vm_that_goes_on_has_not_ended(node: Node, reason: str) -> None:
    lease = started(node)
    event(node, lease.domain, "release", "end", reason)
    assert lease_files(node)[0]["ended"] is None


def test_a_saved_vm_keeps_its_lease_and_its_start(node: Node) -> None:
    lease = started(node)
    event(node, lease.domain, "release", "end", "saved")
    assert lease_files(node)[0]["saved"] is True
    event(node, lease.domain, "started", "begin")
    assert (lease_files(node)[0]["saved"], lease_files(node)[0]["started"]) == (False, 1)


def test_domains_of_others_are_left_alone(node: Node) -> None:
    started(node)
    event(node, "vac_lab_8.0", "release", "end", "destroyed")
    assert len(lease_files(node)) == 1


def test_the_log_has_a_vms_start_and_end_with_its_names(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = node.acquire()
    logged: list[str] = []
    monkeypatch.setattr(syslog, "syslog", lambda *words: logged.append(str(words[-1])))
    event(node, lease.domain, "started", "begin")
    event(node, lease.domain, "release", "end", "shutdown")
    vm = f"{lease.domain} [{lease.uuid}] ({lease.machinetype}, {lease.address})"
    assert logged == [f"{vm}: started", f"{vm}: ended (shutdown): lease released"]


def test_libvirts_hook_never_fails(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = started(node)
    node.starter.answer = ""
    printed: list[str] = []
    monkeypatch.setattr(libvirt_hook, "Store", lambda: node.store)
    monkeypatch.setattr(libvirt_hook, "detached", lambda work, _seconds: work())
    monkeypatch.setattr(syslog, "syslog", lambda *words: printed.append(str(words[-1])))
    for arguments in ([lease.domain, "release", "end", "shutdown"], [], ["x"], ["a", "b", "c", "d", "e"]):
        monkeypatch.setattr(sys, "argv", ["condor_vac", *arguments])
        assert libvirt_hook.main() == 0
    assert len(printed) == 1
    assert len(lease_files(node)) == 1
    node.starter.answer = "0"
    monkeypatch.setattr(sys, "argv", ["condor_vac", lease.domain, "release", "end", "shutdown"])
    assert libvirt_hook.main() == 0
    assert lease_files(node) == []


def test_libvirt_waits_for_a_short_end(tmp_path: Path) -> None:
    done = tmp_path / "done"

    def work() -> None:
        time.sleep(0.3)
        done.touch()

    detached(work, 60)
    assert done.exists()


def test_libvirt_is_not_held_while_the_starter_waits_for_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The starter answers only once the hook is over, and still gets the end."""
    lease = started(node)
    node.output(lease, "shutdown_message", b"200 ok")
    node.starter.answer = None
    monkeypatch.setattr(libvirt_hook, "Store", lambda: node.store)
    monkeypatch.setattr(libvirt_hook, "HELD_SECONDS", 0.3)
    monkeypatch.setattr(sys, "argv", ["condor_vac", lease.domain, "release", "end", "shutdown"])
    assert libvirt_hook.main() == 0
    assert node.recorded() == {}
    node.starter.answer = "0"
    node.starter.silent.set()
    end = time.monotonic() + HANGS
    while lease_files(node) and time.monotonic() < end:
        time.sleep(0.05)
    assert node.recorded()["ShutdownCode"] == "200"
    assert lease_files(node) == []


def test_what_goes_on_keeps_no_stream_open(tmp_path: Path) -> None:
    """libvirt reads its hook's output to the end; what goes on here ends only when the test lets it."""
    gate, over = tmp_path / "gate", tmp_path / "over"
    os.mkfifo(gate)
    os.mkfifo(over)
    code = (
        "import sys; from condor_vac.worker.programs import libvirt_hook; print('x')\n"
        "def work():\n"
        "    text = open(sys.argv[1]).read()\n"
        "    open(sys.argv[2], 'w').write(text)\n"
        "libvirt_hook.detached(work, 0.1)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(libvirt_hook.__file__).parents[3])}
    argv = [sys.executable, "-c", code, str(gate), str(over)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment, timeout=HANGS)
    assert (done.stdout, done.stderr) == ("x\n", "")
    gate.write_text("go on")
    assert over.read_text() == "go on"


def test_a_fault_of_the_program_is_in_the_systems_log(tmp_path: Path) -> None:
    code = (
        "import syslog, sys; from condor_vac.worker.programs import libvirt_hook;"
        "syslog.syslog = lambda level, text: open(sys.argv[1], 'a').write(text + '\\n');"
        "libvirt_hook.detached(lambda: 1 / 0, 60)"
    )
    log = tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(Path(libvirt_hook.__file__).parents[3])}
    subprocess.run([sys.executable, "-c", code, str(log)], check=True, env=environment)
    assert "ZeroDivisionError" in log.read_text()
