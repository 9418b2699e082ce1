# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that cannot be right: one clear message that names variable and remedy, and a node that is as before."""

from __future__ import annotations

from typing import Any

import pytest
from boxes import Box

from tests.lab import plays

# What a run could change on the node, as one checksum; caches, logs and what VMs do are not part of it.
STATE = """
find /etc/condor /etc/condor_vac /etc/sudoers.d /etc/sysctl.d /etc/systemd/system /etc/nfs.conf.d /etc/libvirt/hooks \
  /usr/local/libexec /usr/local/lib/condor_vac /var/lib/condor_vac/images ! -name '*.pyc' \
  -printf '%p %m %u %s %T@ %l\\n' | sort | sha256sum
virsh net-dumpxml vac --inactive | sha256sum
cat /proc/sys/net/ipv4/ip_forward
"""

REMOTE = {"kind": "cernvm", "user_data": "https://experiment.example/user_data"}

# One of each way in which a value is refused; more of them: tests/unit/roles, and each module's unit tests.
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "syntax error": ({"worker_config": {"if": "defined"}}, ("50-vm-universe.config", "nothing was changed")),
    "expression": ({"worker_start": "Cpus >> && 4"}, ("START", "not a valid ClassAd expression")),
    "unknown knob": (
        {"worker_config": {"UPDATE_INTREVAL": 15}},
        ("UPDATE_INTREVAL", "did you mean UPDATE_INTERVAL", "allow_unknown"),
    ),
    "type of a knob": (
        {"worker_config": {"UPDATE_INTERVAL": "soon"}},
        ("UPDATE_INTERVAL", "soon is not a whole number"),
    ),
    "slot weight": (
        {"worker_config": {"SLOT_WEIGHT": "Memory/Cpus"}},
        ("SLOT_WEIGHT on ", "Memory/Cpus", "is error for a full node", "worker_starts_per_cycle to 0"),
    ),
    "starts in a cycle": ({"worker_starts_per_cycle": -1}, ("worker_starts_per_cycle: -1 is not from 0 to 9999",)),
    "no such owner": (
        {"worker_owners": ["nosuch"], "worker_create_owners": False},
        ("worker_owners", "no user nosuch", "create the account"),
    ),
    "owner with another number": (
        {"vacuum_owner_ids": {"vac": {"uid": 4321}}},
        ("vacuum_owner_ids", "vac is uid", "shall be 4321"),
    ),
    "number of another user": (
        {"worker_owners": ["vac", "vac2"], "worker_owner_ids": {"vac2": {"uid": 65534}}},
        ("vacuum_owner_ids", "uid 65534 of vac2 belongs to the user nobody"),
    ),
    "access point without a name": (
        {"worker_access_points": ["10.255.255.1"]},
        ("UID_DOMAIN", "10.255.255.1: no name with a domain", "reverse name"),
    ),
    "what no node can have": (
        {"worker_subnet": "192.168.300.0/24"},
        ("worker_subnet", "write it like 192.168.86.0/24"),
    ),
    "token lifetime": ({"pool_token_lifetime": 0, "vacuum_manage_pool": True}, ("pool_token_lifetime", "give seconds")),
    "no choice": ({"worker_nfs_versions": [2]}, ("worker_nfs_versions",)),
    "type": ({"worker_status_interval": "often"}, ("worker_status_interval",)),
    "image that cannot be read": (
        {"vacuum_machinetypes": {"lab": {**REMOTE, "image": "/nowhere/cernvm.iso"}}},
        ("vacuum_machinetypes.lab.image", "/nowhere/cernvm.iso"),
    ),
}


@pytest.fixture(scope="module")
def before(box: Box) -> str:
    """What the node is like before all runs."""
    return box.run(STATE)


@pytest.mark.parametrize("name", CASES)
def test_a_bad_value_stops_the_run_before_anything_is_changed(box: Box, before: str, name: str) -> None:
    variables, words = CASES[name]
    # The pool's own tasks, which come first and take long, do not matter for most of them.
    play = plays.run_in_scenario(plays.SITE, {"vacuum_manage_pool": False, **variables}, "--limit", "worker_node")
    assert play.status == 2, play.output
    failures = play.failures()
    assert len(failures) == 1, play.output
    for word in words:
        assert word in failures[0], failures[0]
    assert play.changed() == set()
    assert box.run(STATE) == before


def test_the_node_works_as_before(box: Box) -> None:
    box.run("condor_vac doctor")
    # As the fixture `alone` has it.
    play = plays.run_in_scenario(plays.SITE, {"factory_state": "held"})
    assert (play.status, play.changed()) == (0, set()), play.output
