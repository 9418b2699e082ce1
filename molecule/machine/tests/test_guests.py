# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs by nested KVM, confined by AppArmor, that mount from the kernel; and one that attacks another and its host.

Three VMs in all, since one emulated processor runs them: the two kinds that share by NFS, of which the first is the
attacker's victim and then does its work to the end.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boxes import COMPLETED, PLACE, STRANGER_ADDRESS, Box, leaks, nothing_leaked, of_clusters, working
from kinds import OVER_NFS, Vm, start

ATTACK = Path(__file__).with_name("attack.user_data")
EXECUTE = "/var/lib/condor/execute"
START_SECONDS = 2400
# What the attacker's outputs end with: not a second code, nor an attribute of the job's ad.
LAST_WORDS = '"] ShutdownCode = 300; X = ["'


@pytest.fixture(scope="module")
def vms(box: Box) -> Iterator[dict[str, Vm]]:
    """Kind to its VM: both boot at once; the first waits for its task, the other has it already."""
    started = {"cernvm-nfs": start(box, "cernvm-nfs", waits=True), "cernvm-both": start(box, "cernvm-both")}
    yield started
    box.remove(*(vm.cluster for vm in started.values()))


@pytest.fixture(scope="module")
def victim(box: Box, vms: dict[str, Vm]) -> dict[str, Any]:
    """The lease of the VM that waits, once it has written a heartbeat."""
    cluster = vms["cernvm-nfs"].cluster
    state = box.until(
        "it works", lambda now: any(working(one, now) for one in of_clusters(now, cluster)), START_SECONDS
    )
    return of_clusters(state, cluster)[0]


@pytest.fixture(scope="module")
def attacker(box: Box, victim: dict[str, Any]) -> str:
    """The cluster of the VM that attacks; other tests run while it boots."""
    return box.submit(
        "attacker",
        user_data=ATTACK.read_bytes(),
        options={
            "victim": victim["sandbox"],
            "victim_address": victim["address"],
            "gateway": victim["gateway"],
            "execute": EXECUTE,
        },
        machinetype={"heartbeat_file": None, "heartbeat_seconds": 0, "sharing": "nfs"},
    )


@pytest.mark.usefixtures("attacker")
def test_the_vm_runs_by_kvm(box: Box, victim: dict[str, Any]) -> None:
    assert json.loads(box.run("cat /etc/condor_vac/worker.json"))["emulation"] is False
    domain = ET.fromstring(box.run(f"virsh dumpxml {victim['domain']}"))  # noqa: S314 - libvirt's own
    assert domain.get("type") == "kvm"
    assert "enabled" in box.run(f"virsh qemu-monitor-command --hmp {victim['domain']} info kvm")


CONFINED = """
import os, sys
profile, *paths = sys.argv[1:]
with open("/proc/self/attr/current", "w") as stream:
    stream.write("changeprofile " + profile)
for path in paths:
    try:
        os.close(os.open(path, os.O_RDONLY))
        print("opened")
    except OSError as error:
        print(error.strerror)
"""


@pytest.mark.usefixtures("attacker")
def test_apparmor_confines_the_vm_to_its_own_disks(box: Box, victim: dict[str, Any]) -> None:
    qemu = box.run(f"pgrep -f '[g]uest={victim['domain']},'")
    label = box.run(f"cat /proc/{qemu}/attr/current")
    assert label == f"libvirt-{victim['uuid']} (enforce)"
    own = box.run(f"virsh -q domblklist {victim['domain']} | awk 'NR == 1 {{ print $2 }}'")
    others = ["/etc/shadow", "/etc/condor/passwords.d/POOL", f"{victim['joboutputs']}/heartbeat"]
    others.append(box.run("set -- /var/lib/condor_vac/tests/*/user_data; echo $1"))
    box.put(f"{PLACE}/confined.py", CONFINED.encode())
    # As root, so that only the profile can refuse; without it all of them can be opened.
    for profile, wanted in ((f"libvirt-{victim['uuid']}", "Permission denied"), ("unconfined", "opened")):
        printed = box.run(f"python3 {PLACE}/confined.py {profile} {' '.join([own, *others])}")
        assert printed.splitlines() == ["opened"] + [wanted] * len(others)


