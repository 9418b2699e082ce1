# SPDX-License-Identifier: GPL-3.0-or-later
"""The order and the ends of the playbook `upgrade`, with tasks that do nothing in place of roles; see molecule/upgrade.

n2 fails, or stops answering, in the middle of its upgrade. A play's ``any_errors_fatal`` ends no run where a host was
lost before, so each case shows that nothing follows.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
INVENTORY = """
worker_node: {hosts: {n1: {}, n2: {}, n3: {}, n4: {}}}
access_point: {hosts: {head: {}}}
all:
  vars:
    ansible_connection: "{{ 'ssh' if lost is defined else 'local' }}"
    # Nothing answers there.
    ansible_host: 127.0.0.1
    ansible_port: 9
"""
NODE = """
- ansible.builtin.set_fact: {lost: true}
  when: end == 'lost' and inventory_hostname == 'n2'
- name: Do half of it
  ansible.builtin.command: "{{ 'false' if end == 'fails' and inventory_hostname == 'n2' else 'true' }}"
- ansible.builtin.debug: {msg: "did {{ inventory_hostname }}"}
"""
ASKS = """
- ansible.builtin.ping:
  delegate_to: manager
  run_once: true
  when: inventory_hostname != 'n1'
- ansible.builtin.debug: {msg: "did {{ inventory_hostname }}"}
"""
PLAY = """
- hosts: {hosts}
  gather_facts: false
  tasks: [{{ansible.builtin.debug: {{msg: "{word} {{{{ inventory_hostname }}}}"}}}}]
