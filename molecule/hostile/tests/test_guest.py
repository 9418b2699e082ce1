# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that attacks another VM and its host, by HTTP, TCP and frames of its own making.

The guest reports what each attempt was answered; the node counts its frames at its own port, before any filter, and
at the bridge and the victim's port, behind it: what must not pass was really sent, and did not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from boxes import AGENT, COMPLETED, PLACE, Box, leaks, nothing_leaked, of_clusters, working
from kinds import CLOUD

HERE = Path(__file__).resolve().parent
START_SECONDS = 1800
VICTIM_PORT = 8000
# What the victim has to be reached by, beside what it does as any VM.
SERVES = b"#!/bin/sh\nhttpd -p %d -h /run\n" % VICTIM_PORT
LAST_WORDS = '"] ShutdownCode = 300; X = ["'
QUEUE = "attack"


@dataclass(frozen=True)
class Attack:
    """What came of it: lease and ad of the job, the guest's answers, and the frames at three places on the node."""

    lease: dict[str, Any]
    ad: dict[str, Any]
    answers: dict[str, str]
    sent: set[str]
    at_bridge: set[str]
    at_victim: set[str]


@pytest.fixture(scope="module")
def victim(box: Box) -> Iterator[dict[str, Any]]:
    """The lease of a VM that has a web server, writes heartbeats and waits for its task."""
    cluster = box.submit(
        "victim",
        user_data=SERVES + AGENT.read_bytes(),
        options={
            "queue_url": box.queue("victim"),
            "tasks_per_vm": "1",
            "idle_seconds": "86400",
            "heartbeat_interval": "5",
        },
        machinetype={"sharing": "http"},
    )
    state = box.until(
        "it works", lambda now: any(working(one, now) for one in of_clusters(now, cluster)), START_SECONDS
    )
    (lease,) = of_clusters(state, cluster)
    yield {**lease, "cluster": cluster}
    box.remove(cluster)


@contextmanager
def counted(box: Box, ports: list[str]) -> Iterator[dict[str, dict[str, int]]]:
    """Frames by port and kind, filled in at the end (frames.py)."""
    found: dict[str, dict[str, int]] = {}
    box.put(f"{PLACE}/frames.py", (HERE / "frames.py").read_bytes())
    words = f"python3 {PLACE}/frames.py {PLACE}/frames.json {' '.join(ports)}"
    box.run(f"systemd-run --quiet --unit frames --property StandardOutput=file:{PLACE}/frames.said {words}")
    box.run(f"until grep -q ready {PLACE}/frames.said; do systemctl is-active -q frames || exit 1; sleep 0.1; done")
    try:
        yield found
    finally:
        box.run("systemctl stop frames")
        found.update(json.loads(box.run(f"cat {PLACE}/frames.json")))


def port_of(box: Box, lease: dict[str, Any]) -> str:
    """The bridge's port of a VM."""
    return box.run(f"virsh -q domiflist {lease['domain']} | awk '{{ print $1 }}'")


@pytest.fixture(scope="module")
def attack(box: Box, victim: dict[str, Any]) -> Iterator[Attack]:
    """The attack, which is over; the victim lives on."""
    options = {
        "queue": box.queue(QUEUE),
        "victim": victim["address"],
        "victim_mac": victim["mac"],
        "victim_port": str(VICTIM_PORT),
        "node": box.queue(QUEUE).removeprefix("http://").partition(":")[0],
        "gateway": victim["gateway"],
    }
    cluster = box.submit(
        "attacker",
        user_data=(HERE / "attack.user_data").read_bytes(),
        options=options,
        machinetype={**CLOUD, "heartbeat_file": None, "heartbeat_seconds": 0},
    )
    state = box.until(
        "the attacker boots",
        lambda now: any(one["domain"] in now["domains"] for one in of_clusters(now, cluster)),
        START_SECONDS,
    )
    (lease,) = of_clusters(state, cluster)
    own, others = port_of(box, lease), ["vac0", port_of(box, victim)]
    with counted(box, [own, *others]) as frames:
        box.add_task(QUEUE, 0)
        state = box.until("the attack is over", lambda now: over(now, cluster), START_SECONDS)
    assert victim["uuid"] in {one["uuid"] for one in state["leases"]}
    place = f"{PLACE}/attacker/0"
    said = box.run(f"ls {place}/joboutputs; cat {place}/joboutputs/attack.trouble 2>&1; tail -n 40 {place}/console.log")
    answers = json.loads(box.run(f"cat {place}/joboutputs/attack.json"))
    print(json.dumps([answers, frames], indent=1))
    assert answers.pop("own address", said) == lease["address"]
    assert answers.pop("own MAC") == lease["mac"]
    seen = [set(frames[port]) for port in (own, *others)]
    yield Attack(lease, state["jobs"][f"{cluster}.0"], answers, *seen)
    box.remove(cluster)