# NFS 4 has no name for what is not exported to a host (RFC 7530, section 7: the pseudo file system).
DENIED = {3: "access denied by server", 4: "No such file or directory"}


@pytest.mark.usefixtures("attacker")
@pytest.mark.parametrize("version", DENIED)
def test_a_host_without_a_lease_mounts_nothing(box: Box, victim: dict[str, Any], version: int) -> None:
    own, options = "/srv/stranger", f"-o nfsvers={version},nolock,soft,timeo=100,retrans=2,retry=0"
    box.run(f"mkdir -p {own} /tmp/point && exportfs -o ro,no_subtree_check {STRANGER_ADDRESS}:{own}")
    mount = f"mount.nfs {options} 192.168.86.1"
    places = (victim["joboutputs"], victim["machinefeatures"], victim["sandbox"], "/etc")
    script = "; ".join(f"{mount}:{place} /tmp/point; echo $?" for place in (own, *places))
    # The way to what the host may have, and no other name.
    script += f"; umount /tmp/point; {mount}:/ /tmp/point && ls /tmp/point"
    try:
        printed = box.as_stranger(f"sh -c '({script}) 2>&1; :'").stdout.splitlines()
    finally:
        box.run(f"exportfs -u {STRANGER_ADDRESS}:{own} && rmdir {own}")
    assert printed[0] == "0", f"not even what it may: {printed}"
    refused, root = printed[1 : 1 + 2 * len(places)], printed[1 + 2 * len(places) :]
    answers = list(zip(refused[::2], refused[1::2]))
    assert len(answers) == len(places), printed
    for place, (words, code) in zip(places, answers):
        assert (code, DENIED[version] in words) == ("32", True), (place, words, code)
    assert root == ["srv"] if version == 4 else DENIED[version] in root[0], root


REFUSED = r"32\|mount\.nfs: .*(access denied by server|reason given by server: No such file or directory).*"
UNREACHED = r"mount\.nfs: (Connection timed out|No route to host).*"
NO_ANSWER = r"1\|0 packets received, [1-9][0-9]* sent"
ANSWERED = r"0\|2 packets received, [1-9][0-9]* sent"


def expected(own: str) -> dict[str, str]:
    """What was tried to the exit code and the words that it must end with; ``own``: the attacker's sandbox."""
    return {
        "its own features": r"0\|.*\btotal_cpu\b.*",
        **{f"the other VM's {name}": REFUSED for name in ("machinefeatures", "jobfeatures", "joboutputs", "sandbox")},
        **{f"{name} of the host": REFUSED for name in ("/etc", "/root")},
        "names in /": r"0\|var",
        "names in /var": r"0\|lib",
        "names in /var/lib": r"0\|condor",
        "names in /var/lib/condor": r"0\|execute",
        "names of sandboxes": rf"0\|{own.removeprefix(EXECUTE + '/').partition('/')[0]}",
        "names in its own sandbox": r"0\|jobfeatures joboutputs machinefeatures",
        "names in its own sandbox, by .. of an export": r"0\|jobfeatures joboutputs machinefeatures",
        "to change its own features": r"1\|.*: Read-only file system",
        "a file in its outputs": r"0\|",
        "a file of root in its outputs": r"1\|chown: .*: Operation not permitted",
        "a setuid file in its outputs": r"0\|",
        "a block device in its outputs": r"1\|mknod: .*: Operation not permitted",
        "the host, by its own address": ANSWERED,
        "the host, by the other VM's address": NO_ANSWER,
        "the other VM's joboutputs, by its address": rf"(32|124|143)\|({UNREACHED}|Terminated)?",
        "the host, by another MAC": NO_ANSWER,
        "the host, by its own address again": ANSWERED,
        "its own features again": r"0\|.*\btotal_cpu\b.*",
    }


