# SPDX-License-Identifier: GPL-3.0-or-later
"""The address table: one place for each number, the same for everyone who computes it."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.base.errors import UsageError
from condor_vac.worker import network


@pytest.mark.parametrize(
    ("subnet", "number", "address", "mac"),
    [
        ("192.168.86.0/24", 10, "192.168.86.10", "52:54:00:76:56:0a"),
        ("192.168.86.0/24", 250, "192.168.86.250", "52:54:00:76:56:fa"),
        ("10.1.0.0/16", 99, "10.1.0.99", "52:54:00:76:00:63"),
        ("172.20.254.0/23", 128, "172.20.254.128", "52:54:00:76:fe:80"),
    ],
)
def test_place(subnet: str, number: int, address: str, mac: str) -> None:
    place = network.host(subnet, number, "vac.internal")
    assert (place.address, place.mac, place.hostname) == (address, mac, f"vm-{number}.vac.internal")


@given(st.integers(0, 255), st.integers(0, 255))
def test_every_place_is_its_own_and_no_hosts(second: int, third: int) -> None:
    subnet = f"10.{second}.{third}.0/24"
    places = network.table(subnet, "vac.internal")
    assert len(places) == 241
    for values in zip(*((p.address, p.mac, p.hostname) for p in places)):
        assert len(set(values)) == 241
    addresses = {ipaddress.ip_address(place.address) for place in places}
    assert addresses <= set(ipaddress.ip_network(subnet).hosts())
    assert ipaddress.ip_address(network.gateway(subnet)) not in addresses


@pytest.mark.parametrize("subnet", ["192.168.86.1/24", "10.0.0.0/8", "192.168.86.0/25", "fd00::/64", "", "x"])
def test_bad_subnet_is_refused(subnet: str) -> None:
    with pytest.raises(UsageError, match="subnet"):
        network.gateway(subnet)


@pytest.mark.parametrize("number", [-1, 0, 1, 9, 251, 255, 256])
def test_numbers_of_the_host_and_the_broadcast_are_refused(number: int) -> None:
    with pytest.raises(UsageError, match="host number"):
        network.host("192.168.86.0/24", number, "vac.internal")


@pytest.mark.parametrize("domain", ["", ".x", "a b", "UP", "a..b", "x-", "a/b", "a\nb"])
def test_bad_domain_is_refused(domain: str) -> None:
    with pytest.raises(UsageError, match="hostname_domain"):
        network.host("192.168.86.0/24", 10, domain)