"""

# In place of condor_daemons and condor_vac: they record what was wanted. On n2 a job outlasts the wait if it is to.
DAEMONS = """#!/usr/bin/python3
import json, sys
text = open(sys.argv[1]).read()
open('%s', 'a').write(text + chr(10))
print(json.dumps({'changed': True, 'pending': 'outlasts=yes' in text, 'jobs': [{'job': 'batch 7.0'}]}))
"""
PROGRAM = """#!/bin/sh
[ "$2" != show ] || exit 1
echo "$*" >> %s
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The playbooks, as they are but for the parts that change nodes."""
    shutil.copytree(ROOT / "playbooks", tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "upgrade.yml", tmp_path / "tasks/upgrade_node.yml"):
        path.write_text(path.read_text("utf-8").replace("become: true", "become: false"), "utf-8")
    (tmp_path / "inventory.yml").write_text("- hosts: localhost\n  gather_facts: false\n", "utf-8")
    (tmp_path / "smoke.yml").write_text(PLAY.format(hosts="upgrade_canary", word="smoked"), "utf-8")
    (tmp_path / "site.yml").write_text(PLAY.format(hosts="access_point", word="did"), "utf-8")
    (tmp_path / "tasks/pool_member.yml").write_text("[]\n", "utf-8")
    (tmp_path / "tasks/worker_node.yml").write_text(NODE, "utf-8")
    (tmp_path / "hosts.yml").write_text(INVENTORY, "utf-8")
    return tmp_path


def upgrade(place: Path, **variables: object) -> tuple[int, str, list[str]]:
    """Exit code, output, and what was done, in order."""
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_LOCAL_TEMP": str(place / "tmp"),
        # Else the nodes of a portion print in the order in which they are done.
        "ANSIBLE_FORKS": "1",
    }
    program = str(Path(sys.executable).parent / "ansible-playbook")
    extra = json.dumps({"end": "well", "ansible_python_interpreter": sys.executable, **variables})
    argv = [program, "-i", "hosts.yml", "upgrade.yml", "-e", extra]
    done = subprocess.run(argv, env=environment, cwd=place, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, re.findall(r"msg: ((?:did|smoked) \w+)$", done.stdout, re.MULTILINE)


def last_list(printed: str) -> list[str]:
    """The lines of the last list that a task showed."""
    return re.findall(r"^    - (?:'|\")?(.*?)(?:'|\")?$", printed[printed.rindex("  msg:\n") :], re.MULTILINE)


@pytest.mark.slow
def test_the_canary_is_first_and_smoked_and_the_site_last(place: Path) -> None:
    code, printed, done = upgrade(place, vacuum_upgrade_canary="n3", vacuum_upgrade_serial=2)
    assert code == 0, printed
    # Nodes of a portion are done side by side.
    assert done[:2] == ["did n3", "smoked n3"]
    assert sorted(done[2:4]) == ["did n1", "did n2"]
    assert done[4:] == ["did n4", "did head"]


@pytest.mark.slow
def test_the_others_follow_by_their_names(place: Path) -> None:
    """group_by, which chooses them, is done in the order of the inventory here, and in any order with more forks."""
    text = INVENTORY.replace("n1: {}, n2: {}, n3: {}, n4: {}", "n3: {}, n4: {}, n1: {}, n2: {}")
    (place / "hosts.yml").write_text(text, "utf-8")
    code, printed, done = upgrade(place, vacuum_upgrade_serial=1)
    assert code == 0, printed
    assert done == ["did n3", "smoked n3", "did n1", "did n2", "did n4", "did head"]


@pytest.mark.slow
def test_the_portion_may_be_a_variable_of_the_inventory(place: Path) -> None:
    (place / "group_vars").mkdir()
    (place / "group_vars/all.yml").write_text("vacuum_upgrade_serial: 100%\n", "utf-8")
    code, printed, done = upgrade(place, end="fails")
    assert code != 0
    assert done == ["did n1", "smoked n1", "did n3", "did n4"]
    assert "3 other nodes, 100% at a time" in re.sub(r"\s+", " ", printed)


@pytest.mark.slow
def test_the_portion_of_a_node_that_fails_is_the_last(place: Path) -> None:
    code, printed, done = upgrade(place, end="fails", vacuum_upgrade_serial=2)
    assert code != 0
    assert done == ["did n1", "smoked n1", "did n3"]
    assert last_list(printed) == [
        "half-way: n2: non-zero return code (Do half of it)",
        "upgraded: n1, n3",
        "unchanged: n4, access points, central manager",
    ]
    assert "vacuum.htcondor.rollback --limit n2" in printed


@pytest.mark.slow
@pytest.mark.parametrize(("serial", "done"), [(2, ["did n3"]), (3, ["did n3", "did n4"])])
def test_the_portion_of_a_node_that_stops_answering_is_the_last(place: Path, serial: int, done: list[str]) -> None:
    code, printed, found = upgrade(place, end="lost", vacuum_upgrade_serial=serial)
    assert code != 0
    assert found[:2] == ["did n1", "smoked n1"]
    assert sorted(found[2:]) == done
    assert last_list(printed)[0] == "half-way: n2: does not answer any more"
    assert "half-way: n2; see that the machine with UNREACHABLE! above answers" in re.sub(r"\s+", " ", printed)


@pytest.mark.slow
def test_nothing_follows_a_portion_whose_central_manager_stops_answering(place: Path) -> None:
    """As in tasks of the role pool, which one node does for all of its portion."""
    (place / "tasks/worker_node.yml").write_text(ASKS, "utf-8")
    (place / "hosts.yml").write_text(
        f"{INVENTORY}central_manager: {{hosts: {{manager: {{ansible_connection: ssh}}}}}}\n"
    )
    code, printed, done = upgrade(place, vacuum_upgrade_serial=2)
    assert code != 0
    assert done == ["did n1", "smoked n1"]
    assert "n2 -> manager]: UNREACHABLE!" in printed
    assert "half-way: n2, n3; see that the machine with UNREACHABLE! above answers" in re.sub(r"\s+", " ", printed)


@pytest.mark.slow
def test_nothing_follows_a_canary_that_fails(place: Path) -> None:
    code, printed, done = upgrade(place, end="fails", vacuum_upgrade_canary="n2")
    assert code != 0
    assert done == []
    assert last_list(printed)[1:] == ["upgraded: none", "unchanged: n1, n3, n4, access points, central manager"]


def with_drain(place: Path) -> Path:
    """Have the tasks of a drain record what they are called with, in the file that is returned."""
    calls = place / "calls"
    program = place / "condor_vac"
    program.write_text(PROGRAM % calls)
    program.chmod(0o755)
    (place / "library").mkdir()
    (place / "library/daemons.py").write_text(DAEMONS % calls)
    tasks = place / "tasks/drain_node.yml"
    text = tasks.read_text("utf-8").replace("/usr/local/bin/condor_vac", str(program))
    outlasts = "daemons:\n    outlasts: \"{{ 'yes' if end == 'outlasts' and inventory_hostname == 'n2' else 'no' }}\""
    tasks.write_text(text.replace("vacuum.htcondor.condor_daemons:", outlasts), "utf-8")
    return calls


@pytest.mark.slow
def test_each_node_is_drained_before_and_taken_back_afterwards(place: Path) -> None:
    calls = with_drain(place)
    code, printed, done = upgrade(
        place, vacuum_upgrade_drain=True, vacuum_drain_wait=7200, vacuum_upgrade_serial="100%"
    )
    assert code == 0, printed
    assert sorted(done) == ["did head", "did n1", "did n2", "did n3", "did n4", "smoked n1"]
    said = calls.read_text().splitlines()
    assert said[0] == "shutdowntime set +86400"
    assert "state=drained" in said[1]
    assert "timeout=7200" in said[1]
    # The plan is a stand-in's, which never has one to cancel.
    assert "state=ready" in said[2]
    assert len(said) == 3 * 4


@pytest.mark.slow
def test_a_node_whose_jobs_outlast_the_wait_ends_the_run_and_goes_on_draining(place: Path) -> None:
    calls = with_drain(place)
    code, printed, done = upgrade(place, end="outlasts", vacuum_upgrade_drain=True, vacuum_upgrade_serial=1)
    assert code != 0
    assert done == ["did n1", "smoked n1"]
    assert last_list(printed)[0].startswith("half-way: n2: 1 jobs still run; the drain goes on")
    assert "state=drained" in calls.read_text().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("vacuum_drain_wait", "soon"),
        ("vacuum_drain_notice", -5),
        ("vacuum_upgrade_serial", 0),
        ("vacuum_upgrade_canary", "head"),
    ],
)
def test_a_wrong_value_is_named_before_anything_changes(place: Path, variable: str, value: object) -> None:
    code, printed, done = upgrade(place, **{variable: value})
    assert code != 0
    assert done == []
    assert f"{variable}: '{value}'" in printed
