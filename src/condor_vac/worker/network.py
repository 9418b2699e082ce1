# SPDX-License-Identifier: GPL-3.0-or-later
"""The address table of the VM network: which address, MAC and host name a lease's number stands for.

Pure arithmetic, so that the libvirt network's DHCP entries, the leases and the domain's MAC can never
disagree: each is computed from the subnet alone. The host has the subnet's first address.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from condor_vac.base.errors import UsageError
from condor_vac.base.shared import DNS_DOMAIN, FIRST_NUMBER, LAST_NUMBER, vm_mac


class Host(NamedTuple):
    """One place for a VM: its number in the subnet, IPv4 address, MAC (lower case) and full host name."""

    number: int
    address: str
    mac: str
    hostname: str


def parse_subnet(subnet: str) -> ipaddress.IPv4Network:
    """The subnet, which must leave room for every number. Raises UsageError."""
    try:
        network = ipaddress.IPv4Network(subnet)
    except ValueError as error:
        raise UsageError(f"subnet: {subnet!r}: {error}; write it as 192.168.86.0/24") from error
    if not 16 <= network.prefixlen <= 24:
        raise UsageError(f"subnet: {subnet}: must be from a /16 to a /24, for VMs up to number {LAST_NUMBER}")
    return network


def gateway(subnet: str) -> str:
    """The host's own address on the VM network: gateway, DHCP, NFS and HTTP server of its VMs."""
    return str(parse_subnet(subnet).network_address + 1)


def host(subnet: str, number: int, domain: str) -> Host:
    """The place with this number; ``domain`` is what follows the host part of its name."""
    if not FIRST_NUMBER <= number <= LAST_NUMBER:
        raise UsageError(f"host number {number}: must be from {FIRST_NUMBER} to {LAST_NUMBER}")
    if not re.fullmatch(DNS_DOMAIN, domain):
        raise UsageError(f"hostname_domain: {domain!r}: must be a lower-case DNS domain such as vac.internal")
    address = parse_subnet(subnet).network_address + number
    return Host(number, str(address), vm_mac(address.packed), f"vm-{number}.{domain}")


def table(subnet: str, domain: str) -> tuple[Host, ...]:
    """Every place of the subnet, in the order in which leases take them."""
    return tuple(host(subnet, number, domain) for number in range(FIRST_NUMBER, LAST_NUMBER + 1))
