# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for groups and variables, on the real templating of this Ansible."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import faults, inventory_rules
from ansible_collections.vacuum.htcondor.plugins.plugin_utils.host_variables import HostVariables

try:
    from ansible.template import trust_as_template
except ImportError:  # before ansible-core 2.19 every text is a template

    def trust_as_template(value: str) -> str:
        """The text itself."""
        return value


GOOD = {"central_manager": ["cm"], "access_point": ["ap"], "worker_node": ["w1", "w2", "w3"]}


class Inventory(dict[str, dict[str, Any]]):
    """Host → its variables, as Ansible's ``hostvars`` has them."""

    def raw_get(self, host: str) -> dict[str, Any]:
        """The variables before templating."""
        return self.get(host, {})


def trusted(value: Any) -> Any:
    """A value as it comes from an inventory's file."""
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


def variables(
    hosts: dict[str, dict[str, Any]], groups: dict[str, list[str]] | None = None, **play: Any
) -> HostVariables:
    """An inventory; every host of the groups is there. ``play`` are variables of the play."""
    groups = groups or GOOD
    every = {host for some in groups.values() for host in some}
    inventory = Inventory({host: trusted(hosts.get(host, {})) for host in sorted(every)})
    task_vars = {
        "hostvars": inventory,
        "groups": {"all": sorted(every), "ungrouped": [], **groups},
        "inventory_hostname": "localhost",
        **trusted(play),
    }
    return HostVariables(task_vars, Templar(DataLoader(), {}))


def everybody(**keys: Any) -> dict[str, dict[str, Any]]:
    """The same variables for each host."""
    return {host: keys for hosts in GOOD.values() for host in hosts}


def lines(found: HostVariables) -> list[str]:
    """What the rules for variables report."""
    report = inventory_rules.Report()
    inventory_rules.names(found, report)
    inventory_rules.values(found, report)
    return report.lines(found.groups, inventory_rules.hosts(found.groups))


@pytest.mark.parametrize(
    ("present", "managed", "ignored"),
    [
        (GOOD, True, ()),
        ({**GOOD, "worker_node_el9": ["w1"], "rack": ["w2"], "workers": []}, True, ()),
        ({name: GOOD[name] for name in ("access_point", "worker_node")}, False, ()),
        ({"worker_node": ["w1"]}, False, ("access_point",)),
        ({**GOOD, "worker_nodes": ["spare"]}, True, ("worker_nodes",)),
        # Its hosts are all in the right group as well.
        ({**GOOD, "worker_nodes": ["w1", "w2"]}, True, ()),
    ],
)
def test_groups_that_are_right(present: dict[str, list[str]], managed: bool, ignored: tuple[str, ...]) -> None:
    assert list(inventory_rules.groups(present, managed=managed, ignored=ignored)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"worker_node": None, "worker_nodes": ["w1"]},
            "group worker_node: missing: rename the group worker_nodes to it",
        ),
        (
            {"access_point": None, "Access-Points": ["ap"]},
            "group access_point: missing: rename the group Access-Points",
        ),
        ({"access_point": []}, "group access_point: empty: add its hosts, or name it in vacuum_ignore_groups"),
        (
            {"central_manager": None},
            "group central_manager: missing: add its hosts, or set vacuum_manage_pool to false, or name it",
        ),
        ({"worker_nodes": ["w9"]}, "group worker_nodes: 1 of its hosts is in no group of the collection: rename it to"),
        (
            {"access_points": ["a8", "a9", "ap"]},
            "group access_points: 2 of its hosts are in no group of the collection: rename it to access_point",
        ),
        ({"worker_node": None, "compute": ["w1"]}, "group worker_node: missing: add its hosts"),
    ],
)
def test_groups_that_are_wrong(change: dict[str, list[str] | None], expected: str) -> None:
    present = {name: hosts for name, hosts in {**GOOD, **change}.items() if hosts is not None}
    (line,) = inventory_rules.groups(present, managed=True)
    assert line.startswith(expected)


