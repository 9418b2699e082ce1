# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's user asks vac_lease for what is not his."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hostile.conftest import OTHER, Hostile
from tests.unit.condor_vac.worker.conftest import UID

DIRECTORIES = {"machinefeatures", "jobfeatures", "joboutputs"}


def request(hostile: Hostile, sandbox: str, number: int = 7) -> dict[str, Any]:
    return hostile.node.request(sandbox=sandbox, domain=f"vac_lab_{number}.0")


def nothing_granted(hostile: Hostile) -> None:
    assert hostile.leases() == []
    assert hostile.node.exported() == []


@pytest.mark.parametrize(
    "path",
    ["/", "/etc", "/root", "@EXECUTE@", "@EXECUTE@/..", "@EXECUTE@/dir_1/..", "@EXECUTE@/dir_1/../../images", "dir_1"],
)
def test_outside_of_execute(hostile: Hostile, path: str) -> None:
    hostile.node.sandbox(1)
    done = hostile.lease("acquire", request(hostile, path.replace("@EXECUTE@", str(hostile.node.execute))))
    assert done.returncode == 2
    assert b"sandbox" in done.stderr
    nothing_granted(hostile)


@pytest.mark.parametrize("owner", [0, OTHER])
def test_a_sandbox_of_somebody_else(hostile: Hostile, owner: int) -> None:
    done = hostile.lease("acquire", request(hostile, hostile.node.sandbox(1, uid=owner)))
    assert done.returncode == 2
    assert b"own sandbox" in done.stderr
    nothing_granted(hostile)


def test_a_link_in_the_place_of_a_sandbox(hostile: Hostile) -> None:
    victim = hostile.node.sandbox(1, uid=OTHER)
    for number, target in enumerate((victim, "/etc", "/"), 2):
        (hostile.node.execute / f"dir_{number}").symlink_to(target)
        done = hostile.lease("acquire", request(hostile, f"{hostile.node.execute}/dir_{number}"))
        assert done.returncode == 2
        assert b"a sandbox is a real directory, no link" in done.stderr
    nothing_granted(hostile)


@pytest.mark.parametrize("name", sorted(DIRECTORIES))
@pytest.mark.parametrize("target", ["/etc", "..", "/dev/vda"])
def test_a_link_in_the_place_of_a_directory(hostile: Hostile, name: str, target: str) -> None:
    sandbox = hostile.node.sandbox(1)
    Path(sandbox, name).symlink_to(target)
    os.chown(Path(sandbox, name), UID, -1, follow_symlinks=False)
    done = hostile.lease("acquire", request(hostile, sandbox))
    assert done.returncode == 2
    assert f"vac_lease: {name}: ".encode() in done.stderr
    nothing_granted(hostile)


def _swapped(hostile: Hostile, step: int) -> tuple[str, bool, set[str]]:
    """A lease whose sandbox changes before that step: why it is refused, whether it changed, and what was shared."""
    sandbox = hostile.node.sandbox(step + 1)
    victim = hostile.node.sandbox(step + 1001, uid=OTHER)
    log, shared = hostile.base / "open" / f"swapped.{step}", hostile.base / "exported.real"
    shared.write_text("")
    log.touch()
    log.chmod(0o666)
    swap = {"SWAP": str(step), "SANDBOX": sandbox, "SWAP_TO": victim, "SWAP_LOG": str(log)}
    done = hostile.lease("acquire", request(hostile, sandbox, step + 1), environment=swap)
    assert b"Traceback" not in done.stderr
    real = set(shared.read_text().splitlines())
    assert os.listdir(victim) == [".chirp.config"]
    if done.returncode == 0:
        assert len(hostile.node.exported()) == 3
        assert hostile.lease("release", {"domain": f"vac_lab_{step + 1}.0"}).returncode == 0
    else:
        assert done.returncode == 2, done.stderr
    nothing_granted(hostile)
    mine = {f"{sandbox}/{name}" for name in DIRECTORIES}
    assert real <= mine | {victim}
    assert done.returncode == 2 or real == mine, "what is granted is the sandbox's own"
    return done.stderr.decode(), log.stat().st_size > step, real


def test_a_directory_that_is_swapped_while_it_is_being_shared(hostile: Hostile) -> None:
    """At each step of the program that is about the directory, one run for each of them."""
    reasons, swapped, step = [], True, -1
    while swapped:
        step += 1
        printed, swapped, _real = _swapped(hostile, step)
        reasons.append(printed)
    assert reasons.pop() == "", "without a change it is granted"
    assert all("joboutputs: " in printed for printed in reasons), reasons
    assert [printed for printed in reasons if "remove what is there" in printed], "a link is there before the directory"
    assert [printed for printed in reasons if "changed while it was being shared" in printed], "and after it"


def test_another_users_lease_cannot_be_given_back(hostile: Hostile) -> None:
    made = hostile.lease("acquire", request(hostile, hostile.node.sandbox(1)))
    uuid = json.loads(made.stdout)["uuid"]
    for which in ({"uuid": uuid}, {"domain": "vac_lab_7.0"}):
        done = hostile.lease("release", which, uid=OTHER)
        assert done.returncode == 2
        assert b"another user" in done.stderr
    assert len(hostile.node.exported()) == 3


