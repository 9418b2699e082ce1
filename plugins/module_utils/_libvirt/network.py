# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The virtual machines' network as libvirt describes it: built, brought into one form, and compared.

The address table is the one that condor_vac.worker.network computes on the node; a test holds the two together.
"""

from __future__ import annotations

import ipaddress
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import ModuleError
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import (
    DNS_DOMAIN,
    DNS_LABEL,
    INTERFACE_NAME,
    LIBVIRT_NAME,
    vm_mac,
)

# What clean-traffic has to consist of; no-arp-spoofing has been two filters in some versions.
NO_SPOOFING = ("no-mac-spoofing", "no-ip-spoofing", "no-arp-")


@dataclass(frozen=True)
class Description:
    """What the administrator asks for; `check` holds it against what libvirt and DNS allow."""

    name: str
    bridge: str
    subnet: str
    first_host: int
    last_host: int
    hostname: str
    domain: str
    mode: str
    isolate: bool
    addresses: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises ModuleError naming the option."""
        if not re.fullmatch(LIBVIRT_NAME, self.name):
            raise ModuleError(f"name: {self.name!r}", "use letters, digits, dot, underscore and hyphen")
        if not re.fullmatch(INTERFACE_NAME, self.bridge):
            raise ModuleError(f"bridge: {self.bridge!r}", "use an interface name of at most 15 characters")
        if not re.fullmatch(DNS_DOMAIN, self.domain):
            raise ModuleError(f"domain: {self.domain!r}", "use lower-case labels, like vac.internal")
        if "{number}" not in self.hostname or not re.fullmatch(DNS_LABEL, self.hostname.replace("{number}", "250")):
            raise ModuleError(f"hostname: {self.hostname!r}", "write a host name that has {number} in it")
        if not 2 <= self.first_host <= self.last_host <= 254:
            numbers = f"{self.first_host} to {self.last_host}"
            raise ModuleError(f"first_host, last_host: {numbers}", "2 to 254, the first not above the last")
        for address in self.addresses:
            try:
                ipaddress.IPv4Address(address)
            except ValueError as error:
                raise ModuleError(f"addresses: {error}", "write each like 169.254.169.254") from error
            if ipaddress.IPv4Address(address) in self.network():
                raise ModuleError(f"addresses: {address} is inside the subnet", "leave it out, or use another")
        if len(set(self.addresses)) != len(self.addresses):
            raise ModuleError(f"addresses: {', '.join(self.addresses)}", "name each once")
        self.network()

    def network(self) -> ipaddress.IPv4Network:
        """The subnet. Raises ModuleError unless it is a private IPv4 network with room for the hosts."""
        try:
            network = ipaddress.IPv4Network(self.subnet)
        except ValueError as error:
            raise ModuleError(f"subnet: {error}", "write it like 192.168.86.0/24") from error
        if not 16 <= network.prefixlen <= 24:
            raise ModuleError(f"subnet: {self.subnet} has no room", "use a network from /16 to /24")
        return network

    @property
    def gateway(self) -> str:
        """The host's own address: gateway, DHCP, NFS and HTTP server of its VMs."""
        return str(self.network().network_address + 1)

    def hosts(self) -> list[dict[str, str]]:
        """The attributes of every <host>, in order: MAC from the last two bytes of the address."""
        base = self.network().network_address
        table = []
        for number in range(self.first_host, self.last_host + 1):
            address = base + number
            name = self.hostname.replace("{number}", str(number))
            table.append({"mac": vm_mac(address.packed), "name": name, "ip": str(address)})
        return table

    def xml(self) -> str:
        """The description for libvirt, in `canonical` form."""
        network = self.network()
        root = ET.Element("network")
        ET.SubElement(root, "name").text = self.name
        ET.SubElement(root, "forward", mode=self.mode)
        ET.SubElement(root, "bridge", name=self.bridge, stp="on", delay="0")
        ET.SubElement(root, "domain", name=self.domain, localOnly="yes")
        ET.SubElement(root, "dns", enable="yes")
        if self.isolate:
            ET.SubElement(root, "port", isolated="yes")
        address = ET.SubElement(root, "ip", address=self.gateway, netmask=str(network.netmask))
        dhcp = ET.SubElement(address, "dhcp")
        hosts = self.hosts()
        ET.SubElement(dhcp, "range", start=hosts[0]["ip"], end=hosts[-1]["ip"])
        for host in hosts:
            ET.SubElement(dhcp, "host", host)
        for extra in self.addresses:
            ET.SubElement(root, "ip", address=extra, netmask="255.255.255.255")
        return canonical(ET.tostring(root, encoding="unicode"))


