# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles make of worker_starts_per_cycle and factory_claim_leftovers."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.unit.roles.test_platforms import ROLES, resolve, trusted

TEMPLATE = (ROLES / "worker/templates/50-vm-universe.config.j2").read_text()
LOOKUP = "lookup('ansible.builtin.template', '60-vac-factory.config.j2')"
KNOBS = ("CONSUMPTION_POLICY", "NUM_CLAIMS", "CLAIM_PARTITIONABLE_LEFTOVERS")


def knobs(**variables: Any) -> dict[str, str]:
    """What the worker's file sets of matching."""
    text = resolve("debian13", TEMPLATE, ansible_managed="", **variables)
    pairs = (line.partition(" = ") for line in text.splitlines())
    return {name: value for name, equals, value in pairs if equals and name in KNOBS}


def test_eight_starts_a_cycle_by_default() -> None:
    assert knobs() == {"CONSUMPTION_POLICY": "True", "NUM_CLAIMS": "8", "CLAIM_PARTITIONABLE_LEFTOVERS": "False"}


@pytest.mark.parametrize("number", [3, "3"])
def test_another_number(number: Any) -> None:
    assert knobs(worker_starts_per_cycle=number)["NUM_CLAIMS"] == "3"


@pytest.mark.parametrize("number", [0, "0"])
def test_none_leaves_matching_to_the_site(number: Any) -> None:
    assert knobs(worker_starts_per_cycle=number) == {}
    # The rest of the file is the same.
    text = resolve("debian13", TEMPLATE, ansible_managed="", worker_starts_per_cycle=number)
    assert "VM_TYPE = kvm" in text
    assert "\nSTART = " in text


@pytest.mark.parametrize(
    ("number", "good"),
    [(0, True), (8, True), ("9999", True), (10000, False), (-1, False), ("8.5", False), ("many", False), ("", False)],
)
def test_what_is_not_such_a_number_is_refused(number: Any, good: bool) -> None:
    refusals = resolve("debian13", "{{ worker_refusals }}", worker_starts_per_cycle=number)
    found = [line for line in refusals if line.startswith("worker_starts_per_cycle: ")]
    assert (found == []) is good
    assert all(f"worker_starts_per_cycle: {number} is not from 0 to 9999" in line for line in found)


def factory(expression: str, **variables: Any) -> Any:
    """An expression as the tasks of the role factory see it."""
    known: dict[str, Any] = {}
    for name in ("defaults", "vars"):
        known.update(yaml.safe_load((ROLES / "factory" / name / "main.yml").read_text()))
    # Lookups are not to be had here.
    known["factory_fragments"] = known["factory_fragments"].replace(LOOKUP, "'the file'")
    known.update(variables)
    return Templar(loader=DataLoader(), variables=trusted(known)).template(trusted(expression))


@pytest.mark.parametrize(
    ("nodes", "leftovers"),
    [
        ({"wn1": {}, "wn2": {}}, False),
        ({"wn1": {"worker_starts_per_cycle": 4}}, False),
        ({"wn1": {"worker_starts_per_cycle": 0}, "wn2": {}}, False),
        ({"wn1": {"worker_starts_per_cycle": 0}, "wn2": {"worker_starts_per_cycle": 8}}, False),
        ({"wn1": {"worker_starts_per_cycle": 0}, "wn2": {"worker_starts_per_cycle": "0"}}, True),
        ({}, False),
    ],
)
def test_the_access_point_goes_with_the_worker_nodes(nodes: dict[str, dict[str, Any]], leftovers: bool) -> None:
    groups = {"worker_node": list(nodes)}
    assert factory("{{ factory_claim_leftovers }}", groups=groups, hostvars=nodes) is leftovers


def test_an_inventory_without_worker_nodes() -> None:
    assert factory("{{ factory_claim_leftovers }}", groups={"access_point": ["ap"]}, hostvars={"ap": {}}) is False


@pytest.mark.parametrize(
    ("variables", "written"),
    [
        ({"factory_claim_leftovers": False}, True),
        ({"factory_claim_leftovers": "false"}, True),
        ({"factory_claim_leftovers": True}, False),
        ({"factory_claim_leftovers": "yes"}, False),
        ({"factory_claim_leftovers": False, "factory_state": "held"}, True),
        ({"factory_claim_leftovers": False, "factory_state": "absent"}, False),
    ],
)
def test_the_access_points_file_is_written_or_removed(variables: dict[str, Any], written: bool) -> None:
    fragments = factory("{{ factory_fragments }}", **variables)
    (content,) = fragments.values()
    assert list(fragments) == ["60-vac-factory.config"]
    assert content == ("the file" if written else None)


def test_what_the_access_points_file_sets() -> None:
    text = (ROLES / "factory/templates/60-vac-factory.config.j2").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == ["CLAIM_PARTITIONABLE_LEFTOVERS = False"]
