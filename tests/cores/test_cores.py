# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that ansible-core reads of the collection, and modules that change nothing of this machine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cores.conftest import Core
from tests.integration.inventory.sites import Site
from tests.interpreters import ROOT

PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
REQUIRED: dict[str, dict[str, Any]] = {
    "pool": {"pool_roles": ["execute"]},
    "vm_owners": {"vm_owners_users": ["root"]},
}
# (role, variables, what Ansible must find wrong with them)
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("pool", {"pool_roles": ["king"]}, r"value of pool_roles must be one or more of.*king"),
    ("worker", {"worker_watch_interval": "many"}, r"worker_watch_interval.*(convert|int)"),
    ("worker", {"worker_images_on_nfs": "perhaps"}, r"worker_images_on_nfs.*(bool|convert)"),
    ("factory", {"factory_state": "gone"}, "value of factory_state must be one of.*gone"),
    ("shares", {"shares_pool_percent": {}}, "shares_pool_percent.*(int|convert)"),
]
# What needs no HTCondor, no libvirt and no change of this machine: (module, arguments, whether it would change).
CHECKS: list[tuple[str, dict[str, Any], bool]] = [
    ("condor_config", {"directory": "{place}", "fragments": {"20-vac.config": "START = True\n"}}, True),
    ("ip_forward", {"interfaces": ["vac0"]}, True),
    ("programs", {"entry_points": ["worker", "cli"]}, True),
    ("node_files", {"record": "{place}/record.json", "files": {"{place}/vac.conf": "x\n"}}, True),
    ("sudoers_rule", {"name": "vac_core_test", "groups": ["vac"], "commands": ["/bin/true"]}, True),
    ("virtualization_info", {}, False),
]


def results(core: Core, place: Path, calls: list[tuple[str, dict[str, Any], bool]]) -> list[dict[str, Any]]:
    """What modules answered, one after another; each call has whether it is in check mode."""
    tasks: list[dict[str, Any]] = [
        {
            f"vacuum.htcondor.{module}": json.loads(json.dumps(arguments).replace("{place}", str(place))),
            "check_mode": check,
            "diff": True,
            "register": f"result_{number}",
            "ignore_errors": True,
        }
        for number, (module, arguments, check) in enumerate(calls)
    ]
    every = ", ".join(f"result_{number}" for number in range(len(calls)))
    answers = place / "results.json"
    tasks.append({"ansible.builtin.copy": {"content": f"{{{{ [{every}] | to_json }}}}", "dest": str(answers)}})
    done = core.play(tasks)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads(answers.read_text())
    return found


def test_the_cores_are_the_oldest_and_the_newest(core: Core, request: pytest.FixtureRequest) -> None:
    version = re.search(r"core (\d+)\.(\d+)", core.good("ansible", "--version"))
    assert version
    minor = (int(version[1]), int(version[2]))
    if request.node.callspec.params["core"] == "oldest":
        assert minor == (2, 16)
    else:
        assert minor > (2, 16)


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_a_playbook_is_read(core: Core, name: str) -> None:
    playbook = core.directory / f"collections/ansible_collections/vacuum/htcondor/playbooks/{name}.yml"
    assert f"playbook: {playbook}" in core.good("ansible-playbook", "--syntax-check", f"vacuum.htcondor.{name}")


def test_the_site_playbook_checks_the_inventory_and_touches_no_node(core: Core, tmp_path: Path) -> None:
    site = Site(tmp_path)
    where = {"python": core.python, "collections": core.directory / "collections"}
    run = site.play("--limit", "wn2", **where)
    assert run.found == {"faults": [], "hosts": 5, "machinetypes": ["vo-prod", "gridpp"]}, run.output
    assert {host for host, _ in run.on_nodes()} == {"wn2"}
    site.groups["worker_node"]["vars"].update(worker_emulation="maybe", worker_domain="{{ nowhere }}")
    site.vars.update(vacuum_manage_pools=True)
    site.gridpp.update(user_data="gone", max_idle=11, user_data_options={"token": "VAULT 6530"})
    run = site.play(**where)
    assert [line.partition(": ")[0] for line in run.found["faults"]] == [
        *("vacuum_manage_pools", "vacuum_machinetypes.gridpp.user_data_options.token"),
        *("worker_emulation", "worker_domain", "vacuum_machinetypes.gridpp.user_data"),
    ]
    assert (run.status, run.on_nodes()) == (2, [])