def canonical(xml: str | None) -> str:
    """A description in one form, without what libvirt makes up: UUID, the bridge's MAC, the ports of NAT.

    Raises ModuleError if *xml* cannot be read.
    """
    if not xml:
        return ""
    root = parse(xml)
    root.attrib.pop("connections", None)
    for child in [child for child in root if child.tag in {"uuid", "mac"}]:
        root.remove(child)
    for forward in root.iter("forward"):
        for nat in [nat for nat in forward.findall("nat") if _is_default(nat)]:
            forward.remove(nat)
    return _write(root)


def with_identity(xml: str, existing: str | None) -> str:
    """*xml* with UUID and bridge's MAC of the *existing* network, so that libvirt changes that one."""
    if not existing:
        return xml
    root = parse(xml)
    old = parse(existing)
    for place, tag in enumerate(("uuid", "mac"), start=1):
        found = old.find(tag)
        if found is not None:
            root.insert(place, found)
    return _write(root)


def skeleton(xml: str | None) -> str:
    """What of a network cannot be changed while it runs: everything but DHCP's hosts and ranges."""
    if not xml:
        return ""
    root = parse(canonical(xml))
    for dhcp in root.iter("dhcp"):
        for child in list(dhcp):
            if child.tag in {"host", "range"}:
                dhcp.remove(child)
    return _write(root)


def dhcp_entries(xml: str | None, tag: str) -> dict[str, str]:
    """DHCP's <host> or <range> elements as text, by what libvirt identifies them by."""
    if not xml:
        return {}
    found = {}
    for element in parse(xml).iter(tag):
        key = element.get("mac") or f"{element.get('start')}-{element.get('end')}"
        bare = ET.Element(tag, dict(sorted(element.attrib.items())))
        found[key] = ET.tostring(bare, encoding="unicode")
    return found


def dhcp_changes(live: str | None, wanted: str) -> list[tuple[str, str, str]]:
    """What net-update has to do to the DHCP entries of a running network, as (verb, section, entry).

    Deletions come first, since addresses are unique.
    """
    changes: list[tuple[str, str, str]] = []
    for tag in ("range", "host"):
        have, want = dhcp_entries(live, tag), dhcp_entries(wanted, tag)
        gone = [have[key] for key in have if have[key] != want.get(key)]
        new = [want[key] for key in want if have.get(key) != want[key]]
        for verb, entries in (("delete", gone), ("add-last", new)):
            changes += [(verb, f"ip-dhcp-{tag}", entry) for entry in entries]
    return changes


def spoofing_allowed(xml: str) -> list[str]:
    """The filters against spoofing (beginnings of their names) to which a packet filter does not refer."""
    references = [reference.get("filter", "") for reference in parse(xml).iter("filterref")]
    return [part for part in NO_SPOOFING if not any(name.startswith(part) for name in references)]


def bridge_of(xml: str | None) -> str:
    """The name of a network's bridge; empty if it has none."""
    bridge = parse(xml).find("bridge") if xml else None
    return "" if bridge is None else bridge.get("name", "")


def parse(xml: str) -> ET.Element:
    """Raises ModuleError for what is no XML."""
    try:
        return ET.fromstring(xml)  # noqa: S314 - it comes from root's own libvirt
    except ET.ParseError as error:
        raise ModuleError(f"no XML from libvirt: {error}", "see virsh net-dumpxml") from error


def _is_default(nat: ET.Element) -> bool:
    ports = [child.attrib for child in nat]
    return not nat.attrib and ports == [{"start": "1024", "end": "65535"}]


def _write(root: ET.Element) -> str:
    for element in root.iter():
        element.attrib = dict(sorted(element.attrib.items()))
        element.text = (element.text or "").strip() or None
        element.tail = None
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