def test_another_users_name_of_a_vm_cannot_be_taken(hostile: Hostile) -> None:
    hostile.lease("acquire", request(hostile, hostile.node.sandbox(1)))
    mine = hostile.node.sandbox(2, uid=OTHER)
    done = hostile.lease("acquire", request(hostile, mine), uid=OTHER)
    assert done.returncode == 2
    assert b"must be one of alice's own VMs" in done.stderr
    assert [item["uid"] for item in hostile.leases()] == [UID]
    own = {**request(hostile, mine), "domain": "alice_lab_7.0"}
    assert hostile.lease("acquire", own, uid=OTHER).returncode == 0, "nothing else was wrong with it"


@pytest.mark.parametrize(
    "change",
    [
        {"uid": 0},
        {"address": "192.168.86.1"},
        {"joboutputs": "/etc"},
        {"domain": "x\n/etc *(rw)_7.0"},
        {"uuid": "../../../../etc/cron.d/x"},
        {"chirp_config": "/etc/shadow"},
        {"heartbeat_file": "../../../../etc/shadow"},
        {"machinetype": "x (rw) *"},
        {"sharing": "all"},
    ],
)
def test_a_request_for_more_than_there_is(hostile: Hostile, change: dict[str, Any]) -> None:
    good = request(hostile, hostile.node.sandbox(1))
    done = hostile.lease("acquire", {**good, **change})
    assert done.returncode == 2
    assert f"{next(iter(change))!r}"[1:-1].encode() in done.stderr
    nothing_granted(hostile)
    assert hostile.lease("acquire", good).returncode == 0, "nothing else was wrong with it"


@pytest.mark.parametrize("arguments", [[], ["acquire", "-o", "rw"], ["exportfs"], ["--help"], ["acquire;id"]])
def test_other_arguments(hostile: Hostile, arguments: list[str]) -> None:
    done = hostile.run(
        "condor_vac.worker.programs.lease_helper", *arguments, environment={"SUDO_UID": str(UID), "SUDO_GID": str(UID)}
    )
    assert done.returncode == 2
    assert b"usage" in done.stderr


def test_the_end_of_anothers_vm(hostile: Hostile) -> None:
    sandbox = hostile.node.sandbox(1)
    assert hostile.lease("acquire", request(hostile, sandbox)).returncode == 0
    asked = {"sandbox": sandbox, "reason": "exit"}
    assert json.loads(hostile.lease("end", asked, uid=UID + 7).stdout) == {"released": None}
    # HTCondor may still be starting the VM.
    early = hostile.lease("end", {**asked, "reason": "remove"})
    assert json.loads(early.stdout) == {"released": None}
    for wrong in (
        {**asked, "reason": "x\n"},
        {**asked, "reason": ["exit"]},
        {**asked, "uuid": "y"},
        {"sandbox": [sandbox]},
    ):
        assert hostile.lease("end", wrong).returncode == 2
    assert len(hostile.leases()) == 1
    assert hostile.lease("release", asked).returncode == 2, "an end is a verb of its own"
    done = hostile.lease("end", asked)
    assert json.loads(done.stdout)["released"], done.stderr
    assert hostile.leases() == []


def test_without_sudo(hostile: Hostile) -> None:
    stdin = json.dumps(request(hostile, hostile.node.sandbox(1))).encode()
    for uid, claim in ((0, None), (0, "0"), (0, "-1"), (0, "x"), (UID, "5"), (UID, str(UID))):
        environment = {} if claim is None else {"SUDO_UID": claim}
        done = hostile.run(
            "condor_vac.worker.programs.lease_helper", "acquire", stdin=stdin, uid=uid, environment=environment
        )
        assert done.returncode == 2
        assert b"sudo" in done.stderr
    nothing_granted(hostile)


def race(hostile: Hostile, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All requests at once, each by a process of its own."""
    environment = {"PATH": os.environ["PATH"], "SUDO_UID": str(UID), "SUDO_GID": str(UID + 1)}
    processes = [
        subprocess.Popen(
            hostile.command("condor_vac.worker.programs.lease_helper", "acquire"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        for _ in requests
    ]
    for process, asked in zip(processes, requests):
        assert process.stdin is not None
        process.stdin.write(json.dumps(asked).encode())
        process.stdin.close()
        process.stdin = None
    answers = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        answers.append(json.loads(out))
    return answers


def test_a_race_of_twenty_vms(hostile: Hostile) -> None:
    given = race(hostile, [request(hostile, hostile.node.sandbox(number), number) for number in range(1, 21)])
    for key in ("address", "mac", "hostname", "uuid"):
        assert len({answer[key] for answer in given}) == 20
    assert len(hostile.leases()) == 20
    assert len(hostile.node.exported()) == 60


def test_a_race_of_twenty_for_one_vm(hostile: Hostile) -> None:
    asked = request(hostile, hostile.node.sandbox(1))
    given = race(hostile, [asked] * 20)
    assert len({answer["uuid"] for answer in given}) == 1
    assert len(hostile.leases()) == 1
    assert len(hostile.node.exported()) == 3
