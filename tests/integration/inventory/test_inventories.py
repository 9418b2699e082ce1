# SPDX-License-Identifier: GPL-3.0-or-later
"""The site playbook with wrong inventories and right ones, run by the real ansible-playbook; nobody's node answers."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from tests.integration.inventory.sites import CHECK, ROOT, Site

POOL_TAGS = ("pool_preflight", "pool_packages", "pool_config", "pool_tokens", "pool_ready")
EXAMPLES = sorted((ROOT / "docs/examples").glob("*.yml"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def renamed(old: str, new: str) -> Callable[[Site], object]:
    """A group by another name."""
    return lambda site: site.groups.update({new: site.groups.pop(old)})


def group(name: str, value: Any) -> Callable[[Site], object]:
    """A group instead of the present one."""
    return lambda site: site.groups.update({name: value})


def sets(**keys: Any) -> Callable[[Site], object]:
    """Variables of all hosts."""
    return lambda site: site.vars.update(keys)


def of_workers(**keys: Any) -> Callable[[Site], object]:
    """Variables of the worker nodes."""
    return lambda site: site.groups["worker_node"]["vars"].update(keys)


def of_gridpp(**keys: Any) -> Callable[[Site], object]:
    """Keys of a machinetype."""
    return lambda site: site.gridpp.update(keys)


# What makes the inventory wrong, and the one line about it.
WRONG: dict[str, tuple[Callable[[Site], object], str]] = {
    "misspelt group": (
        renamed("worker_node", "worker_nodes"),
        "group worker_node: missing: rename the group worker_nodes to it",
    ),
    "empty group": (group("access_point", {"hosts": {}}), "group access_point: empty: add its hosts.*"),
    "absent group": (
        lambda site: site.groups.pop("central_manager"),
        "group central_manager: missing: add its hosts, or set vacuum_manage_pool to false.*",
    ),
    "hosts in a group beside": (
        group("worker_nodes", {"hosts": {"wn4": {}}}),
        "group worker_nodes: 1 of its hosts is in no group of the collection: rename it to worker_node.*",
    ),
    "misspelt variable of a group": (
        of_workers(worker_sharng=["nfs"]),
        "worker_sharng: unknown variable: rename it to worker_sharing,.* \\(group worker_node\\)",
    ),
    "misspelt variable of a host": (
        group("access_point", {"hosts": {"ap": {"factory_stat": "held"}}}),
        "factory_stat: unknown variable: rename it to factory_state,.* \\(host ap\\)",
    ),
    "misspelt variable of the playbook": (
        sets(vacuum_manage_pools=False),
        "vacuum_manage_pools: unknown variable: rename it to vacuum_manage_pool,.* \\(every host\\)",
    ),
    "no boolean": (sets(vacuum_manage_pool="maybe"), "vacuum_manage_pool: 'maybe': must be true or false.*"),
    "no number": (of_workers(worker_watch_interval="30s"), "worker_watch_interval: '30s': must be a whole number.*"),
    "no choice": (sets(factory_state="hold"), "factory_state: 'hold': must be one of .*; did you mean held\\?.*"),
    "text for a list": (of_workers(worker_owners="vac"), "worker_owners: 'vac': must be a list.*"),
    "no proxy": (
        sets(vacuum_http_proxy="https://vac:sesame@squid.example.org:3128"),
        "vacuum_http_proxy: '\\.\\.\\.@squid.example.org:3128': must be http://\\[USER:.*\\(every host\\)",
    ),
    "no exception from a proxy": (
        of_workers(worker_no_proxy=["http://example.org"]),
        "worker_no_proxy: 'http://example.org': must be a host.* \\(group worker_node\\)",
    ),
    "undefined in a template": (
        of_workers(worker_domain="{{ site_domian }}", site_domain="x.org"),
        "worker_domain: 'site_domian' is undefined: define it, or correct it to site_domain \\(group worker_node\\)",
    ),
    "typo in a machinetype": (
        of_gridpp(memory_bm=3000),
        "vacuum_machinetypes.gridpp.memory_bm: unknown key: correct it to memory_mb",
    ),
    "key without its file": (
        of_gridpp(user_data="files/gone"),
        "vacuum_machinetypes.gridpp.user_data: no file files/gone on the controller: searched .*: correct the path.*",
    ),
    "secret file of a vault": (
        of_gridpp(user_data_files={"hostkey": "locked.pem"}),
        "vacuum_machinetypes.gridpp.user_data_files.hostkey: cannot read locked.pem on the controller: .*: "
        "give ansible-playbook the vault's password .*",
    ),
    "secret value of a vault": (
        of_gridpp(user_data_options={"token": "VAULT 6530"}),
        "vacuum_machinetypes.gridpp.user_data_options.token: cannot be decrypted: give ansible-playbook the vault's.*",
    ),
    "keys that exclude each other": (
        of_gridpp(max_idle=11),
        "vacuum_machinetypes.gridpp.max_idle: 11 is above max_machines 10; lower it",
    ),
    "no way to share": (
        of_gridpp(sharing="http"),
        "vacuum_machinetypes.gridpp.sharing: http: no worker node has that in its worker_sharing: "
        "set it to nfs, or name http .*",
    ),
    "image without a name": (
        of_gridpp(image="https://images.example.org/get"),
        "vacuum_machinetypes.gridpp.image_format: cannot be derived from suffix ''.*",
    ),
    "no share": (of_gridpp(target_share=0), "vacuum_machinetypes.gridpp.target_share: 0 must be a number above 0.*"),
    "machinetypes as a list": (
        sets(vacuum_machinetypes=[{"name": "gridpp"}]),
        "vacuum_machinetypes: .*: must be a mapping of names to values \\(host ap\\)",
    ),
    "pipe that cannot be read": (
        sets(vacuum_pipes={"vo": {"url": "gone.pipe"}}),
        "vacuum_pipes.vo.url: no file gone.pipe on the controller: searched .*",
    ),
    "pipe without a url": (sets(vacuum_pipes={"vo": {}}), "vacuum_pipes.vo.url: missing; name the pipe's https URL.*"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_inventory_is_one_line_and_no_task_on_any_node(site: Site, name: str) -> None:
    change, line = WRONG[name]
    change(site)
    run = site.play()
    assert run.status != 0, run.output
    (found,) = run.found["faults"]
    assert re.fullmatch(line, found), found
    assert run.started == [("localhost", CHECK)]
    shown = [text for text in run.output.splitlines() if found.replace('"', '\\"') in text]
    assert len(shown) == 1, run.output
    assert "1 fault in the inventory; no node was touched" in run.output


def test_all_faults_are_shown_at_once_whatever_part_of_the_site_is_to_run(site: Site) -> None:
    site.groups["worker_node"]["vars"].update(worker_emulation="maybe", worker_sharng=[])
    site.gridpp.update(user_data="gone", memory_bm=1)
    site.vars["vacuum_pipes"]["lhcb"] = {"url": "gone.pipe"}
    for words in ((), ("--check",), ("--tags", "worker_sudoers"), ("--limit", "wn2"), ("--limit", "ap", "--check")):
        run = site.play(*words)
        assert run.status != 0, run.output
        subjects = [line.split(": ")[0] for line in run.found["faults"]]
        assert subjects == [
            *("worker_sharng", "worker_emulation", "vacuum_pipes.lhcb.url"),
            "vacuum_machinetypes.gridpp.memory_bm",
        ], words
        assert run.on_nodes() == [], words


def test_variables_of_the_command_line_are_checked_as_well(site: Site) -> None:
    run = site.play("-e", "worker_sharng=nfs", "-e", "vacuum_manage_pool=maybe", "-e", "worker_watch_interval=30")
    assert [line.split(": ")[0] for line in run.found["faults"]] == ["worker_sharng", "vacuum_manage_pool"]
    assert (run.status, run.on_nodes()) == (2, [])


def test_an_inventory_without_hosts_is_no_success(site: Site) -> None:
    site.groups = {}
    run = site.play()
    assert run.status != 0
    assert [line.split(": ")[0] for line in run.found["faults"]] == [
        *("group central_manager", "group access_point", "group worker_node")
    ]


def right(site: Site, hosts: int, machinetypes: list[str], *words: str) -> None:
    """The run passes the check, and is then about to contact the one node to which it is limited."""
    (node,) = site.groups["central_manager"]["hosts"]
    run = site.play("--limit", node, *words)
    assert run.found == {"faults": [], "hosts": hosts, "machinetypes": machinetypes}, run.output
    assert run.started == [(node, CHECK), (node, "Gathering Facts")]
    assert "unreachable=1" in run.output


def test_a_right_inventory_passes(site: Site) -> None:
    right(site, 5, ["vo-prod", "gridpp"])


def test_a_site_with_a_pool_of_its_own_needs_no_central_manager(site: Site) -> None:
    del site.groups["central_manager"]
    site.vars.update(vacuum_manage_pool=False)
    run = site.play("--limit", "wn1")
    assert run.found["faults"] == [], run.output
    assert {host for host, _ in run.on_nodes()} == {"wn1"}


@pytest.mark.parametrize("group", [None, {"hosts": {}}], ids=["missing", "empty"])
def test_such_a_run_goes_through_every_play(tmp_path: Path, group: dict[str, Any] | None) -> None:
    """delegate_to is filled in for a task that is skipped, too (ansible-core 2.19)."""
    site = Site(tmp_path)
    if group is None:
        del site.groups["central_manager"]
    else:
        site.groups["central_manager"] = group
    site.vars.update(
        vacuum_manage_pool=False,
        ansible_connection="local",
        ansible_become=False,
        ansible_remote_tmp=str(tmp_path),
        ansible_python_interpreter=sys.executable,
    )
    # A pool's tasks alone: nothing of this machine is changed.
    run = site.play("--limit", "ap", "--tags", ",".join(POOL_TAGS))
    assert run.status == 0, run.output
    assert ("ap", "Create the key that signs tokens, on the central manager only") in run.on_nodes()


NO_NEGOTIATOR = "{}: the group central_manager has no host, so that no negotiator is set up for it: .* as {} says"
UNSERVED: dict[str, tuple[Callable[[Site], object], list[tuple[str, str]]]] = {
    "a share": (of_gridpp(target_share=2), [("accounting_group, target_share", "docs/shares.md")]),
    "a group": (of_gridpp(accounting_group="group_gridpp"), [("accounting_group, target_share", "docs/shares.md")]),
    "backfill": (of_workers(worker_backfill="yes"), [("worker_backfill", "docs/batch-jobs.md")]),
    "neither": (of_workers(worker_backfill="no"), []),
}


@pytest.mark.parametrize("name", UNSERVED)
@pytest.mark.parametrize("negotiator", [True, False], ids=["with negotiator", "without"])
def test_what_no_negotiator_will_do_is_a_warning(site: Site, name: str, negotiator: bool) -> None:
    change, expected = UNSERVED[name]
    change(site)
    site.vars.update(vacuum_manage_pool=False)
    if not negotiator:
        del site.groups["central_manager"]
    run = site.play("--limit", "wn1")
    assert run.found["faults"] == [], run.output
    # Ansible folds a warning at the width of the terminal.
    warnings = re.findall(r"\[WARNING\]: (\S.*? as docs/\S+ says)", " ".join(run.output.split()))
    lines = [] if negotiator else [NO_NEGOTIATOR.format(*one) for one in expected]
    assert len(warnings) == len(lines), run.output
    for line, warning in zip(lines, warnings):
        assert re.fullmatch(line, warning)


def test_secrets_that_the_passwords_open_are_right(site: Site) -> None:
    vault = VaultLib([("default", VaultSecret(b"sesame"))])
    (site.place / "password").write_text("sesame\n")
    (site.place / "locked.pem").write_bytes(vault.encrypt("key\n"))
    secret = "".join(vault.encrypt("token").decode().splitlines()[1:])
    site.gridpp.update(user_data_files={"hostkey": "locked.pem"}, user_data_options={"token": f"VAULT {secret}"})
    right(site, 5, ["vo-prod", "gridpp"], "--vault-password-file", "password")


def test_the_inventory_of_the_readme_passes(site: Site) -> None:
    (text,) = re.findall(r"```yaml\n(# inventory\.yml\n.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    inventory = yaml.safe_load(text)["all"]
    site.take(inventory)
    right(site, 302, list(inventory["vars"]["vacuum_machinetypes"]))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_pass(site: Site, path: Path) -> None:
    variables = yaml.safe_load(path.read_text("utf-8"))
    for prefix, pipe in variables.get("vacuum_pipes", {}).items():
        assert pipe["url"].startswith("https://"), prefix
        pipe["url"] = "vo.pipe"
    own = variables.get("vacuum_machinetypes", {})
    for keys in own.values():
        for source in (keys["user_data"], keys.get("root_public_key", ""), *keys.get("user_data_files", {}).values()):
            if source and "://" not in source:
                (site.place / "files" / source).parent.mkdir(exist_ok=True)
                (site.place / "files" / source).write_text("of the site\n")
    site.vars = {**variables, "ansible_host": "127.0.0.1", "ansible_port": 1}
    site.groups["worker_node"].pop("vars")
    right(site, 5, [*(f"{prefix}-prod" for prefix in variables.get("vacuum_pipes", {})), *own])


LABS = ("molecule/box/converge.yml", "molecule/pool/converge.yml", "molecule/two_experiments/converge.yml")


@pytest.mark.parametrize("lab", [*LABS, "tests/demo/site.yml", "tests/soak/site.yml"])
def test_the_labs_own_inventories_pass(site: Site, lab: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of every lab, with those of a scenario or the demo over them."""
    checkout = site.place / "checkout"
    (checkout / ".cache/lab").mkdir(parents=True)
    (checkout / ".cache/lab/guest.iso").touch()
    (checkout / "tests").symlink_to(ROOT / "tests")
    (site.place / "labs/x").mkdir(parents=True)
    hosts = {name: {"lab_address": "192.0.2.1", "lab_kind": "container"} for name in ("cm", "ap", "wn1", "wn2", "wn3")}
    (site.place / "labs/x/inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    for name, value in {"LAB_CHECKOUT": checkout, "VAC_LAB_DIR": site.place, "VAC_LAB": "x"}.items():
        monkeypatch.setenv(name, str(value))
    own = yaml.safe_load((ROOT / lab).read_text("utf-8"))
    site.vars = {
        **yaml.safe_load((ROOT / "tests/lab/group_vars/all.yml").read_text("utf-8")),
        **(own if isinstance(own, dict) else own[0]["vars"]),
        "ansible_host": "127.0.0.1",
        "ansible_port": 1,
    }
    site.groups["worker_node"].pop("vars")
    right(site, 5, list(site.vars["vacuum_machinetypes"]))
