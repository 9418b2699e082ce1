# SPDX-License-Identifier: GPL-3.0-or-later
"""``vac_lease`` from its command line to its answer: who asks, for what, and what comes back with which exit code."""

from __future__ import annotations

import io
import json
import os
import sys
import syslog
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker import settings as settings_module
from condor_vac.worker.lease.requests import Caller, EndRequest, ReleaseRequest
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.libvirt import Domain
from condor_vac.worker.programs import lease_helper
from condor_vac.worker.programs.lease_helper import release_if_ended, report_end_and_release
from tests.unit.condor_vac.worker.conftest import GID, ROOT, UID, Node, lease_files

WHO = Caller(UID, GID)


class Answer(NamedTuple):
    status: int
    given: Any
    said: str


Call = Callable[..., Answer]
# The node's log.
LOGGED: list[str] = []


def _at_once(work: Callable[[], bytes], seconds: float, after: Callable[[], None]) -> bytes | None:
    answer = work() if seconds == 85.0 else None
    after()
    return answer


@pytest.fixture
def call(node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the program as sudo does for the job's user, all of it in this process."""
    monkeypatch.setattr(lease_helper, "detached", _at_once)
    monkeypatch.setattr(syslog, "openlog", lambda *_: None)
    monkeypatch.setattr(syslog, "syslog", lambda _level, line: LOGGED.append(line))
    LOGGED.clear()
    monkeypatch.setattr(lease_helper, "Store", lambda: node.store)
    monkeypatch.setattr(settings_module, "of_this_node", lambda: node.settings)
    if not ROOT:
        pytest.skip("needs root: calls the program as sudo does")
    monkeypatch.setenv("SUDO_UID", str(UID))
    monkeypatch.setenv("SUDO_GID", str(GID))

    def run(*words: str, request: object = None) -> Answer:
        data = request if isinstance(request, bytes) else json.dumps(request).encode()
        monkeypatch.setattr(sys, "argv", ["vac_lease", *words])
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        status = lease_helper.main()
        output = capsys.readouterr()
        return Answer(status, json.loads(output.out) if output.out else None, output.err)

    return run


def test_a_lease_from_its_request_to_its_release(node: Node, call: Call) -> None:
    done = call("acquire", request=node.request())
    assert (done.status, done.said) == (0, "")
    assert [done.given] == lease_files(node)
    assert call("list") == Answer(0, lease_files(node), "")
    uuid = done.given["uuid"]
    assert call("release", request={"uuid": uuid}) == Answer(0, {"released": uuid}, "")
    assert call("release", request={"uuid": uuid}) == Answer(0, {"released": None}, "")
    assert lease_files(node) == []


def test_the_log_names_the_vm_by_its_job_and_its_uuid(node: Node, call: Call) -> None:
    uuid = call("acquire", request=node.request()).given["uuid"]
    call("release", request={"uuid": uuid})
    assert call("release", request={"uuid": f"{uuid[:-4]}zz\x1b\n"}).status == 2
    granted, released, refused = LOGGED
    assert granted.startswith(f"vac_lease: vac_lab_7.0 [{uuid}]: lease granted to its prepare hook: 192.168.86.")
    assert released == f"vac_lease: vac_lab_7.0 [{uuid}]: release: lease released"
    assert ": release: " in refused
    assert refused.isprintable()
    call("acquire", request=node.request(domain="other_lab_7.0", sandbox=node.sandbox(3)))
    assert LOGGED[-1].startswith("vac_lease: other_lab_7.0: acquire: "), "a refusal too is by the job's id"


def test_an_end_is_reported_and_the_lease_released(node: Node, call: Call) -> None:
    lease = node.change(node.acquire(), started=1, started_boottime=1.0)
    request = {"sandbox": lease.sandbox, "reason": "exit"}
    assert call("end", request=request) == Answer(0, {"released": lease.uuid}, "")
    assert node.recorded()["VacCause"] == '"none"'
    assert call("end", request=request) == Answer(0, {"released": None}, "")


def test_what_is_wrong_with_a_request_ends_with_2_and_what_cannot_be_now_with_1(node: Node, call: Call) -> None:
    for verb in ("acquire", "release", "end"):
        done = call(verb, request={})
        assert (done.status, done.given) == (2, None)
        assert done.said.startswith("vac_lease: request: ")
    assert call("acquire", request=b"[]") == Answer(2, None, "vac_lease: request: must be one JSON object\n")
    assert call("acquire", request=b" " * 70000).said == "vac_lease: request: more than 65536 bytes\n"
    lease = node.acquire()
    node.run_domains(Domain(lease.domain, 1, 1.0, 1))
    done = call("release", request={"uuid": lease.uuid})
    expected = f"vac_lease: {lease.uuid}: its VM vac_lab_7.0 still runs; end the VM first\n"
    assert done == Answer(1, None, expected)


@pytest.mark.parametrize("words", [(), ("steal",), ("acquire", "x"), ("--help",)])
def test_other_words_are_refused(call: Call, words: tuple[str, ...]) -> None:
    usage = "vac_lease: usage: vac_lease acquire|release|end|list, with the request on standard input\n"
    assert call(*words, request={}) == Answer(2, None, usage)


def test_notes_are_said_and_change_nothing(node: Node, call: Call) -> None:
    lease = node.acquire()
    Path(lease.sandbox, "console.log").mkdir()
    done = call("release", request={"uuid": lease.uuid})
    assert (done.status, done.given) == (0, {"released": lease.uuid})
    assert done.said.startswith(f"vac_lease: {lease.label}: console not handed over: ")
    bad = Path(node.store.directory, "bad.json")
    bad.write_text("[]")
    done = call("list")
    assert (done.status, done.given) == (0, [])
    assert done.said.startswith(f"vac_lease: {bad}: not a lease: ")


def test_a_note_of_acquire_and_of_end_is_said_too(node: Node, call: Call) -> None:
    first = node.acquire(sandbox=node.sandbox(1))
    Path(first.sandbox, "console.log").mkdir()
    done = call("acquire", request=node.request(sandbox=node.sandbox(2)))
    assert done.status == 0
    assert done.said.startswith(f"vac_lease: {first.label}: console not handed over: ")
    second = node.change(node.store.all()[0], started=1, started_boottime=1.0)
    Path(second.sandbox, "console.log").mkdir()
    done = call("end", request={"sandbox": second.sandbox, "reason": "evict"})
    assert done.given == {"released": second.uuid}
    assert done.said.startswith(f"vac_lease: {second.label}: console not handed over: ")


def test_no_answer_is_said(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_helper, "detached", lambda work, seconds, after: None)
    assert call("list") == Answer(1, None, "vac_lease: no answer; what went wrong is in the system's log\n")


def test_a_listing_is_anybodys_and_the_rest_the_jobs_users(
    node: Node, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = node.acquire()
    root = "vac_lease: a lease belongs to a job's user, not to root; call it by sudo from the job\n"
    monkeypatch.setenv("SUDO_UID", "0")
    assert call("acquire", request=node.request(sandbox=node.sandbox(2))) == Answer(2, None, root)
    assert call("end", request={"sandbox": lease.sandbox, "reason": "exit"}) == Answer(2, None, root)
    assert call("release", request={"uuid": lease.uuid}).status == 0
    monkeypatch.setattr(os, "geteuid", lambda: UID)
    assert call("list").status == 0
    done = call("release", request={"uuid": lease.uuid})
    assert done == Answer(2, None, "vac_lease: must run as root; call it by sudo\n")


def test_no_more_of_a_request_is_read_than_shows_that_it_is_too_long(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO(b" " * 200000)
    monkeypatch.setattr(sys, "argv", ["vac_lease", "release"])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    assert lease_helper.main() == 2
    assert stream.tell() == 65537


def test_who_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for uid, gid, expected in (("1", "2", Caller(1, 2)), ("1000", "0", Caller(1000, 0))):
        monkeypatch.setenv("SUDO_UID", uid)
        monkeypatch.setenv("SUDO_GID", gid)
        assert lease_helper.caller() == expected
    monkeypatch.setenv("SUDO_GID", "x")
    with pytest.raises(UsageError, match=r"^SUDO_UID, SUDO_GID: invalid literal .*; call it by sudo$"):
        lease_helper.caller()
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name)
    assert lease_helper.caller(root_allowed=True) == Caller(0, 0)
    with pytest.raises(UsageError, match=r"^a lease belongs to a job's user"):
        lease_helper.caller()


def test_only_its_user_and_root_release_a_lease(node: Node) -> None:
    lease = node.acquire()
    with pytest.raises(UsageError, match=f"^{lease.uuid}: belongs to another user$"):
        release_if_ended(ReleaseRequest(uuid=lease.uuid), Caller(UID + 1, GID), node.settings, node.store)
    assert release_if_ended(ReleaseRequest(domain=lease.domain), Caller(0, 0), node.settings, node.store) == lease


def test_by_which_name_a_lease_is_asked_for(node: Node) -> None:
    lease = node.acquire()
    for request in (ReleaseRequest(), ReleaseRequest(domain="vac_lab_8.0")):
        assert release_if_ended(request, WHO, node.settings, node.store) is None
    other = "01234567-89ab-cdef-0123-456789abcdef"
    assert release_if_ended(ReleaseRequest(uuid=other, domain=lease.domain), WHO, node.settings, node.store) is None
    assert release_if_ended(ReleaseRequest(domain=lease.domain), WHO, node.settings, node.store) == lease


def test_who_is_second_has_released_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = node.acquire()
    monkeypatch.setattr(lease_helper, "give_console", lambda found, *_: node.store.delete(found))
    assert release_if_ended(ReleaseRequest(uuid=lease.uuid), WHO, node.settings, node.store) is None


def two(node: Node) -> tuple[Lease, Lease]:
    """Two leases of VMs that have started, in two sandboxes."""
    made = [node.acquire(sandbox=node.sandbox(n), domain=f"vac_lab_{n}.0") for n in (1, 2)]
    first, second = (node.change(lease, started=1, started_boottime=1.0) for lease in made)
    return first, second


def test_an_end_is_that_of_the_callers_own_sandbox(node: Node) -> None:
    first, second = two(node)
    for sandbox, who in ((f"{first.sandbox}x", WHO), (second.sandbox, Caller(UID + 1, GID))):
        assert report_end_and_release(EndRequest(sandbox, "exit"), who, node.settings, node.store) is None
    assert node.recorded() == {}
    assert report_end_and_release(EndRequest(second.sandbox, "hold"), WHO, node.settings, node.store) == second
    assert node.recorded()["VacCause"] == '"removed"'
    assert node.store.all() == [first]


@pytest.mark.parametrize(("reason", "released"), [("exit", True), ("remove", False), ("hold", False), ("evict", False)])
def test_a_vm_that_has_not_started_may_start_yet(node: Node, reason: str, released: bool) -> None:
    lease = node.acquire()
    found = report_end_and_release(EndRequest(lease.sandbox, reason), WHO, node.settings, node.store)
    assert found == (lease if released else None)
    assert node.store.all() == ([] if released else [lease])


def test_an_ad_that_cannot_be_changed_keeps_the_lease(node: Node) -> None:
    lease, _ = two(node)
    node.starter.answer = ""
    with pytest.raises(VacError, match="ended the connection"):
        report_end_and_release(EndRequest(lease.sandbox, "exit"), WHO, node.settings, node.store)
    assert lease in node.store.all()
