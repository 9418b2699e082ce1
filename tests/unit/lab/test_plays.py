# SPDX-License-Identifier: GPL-3.0-or-later
"""How the scenarios run a playbook, and what they read in its output."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.bench.converge.__main__ import Figure, missed, round_trips
from tests.lab.plays import Play, run

OUTPUT = """\
PLAY [Worker nodes] ************************************************************

TASK [vacuum.htcondor.runtime : Install the programs] **************************
ok: [box]

TASK [vacuum.htcondor.worker : Write the node's settings and units] ************
changed: [box]

TASK [vacuum.htcondor.worker : Keep images] ************************************
ok: [box] => (item=a.iso)
changed: [box] => (item=b.iso)

TASK [vacuum.htcondor.worker : Stop on values] *********************************
[ERROR]: Task failed: Action failed: worker_subnet: no
fatal: [box]: FAILED! => 
    changed: false
    msg: 'worker_subnet: ''10.0.0.0/8'' is not an IPv4
        /24; write it like 192.168.86.0/24'
failed: [box] (item=x) => 
    ansible_loop_var: item
    msg: |-
        two
        lines
    other: 1
fatal: [localhost]: FAILED! =>
    changed: false
    faults:
    - 'worker_sharng: unknown
        variable'
    - 'group access_point: empty'
    hosts: 1
    msg: 2 faults
fatal: [box]: UNREACHABLE! => {}

PLAY RECAP *********************************************************************
"""  # noqa: W291 - the callback prints a blank there


def test_changed_tasks_are_those_with_a_changed_host_or_item() -> None:
    assert Play(0, OUTPUT, 1.0).changed() == {"Write the node's settings and units", "Keep images"}


def test_messages_are_one_line_without_quotes() -> None:
    assert Play(2, OUTPUT, 1.0).failures() == [
        "worker_subnet: '10.0.0.0/8' is not an IPv4 /24; write it like 192.168.86.0/24",
        "two lines",
        "worker_sharng: unknown variable group access_point: empty 2 faults",
        "box]: UNREACHABLE! => {}",
    ]


def test_round_trips_are_counted_for_each_role() -> None:
    output = (
        "TASK [Gathering Facts] ***\n<127.0.0.1> SSH: EXEC ssh a\n"
        "TASK [vacuum.htcondor.worker : A] ***\n<127.0.0.1> SSH: EXEC ssh b\n<127.0.0.1> (0, b'')\n"
        "TASK [vacuum.htcondor.worker : B] ***\n<127.0.0.1> SSH: EXEC ssh b\n<192.0.2.1> SSH: EXEC ssh b\n"
        "TASK [Count] ***\n<127.0.0.1> SSH: EXEC ssh c\n"
    )
    assert round_trips(output, "127.0.0.1") == {"facts": 1, "worker": 2, "builtin": 1}


def test_a_goal_that_is_missed_is_named() -> None:
    good = [Figure("roles", 1, 10.0, {"worker": 15}), Figure("builtin", 1, 30.0, {"builtin": 60})]
    assert missed(good) == []
    bad = [Figure("roles", 1, 10.1, {"worker": 16}), Figure("builtin", 1, 30.0, {"builtin": 60})]
    assert len(missed(bad)) == 2


def test_a_playbook_has_a_blocking_input_whatever_a_login_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh hands its input to the first process of the connection, which makes it non-blocking; Ansible refuses that."""
    fake = tmp_path / "ansible-playbook"
    fake.write_text(f"#!{sys.executable}\nimport os\nprint(os.get_blocking(0))\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    kept = os.dup(0)
    reading, writing = os.pipe()
    try:
        os.dup2(reading, 0)
        os.set_blocking(0, False)
        assert run("p.yml", []).output == "True\n"
    finally:
        os.dup2(kept, 0)
        for descriptor in (kept, reading, writing):
            os.close(descriptor)


@pytest.mark.slow
def test_a_playbook_runs(tmp_path: Path) -> None:
    place = {"path": str(tmp_path / "made"), "state": "directory", "mode": "0700"}
    tasks = [
        {"name": "Make it", "ansible.builtin.file": place},
        {"name": "Make it again", "ansible.builtin.file": place},
        {"name": "Refuse", "ansible.builtin.assert": {"that": "words | length > 3", "fail_msg": "words: too few"}},
    ]
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"here": local}}}))
    play = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
    (tmp_path / "play.json").write_text(json.dumps(play))
    done = run(str(tmp_path / "play.json"), [str(tmp_path / "hosts.json")], {"words": ["a", "b"]})
    assert (done.status, done.changed(), done.failures()) == (2, {"Make it"}, ["words: too few"])