def over(state: dict[str, Any], cluster: str) -> bool:
    """Whether the cluster's one job has ended."""
    return bool(state["jobs"].get(f"{cluster}.0", {}).get("JobStatus") == COMPLETED)


OTHER_MAC = "52:54:00:76:56:fe"
UPS = ("..", "..%2f", "%2e%2e")
PORTS = (VICTIM_PORT, 22, 80, 111, 2049, 9618)
OTHERS = ("the victim", "the gateway", "another network", "the world")
# The web server has what it asked for of its own, and nothing else, whatever it claims to be.
BY_HTTP = {
    "GET own feature": "200 own",
    "PUT own output": "201",
    "GET own output": "200 mine",
    "GET own instance id": "200 own",
    "GET with the victim as Host": "200 own",
    "GET forwarded for the victim": "200 own",
    "GET of the victim's URL": "200 own",
    "GET metadata with the victim as Host": "200 own",
    "PUT with the victim as Host": "201",
    "GET below the victim's address": "404",
    "PUT below the victim's address": "404",
    **{f"{what} by {up}": "400" for what in ("GET", "GET metadata", "PUT") for up in UPS},
    "PUT own feature": "405",
    "DELETE own output": "405",
}
# A port of the other VM that takes connections (of the node), and others; by the bridge, and with the node as a router.
BY_TCP = {
    "connect to the web server": "connected",
    "connect to the task queue": "connected",
    **{
        f"{way} to the victim's port {port}": "no answer" for way in ("connect", "by way of the host") for port in PORTS
    },
}
BY_OTHER_NAMES = {
    "GET from the victim's address": "no answer",
    "PUT from the victim's address": "no answer",
    "GET from the gateway's address": "no answer",
    "GET from another network": "no answer",
    "GET own feature again": "200 own",
}
BY_FRAMES = {
    "ARP": "answered",
    "ARP for the victim": "no answer",
    "ARP as the victim": "no answer",
    "ARP as the gateway": "no answer",
    "ARP by the victim's MAC": "no answer",
    "ARP by another MAC": "no answer",
    "echo": "answered",
    **{f"echo as {name}": "no answer" for name in OTHERS},
    "echo by the victim's MAC": "no answer",
    "echo by another MAC": "no answer",
    "echo to the victim": "no answer",
    "echo to the victim by way of the host": "no answer",
    "IPv6 echo to all": "no answer",
    "echo in a VLAN": "no answer",
}
# What a VM reaches of its node like any host of the site's network, on its own authentication: docs/security.md.
SERVICES = ("connect to the gateway's port", "connect to the node's port", "connect to 169.254.169.25")


@pytest.mark.parametrize("wanted", [BY_HTTP, BY_TCP, BY_OTHER_NAMES, BY_FRAMES], ids=["http", "tcp", "names", "frames"])
def test_a_guest_is_answered_only_what_is_its_own(attack: Attack, wanted: dict[str, str]) -> None:
    assert {what: attack.answers.get(what) for what in wanted} == wanted


def test_every_attempt_was_judged(attack: Attack) -> None:
    judged = {**BY_HTTP, **BY_TCP, **BY_OTHER_NAMES, **BY_FRAMES}
    rest = {what: answer for what, answer in attack.answers.items() if what not in judged}
    assert all(what.startswith(SERVICES) and answer in {"connected", "refused"} for what, answer in rest.items()), rest