@pytest.mark.parametrize(
    "keys",
    [
        {"worker_sharing": ["nfs"], "pool_config": {}, "vacuum_machinetypes": {}, "vacuum_drain_notice": 7200},
        # Set by roles themselves, and there after they have run.
        {"worker_daemons": {"changed": False}, "worker_os_packages": [], "vacuum_drained": {}},
        {"rack": 3, "workers": 4, "condor_version": "x", "my_worker_x": 1},
        {"worker_node_rack": 3, "worker_cpu": 1, "vacuum_ignore_variables": ["worker_node_*", "worker_cpu"]},
    ],
)
def test_variables_that_are_known(keys: dict[str, Any]) -> None:
    assert lines(variables(everybody(**keys))) == []


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("worker_sharng", "rename it to worker_sharing"),
        ("vacuum_manage_pools", "rename it to vacuum_manage_pool"),
        ("vacuum_machinetype", "rename it to vacuum_machinetypes"),
        ("factory_owners", "rename it to factory_owner"),
        ("pool_conf", "rename it to pool_config"),
        ("shares_percent", "rename it to shares_pool_percent"),
        ("runtime_xyzzy_plugh", "remove it"),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest(name: str, near: str) -> None:
    expected = f"{name}: unknown variable: {near}, or name it in vacuum_ignore_variables if it is yours"
    assert lines(variables({"w2": {name: 1}})) == [f"{expected} (host w2)"]
    assert lines(variables({"w9": {name: 1}}, {**GOOD, "others": ["w9"]})) == [], "no host of the collection's"


@pytest.mark.parametrize(
    ("hosts", "place"),
    [
        (["w2"], "host w2"),
        (["w1", "w2", "w3"], "group worker_node"),
        (["w1", "w3"], "group rack"),
        (["w1", "w2"], "hosts w1, w2"),
        (["ap", "cm", "w1", "w2"], "hosts cm, ap, w1 and 1 more"),
        (["ap", "cm", "w1", "w2", "w3"], "every host"),
    ],
)
def test_hosts_are_named_by_their_group(hosts: list[str], place: str) -> None:
    wrong = variables({host: {"vacuum_manage_pool": "maybe"} for host in hosts}, {**GOOD, "rack": ["w1", "w3"]})
    assert lines(wrong) == [f"vacuum_manage_pool: 'maybe': must be true or false ({place})"]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"worker_emulation": "maybe"}, "worker_emulation: 'maybe': must be true or false"),
        ({"worker_watch_interval": "soon"}, "worker_watch_interval: 'soon': must be a whole number"),
        ({"worker_owners": "vac"}, "worker_owners: 'vac': must be a list, such as [a, b]"),
        ({"worker_config": None}, "worker_config: None: must be a mapping of names to values"),
        ({"worker_sharing": "{{ ['htp'] }}"},
         "worker_sharing: ['htp']: must be a list of nfs, http; did you mean http?"),
        ({"worker_domain": "{{ sitedomain }}", "site_domain": "x"},
         "worker_domain: 'sitedomain' is undefined: define it, or correct it to site_domain"),
        ({"worker_domain": "{{ worker_domain }}"},
         r"worker_domain: .*ecursi.* maximum recursion depth exceeded.*: correct the value"),
        ({"worker_domain": "{{ broken"}, "worker_domain: .*unexpected end of template.*: correct the value"),
        ({"worker_config": {"A": "{{ nope }}", "B": 1}}, "worker_config.A: 'nope' is undefined: define it"),
    ],
)  # fmt: skip
def test_values_of_worker_nodes_that_are_wrong(keys: dict[str, Any], line: str) -> None:
    (found,) = lines(variables({"w3": keys}))
    assert found == f"{line} (host w3)" or re.fullmatch(rf"{line} \(host w3\)", found), found
    assert len(found) < 400
    assert lines(variables({"cm": keys})) == [], "no role there uses it"


