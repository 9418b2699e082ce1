# SPDX-License-Identifier: GPL-3.0-or-later
"""The VMs' network: libvirt's NAT network, its addresses and filter, and the kernel's forwarding."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator

from condor_vac.base import tools
from condor_vac.base.errors import VacError
from condor_vac.base.findings import Finding
from condor_vac.base.shared import sysctl_path
from condor_vac.worker import network as addresses
from condor_vac.worker.checks.host import parse
from condor_vac.worker.checks.node import CONVERGE, TIMEOUT_SECONDS, Check, Node

FORWARDING = "net/ipv4/ip_forward"
# The kernel's second switch for the same thing.
_ALIASES = (FORWARDING, "net/ipv4/conf/all/forwarding")
_SYSCTL = "/usr/lib/systemd/systemd-sysctl"


def libvirt_network(node: Node) -> list[Finding]:
    """The network is there, runs, starts by itself, and hands out the addresses that leases grant."""
    name = node.settings.network
    if name not in node.virsh("net-list", "--all", "--name").split():
        return [Finding(f"libvirt has no network {name}", CONVERGE)]
    info = dict(re.findall(r"^(\w+):\s+(\S+)$", node.virsh("net-info", name), re.MULTILINE))
    found = []
    if info.get("Active") != "yes":
        found.append(Finding(f"network {name} does not run", f"virsh net-start {name}"))
    if info.get("Autostart") != "yes":
        found.append(Finding(f"network {name} does not start by itself", f"virsh net-autostart {name}"))
    if info.get("Bridge") != node.settings.bridge:
        found.append(
            Finding(f"network {name} has the bridge {info.get('Bridge')}, not {node.settings.bridge}", CONVERGE)
        )
    return found + _description(node, name)


def _description(node: Node, name: str) -> list[Finding]:
    """The network's addresses against those that the node's settings stand for."""
    root = parse(node.virsh("net-dumpxml", name))
    subnet = node.settings.subnet
    ip = root.find("ip")
    have = ip.get("address") if ip is not None else None
    if have != addresses.gateway(subnet):
        what = f"network {name} has the address {have}, and the leases are of {subnet}"
        return [Finding(what, f"make both the same: {CONVERGE}")]
    table = {(host.mac, host.address) for host in addresses.table(subnet, node.settings.hostname_domain)}
    entries = {(str(item.get("mac")).lower(), str(item.get("ip"))) for item in root.iter("host")}
    missing = len(table - entries)
    if missing:
        return [Finding(f"network {name} lacks {missing} of {len(table)} DHCP entries of leases", CONVERGE)]
    return []


def bridge(node: Node) -> list[Finding]:
    """The bridge is up with the node's own address on it."""
    name, gateway = node.settings.bridge, addresses.gateway(node.settings.subnet)
    output = tools.run(["ip", "-json", "address", "show"], timeout=TIMEOUT_SECONDS)
    try:
        links = {str(link["ifname"]): link for link in json.loads(output or "[]")}
        mine = [entry.get("local") for entry in links.get(name, {}).get("addr_info", [])]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise VacError(f"ip address show: not understood: {error}") from error
    if gateway not in mine:
        what = f"bridge {name} has no address {gateway}" if name in links else f"there is no bridge {name}"
        return [Finding(what, f"start its network: virsh net-start {node.settings.network}")]
    return []


def packet_filter(node: Node) -> list[Finding]:
    """The filter that keeps a VM from using another's address is known to libvirt."""
    name = node.settings.filter
    try:
        node.virsh("nwfilter-dumpxml", name)
    except tools.ToolError as error:
        remedy = "install libvirt's nwfilter driver and its filters (Debian: libvirt-daemon-system)"
        return [Finding(f"libvirt has no packet filter {name}: {error}", remedy)]
    return []


def forwarding_now(node: Node) -> list[Finding]:
    """The kernel forwards IPv4."""
    value = node.text(f"/proc/sys/{FORWARDING}").strip()
    return [] if value == "1" else [Finding(f"net.ipv4.ip_forward is {value or 'not there'}", CONVERGE)]


def forwarding_at_boot(node: Node) -> list[Finding]:
    """A boot turns forwarding on: the last file that sets it has 1.

    systemd itself lists the files in the order in which they count (sysctl.d(5)).
    """
    text = tools.run([node.path(_SYSCTL), "--cat-config"], timeout=TIMEOUT_SECONDS)
    last: dict[str, tuple[str, str]] = {}
    globs: dict[str, tuple[str, str]] = {}
    for path, key, value in assignments(text):
        for alias in _ALIASES:
            if key == alias:
                last[alias] = (path, value)
            elif fnmatch.fnmatchcase(alias, key) and key.count("/") == alias.count("/"):
                globs[alias] = (path, value)
    counting = {**globs, **last}
    found = [
        Finding(f"{path} turns net.ipv4.ip_forward off at boot ({key} = {value})", f"{CONVERGE}, or remove that line")
        for key, (path, value) in counting.items()
        if not re.match(r"[1-9]", value)
    ]
    if not found and FORWARDING not in counting:
        found.append(Finding("no sysctl.d file turns net.ipv4.ip_forward on at boot", CONVERGE))
    return found


def assignments(text: str) -> Iterator[tuple[str, str, str]]:
    """(file, key as a path, value) of each line in what ``systemd-sysctl --cat-config`` printed."""
    path = "?"
    for raw in text.splitlines():
        line = raw.strip()
        header = re.fullmatch(r"# (/\S+)", line)
        if header:
            path = header.group(1)
        elif line and line[0] not in "#;" and "=" in line:
            name, _equals, value = line.lstrip("-").partition("=")
            yield path, sysctl_path(name.strip()), value.strip()


CHECKS = (
    Check("network", "VMs' network", libvirt_network),
    Check("network", "bridge", bridge),
    Check("network", "packet filter", packet_filter),
    Check("ip_forward", "now", forwarding_now),
    Check("ip_forward", "after a reboot", forwarding_at_boot),
)