def validated(core: Core, calls: list[tuple[str, dict[str, Any]]]) -> str:
    """The output of a play of roles with variables, of which only the validation of their variables runs.

    Ansible puts it before a role's tasks, with the tag ``always``. One that fails does not stop the next.
    """
    tasks = [
        {"ansible.builtin.import_role": {"name": f"vacuum.htcondor.{role}"}, "vars": variables, "ignore_errors": True}
        for role, variables in calls
    ]
    done = core.play(tasks, "--tags", "none")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def test_roles_take_what_they_need_and_no_more(core: Core) -> None:
    output = validated(core, [(role, REQUIRED.get(role, {})) for role in ROLES])
    for role in ROLES:
        assert f"vacuum.htcondor.{role} : Validating arguments against arg spec 'main'" in output
    # Beside the facts: the role worker brings the validation of runtime, on which it depends, and loads its own facts;
    # worker and factory bring that of vm_owners.
    assert f"ok={len(ROLES) + 5} " in output, output[-4000:]
    assert "ignored=0" in output, output[-4000:]


def test_roles_refuse_bad_variables_by_name(core: Core) -> None:
    output = validated(core, [(role, variables) for role, variables, _ in BAD])
    assert f"ignored={len(BAD)}" in output, output[-4000:]
    # The role runtime, which worker brings, is not among them.
    validations = tuple(f"{role} : Validating arguments" for role, _, _ in BAD)
    failures = [part for part in output.split("TASK [vacuum.htcondor.") if part.startswith(validations)]
    assert len(failures) == len(BAD)
    for (_, variables, message), failure in zip(BAD, failures):
        assert re.search(message, failure, re.DOTALL), (variables, failure[:2000])


def test_every_module_has_its_page(core: Core) -> None:
    names = [f"vacuum.htcondor.{name}" for name in MODULES]
    pages = json.loads(core.good("ansible-doc", "--json", "--type", "module", *names))
    assert sorted(pages) == names
    for name, page in pages.items():
        assert page["doc"]["short_description"], name
        assert yaml.safe_load(page["examples"]), name


def test_every_role_and_plugin_has_its_page(core: Core, collection: Path) -> None:
    listed = json.loads(core.good("ansible-doc", "--json", "--type", "role", "--list", "vacuum.htcondor"))
    assert sorted(name.rpartition(".")[2] for name in listed) == ROLES
    for kind in ("filter", "lookup"):
        names = json.loads(core.good("ansible-doc", "--json", "--type", kind, "--list", "vacuum.htcondor"))
        assert names, kind
    assert not (collection / "tests").exists()


def test_modules_predict_without_changing_this_machine(core: Core, tmp_path: Path) -> None:
    answers = results(core, tmp_path, [(module, arguments, True) for module, arguments, _ in CHECKS])
    for (module, _, changes), answer in zip(CHECKS, answers):
        assert not answer["failed"], (module, answer["msg"])
        assert answer["changed"] is changes, module
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert not Path("/etc/sudoers.d/vac_core_test").exists()


def test_a_module_applies_what_it_predicted_and_then_changes_nothing(core: Core, tmp_path: Path) -> None:
    arguments = {"record": "{place}/record.json", "directories": ["{place}/d"], "files": {"{place}/d/vac.conf": "x\n"}}
    answers = results(core, tmp_path, [("node_files", arguments, check) for check in (True, False, True, False)])
    assert [answer.get("msg") for answer in answers if answer["failed"]] == []
    assert [answer["changed"] for answer in answers] == [True, True, False, False]
    assert answers[0]["diff"] == answers[1]["diff"]
    assert (tmp_path / "d/vac.conf").read_text() == "x\n"


def test_a_module_refuses_what_it_cannot_do_by_name(core: Core, tmp_path: Path) -> None:
    calls: list[tuple[str, dict[str, Any], bool]] = [
        ("factory", {"name": "a"}, True),
        ("ip_forward", {"family": "ipx"}, True),
        ("node_files", {"file": {}}, True),
    ]
    answers = results(core, tmp_path, calls)
    assert [answer["failed"] for answer in answers] == [True, True, True]
    for answer, word in zip(answers, ("machinetype", "family", "file")):
        assert word in answer["msg"]