@pytest.mark.parametrize(
    "keys",
    [
        {"worker_config": {"NUM_CPUS": "{{ ansible_facts.processor_vcpus }}"}},
        {"worker_config": {"NUM_CPUS": "{{ ansible_processor_vcpus }}"}},
        {"worker_config": "{{ cpus }}", "cpus": {"NUM_CPUS": "{{ ansible_facts['processor_vcpus'] | int - 2 }}"}},
        {"worker_config": {"X": "{{ worker_network }}"}},
        {"worker_emulation": "{{ kind == 'container' }}", "kind": "container"},
        {"worker_watch_interval": "30", "worker_emulation": "yes", "worker_start_others": True},
    ],
)
def test_values_that_need_facts_or_templates_are_right(keys: dict[str, Any]) -> None:
    assert lines(variables({"w3": keys})) == []


def test_variables_of_the_play_win_over_the_inventorys() -> None:
    wrong = variables(everybody(worker_emulation=True, worker_domain="x"), worker_emulation="maybe")
    assert lines(wrong) == ["worker_emulation: 'maybe': must be true or false (group worker_node)"]
    assert wrong.of("w1")["worker_domain"] == "x"
    right = variables(everybody(worker_emulation="maybe"), worker_emulation=True, ansible_host="localhost")
    assert lines(right) == []


def test_a_host_keeps_its_own_connection_where_the_check_is_delegated() -> None:
    found = variables({"w1": {"ansible_host": "192.0.2.1"}}, ansible_host="localhost")
    assert found.of("w1")["ansible_host"] == "192.0.2.1"


def test_machinetypes_are_judged_where_they_are_used() -> None:
    bad = {"vacuum_machinetypes": [{"token": "sesame"}]}
    line = "vacuum_machinetypes: a list: must be a mapping of names to values (host ap)"
    assert lines(variables(everybody(**bad))) == [line]
    assert lines(variables({"w1": bad})) == []


@pytest.mark.parametrize(
    ("hosts", "managed"),
    [
        ({}, True),
        (everybody(vacuum_manage_pool=False), False),
        (everybody(vacuum_manage_pool="no"), False),
        ({**everybody(vacuum_manage_pool=False), "w1": {"vacuum_manage_pool": True}}, True),
        ({"w1": {"vacuum_manage_pool": False}}, True),
    ],
)
def test_the_pool_is_managed_unless_no_host_wants_it(hosts: dict[str, dict[str, Any]], managed: bool) -> None:
    assert inventory_rules.managed(variables(hosts)) is managed


def test_what_cannot_be_known_is_marked_inside_the_value() -> None:
    found: list[str] = []
    given = {"a": {"x": "{{ nope }}", "y": 1}, "b": 2}
    value = variables({"w1": {"worker_config": given}}).value("w1", "worker_config", found.append)
    assert value == {"a": {"x": faults.UNKNOWN, "y": 1}, "b": 2}
    assert found == ["worker_config.a.x: 'nope' is undefined: define it"]


def test_proxies_of_the_site_and_of_roles_are_checked_where_they_matter() -> None:
    found = variables(
        {
            "ap": {"factory_http_proxy": "http://vac:sesame@squid", "worker_http_proxy": "of no role here"},
            "w1": {"worker_no_proxy": ["a/b"], "vacuum_http_proxy": "http://squid:3128"},
            "w2": {"worker_http_proxy": ["http://vac:sesame@squid:3128"]},
        }
    )
    report = inventory_rules.Report()
    inventory_rules.proxies(found, report)
    inventory_rules.values(found, report)
    lines = report.lines(found.groups, list(inventory_rules.hosts(found.groups)))
    assert [line.partition(": ")[0] for line in lines] == ["factory_http_proxy", "worker_no_proxy", "worker_http_proxy"]
    assert [line.rpartition(" (")[2] for line in lines] == ["host ap)", "host w1)", "host w2)"]
    assert lines[2].startswith("worker_http_proxy: (hidden): must be text")
    assert "sesame" not in str(lines)


