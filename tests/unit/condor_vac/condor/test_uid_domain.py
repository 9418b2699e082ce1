# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose jobs run as their owners: names and addresses of a pretended DNS, as the starter judges them."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import pytest

from condor_vac.condor.uid_domain import Rules, faults, full_name, in_domain, names_behind, rules

# TEST-NET-1, which no machine has.
ADDRESS, OTHER = "192.0.2.10", "192.0.2.11"
FORWARD = {
    "ap.example.org": [ADDRESS],
    "ap": [ADDRESS],
    "moved.example.org": [OTHER],
    "two.example.org": [OTHER, ADDRESS],
    "localhost": ["127.0.0.1"],
}


@pytest.fixture
def reverse(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Address to its names; a test fills it."""
    names: dict[str, list[str]] = {}

    def forward(host: str, *_: Any, **__: Any) -> list[Any]:
        addresses = [host] if host[0].isdigit() else FORWARD.get(host)
        if addresses is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]

    def backward(address: str) -> tuple[str, list[str], list[str]]:
        if not names.get(address):
            raise socket.herror(1, "Unknown host")
        return names[address][0], names[address][1:], [address]

    monkeypatch.setattr(socket, "getaddrinfo", forward)
    monkeypatch.setattr(socket, "gethostbyaddr", backward)
    return names


def of(**values: str) -> Rules:
    """The rules of a configuration that has UID_DOMAIN and these variables."""
    knobs: Mapping[str, str] = {"UID_DOMAIN": "example.org", **values}
    return rules(lambda name: knobs.get(name, ""))


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (["ap.example.org"], of()),
        (["ap", "ap.example.org"], of()),
        (["ap"], of(DEFAULT_DOMAIN_NAME="example.org")),
        (["ap.example.org"], of(UID_DOMAIN="Example.ORG")),
        (["ap.example.org"], of(UID_DOMAIN="ap.example.org")),
        ([], of(TRUST_UID_DOMAIN="True")),
        ([], of(TRUST_UID_DOMAIN="yes")),
        ([], of(NO_DNS="true", DEFAULT_DOMAIN_NAME="example.org")),
        ([], of(UID_DOMAIN="")),
    ],
)
def test_jobs_run_as_their_owners(reverse: dict[str, list[str]], names: list[str], rule: Rules) -> None:
    reverse[ADDRESS] = names
    assert faults(["ap.example.org", ADDRESS], rule) == []


@pytest.mark.parametrize(
    ("names", "rule", "shown"),
    [
        ([], of(), "no name with a domain"),
        (["ap"], of(), "no name with a domain"),
        (["ap"], of(UID_DOMAIN="ap"), "no name with a domain"),
        (["ap.example.org"], of(UID_DOMAIN="head"), "ap.example.org"),
        (["ap.example.org"], of(UID_DOMAIN="ample.org"), "ap.example.org"),
        (["moved.example.org"], of(), "no name with a domain"),
        (["ap"], of(DEFAULT_DOMAIN_NAME=".cluster"), "ap.cluster"),
        ([], of(TRUST_UID_DOMAIN="False"), "no name"),
    ],
)
def test_jobs_would_run_as_nobody(reverse: dict[str, list[str]], names: list[str], rule: Rules, shown: str) -> None:
    reverse[ADDRESS] = names
    (fault,) = faults(["ap.example.org"], rule)
    assert f"UID_DOMAIN is {rule.uid_domain}" in fault
    assert f"access point ap.example.org is not in it ({ADDRESS}: {shown}" in fault
    assert "sudo: a password is required" in fault


def test_each_access_point_is_judged_by_itself(reverse: dict[str, list[str]]) -> None:
    reverse[OTHER] = ["two.example.org"]
    points = ["unknown.example.org", "ap.example.org", "two.example.org", "moved.example.org"]
    found = faults(points, of(UID_DOMAIN="two.example.org"))
    assert len(found) == 1
    assert "the access point ap.example.org" in found[0]


def test_the_nodes_own_jobs_are_trusted(reverse: dict[str, list[str]]) -> None:
    assert faults(["localhost"], of()) == []
    assert reverse == {}


def test_a_name_that_leads_elsewhere_is_none(reverse: dict[str, list[str]]) -> None:
    reverse[ADDRESS] = ["moved.example.org", "ap", "gone.example.org"]
    assert names_behind(ADDRESS) == ["ap"]


def test_names_that_no_resolver_takes() -> None:
    assert faults(["a" * 300, "..", "x\udc80"], of()) == []


@pytest.mark.parametrize(
    ("names", "domain", "wanted"),
    [([], "d", ""), (["a", "b.c"], "d", "b.c"), (["a", "b"], "d", "a.d"), (["a"], ".d", "a.d"), (["a"], "", "")],
)
def test_full_name(names: list[str], domain: str, wanted: str) -> None:
    assert full_name(names, domain) == wanted


@pytest.mark.parametrize(
    ("name", "domain", "inside"),
    [("a.b.c", "b.c", True), ("a.b.c", ".b.c", True), ("b.c", "b.c", True), ("ab.c", "b.c", False), ("", "c", False)],
)
def test_in_domain(name: str, domain: str, inside: bool) -> None:
    assert in_domain(name, domain) is inside