@pytest.fixture(scope="module")
def attack(box: Box, attacker: str, victim: dict[str, Any]) -> dict[str, Any]:
    """The lease, the job's ad, the log and the files of the attack, which is over; the victim lives on."""
    state = box.until("the attacker has a lease", lambda now: of_clusters(now, attacker), START_SECONDS)
    lease = of_clusters(state, attacker)[0]
    state = box.until("the attack is over", lambda now: over(now, attacker), 2 * START_SECONDS)
    assert victim["uuid"] in {one["uuid"] for one in state["leases"]}
    place = f"{PLACE}/attacker/0/joboutputs"
    return {
        "lease": lease,
        "ad": state["jobs"][f"{attacker}.0"],
        "log": box.run(f"cat {place}/attack.log"),
        "files": box.run(f"ls -ln {place}"),
    }


def over(state: dict[str, Any], cluster: str) -> bool:
    """Whether the cluster's one job has ended."""
    return bool(state["jobs"].get(f"{cluster}.0", {}).get("JobStatus") == COMPLETED)


def test_a_guest_reaches_only_what_is_its_own(attack: dict[str, Any]) -> None:
    print(attack["log"])
    found = {name: printed for name, _, printed in (line.partition("|") for line in attack["log"].splitlines())}
    wanted = expected(attack["lease"]["sandbox"])
    assert found.keys() == wanted.keys()
    assert {name: printed for name, printed in found.items() if not re.fullmatch(wanted[name], printed)} == {}


def test_a_hostile_message_is_one_code_and_one_line(attack: dict[str, Any]) -> None:
    assert (attack["ad"]["ShutdownCode"], attack["ad"]["ShutdownMessage"]) == (200, LAST_WORDS)


def test_only_plain_files_come_back(attack: dict[str, Any]) -> None:
    assert "attack.log" in attack["files"]
    for name in ("rws", "link.log", "pipe.log", "disk"):
        assert name not in attack["files"]


@pytest.mark.usefixtures("attack")
def test_the_victim_lived_through_it_and_does_its_task(box: Box, vms: dict[str, Vm], victim: dict[str, Any]) -> None:
    assert box.run(f"cat {victim['joboutputs']}/heartbeat")
    vms["cernvm-nfs"].give_task()
    assert vms["cernvm-nfs"].ended()["ShutdownCode"] == 200


@pytest.mark.parametrize("name", OVER_NFS)
def test_the_vm_ended_once_with_200(vms: dict[str, Vm], name: str) -> None:
    ad = vms[name].ended()
    assert (ad["JobStatus"], ad["ShutdownCode"], ad["ShutdownMessage"]) == (COMPLETED, 200, "Success")
    assert (ad["VacCause"], ad["NumJobStarts"]) == ("message", 1)


@pytest.mark.parametrize("name", OVER_NFS)
def test_features_came_over_nfs_and_conform(vms: dict[str, Vm], name: str) -> None:
    vms[name].ended()
    last = vms[name].output("joboutputs/vm-mjf-check.log").splitlines()[-1]
    assert last.startswith("0 errors, 0 warnings")
    assert "machinefeatures at /etc/machinefeatures" in last
    pilot = vms[name].output("joboutputs/vm-pilot.log")
    assert "mjf-check ended with 0" in pilot
    for place, key in (("machinefeatures", "total_cpu"), ("jobfeatures", "job_id")):
        assert re.search(rf"{place} has .*\b{key}\b", pilot)
    identity = re.search(r"metadata's instance id: (\S+)", pilot)
    assert (identity is not None) == (name == "cernvm-both")


def test_nothing_of_them_is_left(box: Box, vms: dict[str, Vm], attacker: str) -> None:
    box.remove(attacker, *(vm.cluster for vm in vms.values()))
    assert leaks(box.until("the node is clean", nothing_leaked)) == []
