# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's private segment: addresses, names, and the QEMU devices that join a machine to it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping

DOMAIN = "lab"
SEGMENT = ipaddress.ip_network("10.77.0.0/24")
FIRST_NUMBER = 11
LAST_NUMBER = 250

# PCI slots, by which the image's networkd files (rootfs/etc/systemd/network) identify the devices.
CONTROL_SLOT, SEGMENT_SLOT, INTERNET_SLOT = "0x3", "0x4", "0x5"
SEGMENT_DEVICE = "Path=pci-0000:00:04.0"
CONTROL_NET, CONTROL_ADDRESS = "169.254.77.0/24", "169.254.77.15"
INTERNET_NET, INTERNET_DNS = "169.254.78.0/24", "169.254.78.3"
INTERNET_LINK = "internet-device"

# Administratively scoped group (RFC 2365): the segment is UDP multicast on the loopback interface.
_GROUP = "239.77.0.1"


def address(number: int) -> str:
    """Return the segment address of the node with this number (11 to 250)."""
    if not FIRST_NUMBER <= number <= LAST_NUMBER:
        raise ValueError(f"node number {number} is outside {FIRST_NUMBER} to {LAST_NUMBER}")
    return str(SEGMENT[number])


def free_number(used: set[int]) -> int:
    """Return the lowest node number that is not in use."""
    return next(number for number in range(FIRST_NUMBER, LAST_NUMBER + 1) if number not in used)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a loopback port that nothing listens on at the moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def hosts_file(name: str, nodes: Mapping[str, str]) -> str:
    """Return /etc/hosts of node `name`, given the segment address of every node. A name needs a domain: without one
    HTCondor takes two nodes for two sites and runs jobs as nobody."""
    lines = [
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost ip6-loopback",
        f"# Nodes of the lab; this is {name}.",
    ]
    lines += [f"{nodes[other]} {other}.{DOMAIN} {other}" for other in sorted(nodes)]
    return "\n".join(lines) + "\n"


def segment_unit(match: str, number: int) -> str:
    """Return the networkd file that gives a node its address on the segment; ``match`` names the device.

    The default route leads to an address nobody has: it makes this device the one that programs
    take for the machine's own, and the outside stays unreachable.
    """
    return (
        f"[Match]\n{match}\n\n[Network]\n"
        f"Address={address(number)}/{SEGMENT.prefixlen}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n\n"
        f"[Route]\nGateway={SEGMENT[1]}\nMetric=100\n"
    )


def devices(number: int, ssh_port: int, segment_port: int, internet: bool) -> list[str]:
    """Return QEMU's arguments for a machine's network devices."""
    control = (
        f"user,id=control,net={CONTROL_NET},ipv6=off,restrict=on,hostfwd=tcp:127.0.0.1:{ssh_port}-{CONTROL_ADDRESS}:22"
    )
    arguments = [
        "-netdev", control,
        "-device", f"virtio-net-pci,netdev=control,addr={CONTROL_SLOT},mac=52:54:00:77:01:{number:02x},romfile=",
        "-netdev", f"socket,id=segment,mcast={_GROUP}:{segment_port},localaddr=127.0.0.1",
        "-device", f"virtio-net-pci,netdev=segment,addr={SEGMENT_SLOT},mac=52:54:00:77:00:{number:02x},romfile=",
    ]  # fmt: skip
    if internet:
        arguments += [
            "-netdev", f"user,id=internet,net={INTERNET_NET},ipv6=off",
            "-device", f"virtio-net-pci,id={INTERNET_LINK},netdev=internet,addr={INTERNET_SLOT},"
            f"mac=52:54:00:77:02:{number:02x},romfile=",
        ]  # fmt: skip
    return arguments