def test_false_frames_left_the_guest_and_none_passed(attack: Attack, victim: dict[str, Any]) -> None:
    own, mac = attack.lease["address"], attack.lease["mac"]
    addresses = [victim["address"], victim["gateway"], "10.77.0.99", "198.51.100.9"]
    false = {f"{mac} ip {address}" for address in addresses} | {f"{mac} 86dd", f"{mac} 8100"}
    false |= {f"{mac} arp {address}" for address in addresses[:2]}
    false |= {f"{other} {kind} {own}" for other in (victim["mac"], OTHER_MAC) for kind in ("arp", "ip")}
    true = {f"{mac} arp {own}", f"{mac} ip {own}"}
    assert false | true <= attack.sent
    # 0.0.0.0 is who asks for an address by DHCP.
    assert {kind for kind in attack.at_bridge if kind.startswith(mac)} - {f"{mac} ip 0.0.0.0"} == true
    assert false & attack.at_bridge == set()


def test_nothing_of_the_guest_reached_the_victim(attack: Attack, victim: dict[str, Any]) -> None:
    assert f"{victim['mac']} ip {victim['address']}" in attack.at_victim, "frames are seen there"
    own, mac = attack.lease["address"], attack.lease["mac"]
    assert {kind for kind in attack.at_victim if mac in kind or kind.endswith(f" {own}") or OTHER_MAC in kind} == set()


def test_the_victims_port_was_open(box: Box, attack: Attack, victim: dict[str, Any]) -> None:
    assert attack.ad
    assert box.run(f"curl -s -o /dev/null -w '%{{http_code}}' http://{victim['address']}:{VICTIM_PORT}/") == "404"


def test_a_hostile_message_is_one_code_and_one_line(attack: Attack) -> None:
    assert (attack.ad["ShutdownCode"], attack.ad["ShutdownMessage"]) == (200, LAST_WORDS)


@pytest.mark.usefixtures("attack")
def test_the_victim_has_its_own_outputs_alone_and_does_its_task(box: Box, victim: dict[str, Any]) -> None:
    box.add_task("victim", 5)
    job = f"{victim['cluster']}.0"
    state = box.until("the victim ends", lambda now: over(now, victim["cluster"]), START_SECONDS)
    assert (state["jobs"][job]["ShutdownCode"], state["jobs"][job]["NumJobStarts"]) == (200, 1)
    names = set(box.run(f"ls {PLACE}/victim/0/joboutputs").split())
    assert {"shutdown_message", "vm-pilot.log"} <= names
    assert {"planted", "by-host", "mine", "attack.json"} & names == set()


# By HTCondor's own configuration everybody may read the pool's ads (SEC_READ_AUTHENTICATION = OPTIONAL).
@pytest.mark.parametrize(
    ("user", "wanted"),
    [("root", {"READ": "ALLOW", "WRITE": "ALLOW"}), ("nobody", {"READ": "ALLOW", "WRITE": "FAIL"})],
)
def test_who_has_no_token_changes_nothing_of_the_pool(box: Box, user: str, wanted: dict[str, str]) -> None:
    """Port 9618 is open to VMs as to all of the site: HTCondor itself refuses them. Root on the node has a token."""
    client = {
        "NETWORK_INTERFACE": "192.168.86.250",
        "SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS",
        # HTCondor 23.9.6 has its clients insist on all three, which is theirs to decide.
        **{f"SEC_CLIENT_{what}": "OPTIONAL" for what in ("AUTHENTICATION", "ENCRYPTION", "INTEGRITY")},
    }
    environment = " ".join(f"_CONDOR_{name}={value}" for name, value in client.items())
    ping = "condor_ping -table -type collector -addr '<192.168.86.1:9618?sock=collector>' READ WRITE"
    said = box.as_stranger(f"runuser -u {user} -- env {environment} {ping} 2>&1").stdout
    rows = [line.split() for line in said.splitlines()]
    assert {row[0]: row[4] for row in rows[1:]} == wanted, said


def test_nothing_of_them_is_left(box: Box, victim: dict[str, Any]) -> None:
    box.remove(victim["cluster"])
    assert leaks(box.until("the node is clean", nothing_leaked)) == []