BOTH = ["nfs", "http"]
HTTP = "http: no worker node has that in its worker_sharing: set it to nfs, or name http in worker_sharing"
SHARING: dict[str, tuple[dict[str, dict[str, Any]], str | None, list[str]]] = {
    "all ways by default": ({}, "both", []),
    "the default key": (
        {host: {"worker_sharing": ["http"]} for host in GOOD["worker_node"]},
        None,
        ["nfs: no worker node has that in its worker_sharing: set it to http, or name nfs in worker_sharing"],
    ),
    "one node has it": ({"w1": {"worker_sharing": ["nfs"]}, "w2": {"worker_sharing": ["nfs"]}}, "http", []),
    "none has it": ({host: {"worker_sharing": ["nfs"]} for host in GOOD["worker_node"]}, "http", [HTTP]),
    "both, on different nodes": (
        {"w1": {"worker_sharing": ["nfs"]}, "w2": {"worker_sharing": ["http"]}, "w3": {"worker_sharing": []}},
        "both",
        [
            "both: no worker node has that in its worker_sharing: set it to http or nfs, "
            "or name http and nfs in worker_sharing"
        ],
    ),
    "no choice": ({host: {"worker_sharing": ["nfs"]} for host in GOOD["worker_node"]}, "nsf", []),
    "not known yet": (
        {host: {"worker_sharing": "{{ ansible_facts['x'] }}"} for host in GOOD["worker_node"]},
        "http",
        [],
    ),
}


@pytest.mark.parametrize("name", SHARING)
def test_a_machinetype_shares_as_some_worker_node_does(name: str) -> None:
    hosts, way, expected = SHARING[name]
    report = inventory_rules.Report()
    keys = {} if way is None else {"sharing": way}
    inventory_rules.sharing(variables(hosts), {"atlas": keys, "damaged": []}, report)
    assert report.lines(GOOD, []) == [f"vacuum_machinetypes.atlas.sharing: {line}" for line in expected]


def test_without_worker_nodes_no_sharing_is_refused() -> None:
    report = inventory_rules.Report()
    inventory_rules.sharing(variables({}, {**GOOD, "worker_node": []}), {"atlas": {}}, report)
    assert report.lines(GOOD, []) == []


@pytest.mark.parametrize(
    ("point", "nodes", "warned"),
    [
        ({}, {}, False),
        ({"factory_claim_leftovers": True}, {}, True),
        ({"factory_claim_leftovers": "yes"}, {"worker_starts_per_cycle": 4}, True),
        ({"factory_claim_leftovers": True}, {"worker_starts_per_cycle": 0}, False),
        ({"factory_claim_leftovers": True}, {"worker_starts_per_cycle": "0"}, False),
        ({"factory_claim_leftovers": False}, {}, False),
        ({"factory_claim_leftovers": "{{ site_choice }}"}, {}, False),
    ],
)
def test_an_access_point_that_undoes_the_limit_of_starts_is_a_warning(
    point: dict[str, Any], nodes: dict[str, Any], warned: bool
) -> None:
    hosts = {"ap": point, **{host: nodes for host in GOOD["worker_node"]}}
    lines = inventory_rules.claimed_leftovers(variables(hosts))
    assert len(lines) == warned
    assert all(line.startswith("factory_claim_leftovers: true on ap, where worker_starts_per_cycle") for line in lines)


def test_one_node_with_a_limit_is_enough_for_that_warning() -> None:
    hosts: dict[str, dict[str, Any]] = {"ap": {"factory_claim_leftovers": True}, "w1": {"worker_starts_per_cycle": 0}}
    assert len(inventory_rules.claimed_leftovers(variables(hosts))) == 1
    assert inventory_rules.claimed_leftovers(variables(hosts, {"access_point": ["ap"]})) == []
