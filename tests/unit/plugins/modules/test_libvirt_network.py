# SPDX-License-Identifier: GPL-3.0-or-later
"""The VMs' network against a libvirt that answers as libvirt 11.3.0 (Debian 13) was recorded to."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._libvirt import network as vm_network
from ansible_collections.vacuum.htcondor.plugins.modules import libvirt_network

from condor_vac.worker import network
from tests.unit.plugins.harness import Answer, Plugin, Tools, four_calls, run

UUID = "  <uuid>840d05ce-9518-497a-90be-4d3d81757abf</uuid>\n"
MAC = "  <mac address='52:54:00:32:10:22'/>\n"
NAT = "<forward mode='nat'>\n    <nat>\n      <port start='1024' end='65535'/>\n    </nat>\n  </forward>"
FILTER = """<filter name='clean-traffic' chain='root'>
  <uuid>a5ef67a0-7941-4fa4-a397-17b749738bf1</uuid>
  <filterref filter='no-mac-spoofing'/>
  <filterref filter='no-ip-spoofing'/>
  <rule action='accept' direction='out' priority='-650'>
    <mac protocolid='ipv4'/>
  </rule>
  <filterref filter='allow-incoming-ipv4'/>
  <filterref filter='no-arp-spoofing'/>
</filter>
"""
NO_FILTER = "error: failed to get nwfilter 'x'\nerror: Network filter not found: no nwfilter with matching name 'x'\n"
REFUSED = (
    "error: failed to connect to the hypervisor\n"
    "error: Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory\n"
)


def as_libvirt_writes(xml: str) -> str:
    """Libvirt's own spelling: single quotes, a UUID, a MAC for the bridge."""
    root = ET.fromstring(xml)
    for tag in ("uuid", "mac"):
        for element in root.findall(tag):
            root.remove(element)
    text = ET.tostring(root, encoding="unicode").replace('"', "'").replace(" />", "/>")
    return text.replace("</name>\n", "</name>\n" + UUID, 1).replace("  <domain", MAC + "  <domain", 1)


class Libvirt:
    """What net-define, net-start and the others do to the two descriptions of one network."""

    def __init__(self, root: Path) -> None:
        self.plugin = Plugin(libvirt_network, root=str(root))
        self.configured = ""
        self.live = ""
        self.autostart = False
        self.filter = FILTER
        self.ports: list[str] = []

    def __call__(self, argv: list[str], stdin: str | None) -> Answer:
        assert argv[1:3] == ["--quiet", "--connect"]
        uri, words = argv[3], argv[4:]
        if uri == "test:///default":
            assert stdin is not None
            return 0, "Network vac defined from /dev/stdin\n\n" + as_libvirt_writes(stdin), ""
        verb = words[0].replace("-", "_")
        options = {"stdin": stdin} if stdin else {}
        answer: Answer = getattr(self, verb)(*words[1:], **options)
        return answer

    def net_list(self, *_words: str) -> Answer:
        return 0, "default\n" + ("vac\n" if self.configured or self.live else "") + "\n", ""

    def net_info(self, name: str) -> Answer:
        flags = {"Active": self.live, "Persistent": self.configured, "Autostart": self.autostart}
        lines = [f"{key + ':':16}{'yes' if value else 'no'}\n" for key, value in flags.items()]
        head = f"Name:           {name}\nUUID:           840d05ce-9518-497a-90be-4d3d81757abf\n"
        return 0, f"{head}{''.join(lines)}Bridge:         vac0\n\n", ""

    def net_dumpxml(self, _name: str, *inactive: str) -> Answer:
        return 0, self.configured if inactive else self.live, ""

    def net_define(self, _path: str, stdin: str) -> Answer:
        # A network that exists is changed only if its UUID is given.
        assert not self.configured or UUID.strip() in stdin
        self.configured = as_libvirt_writes(stdin)
        return 0, "Network vac defined from /dev/stdin\n", ""

    def net_undefine(self, _name: str) -> Answer:
        self.configured, self.autostart = "", False
        return 0, "", ""

    def net_start(self, _name: str) -> Answer:
        self.live = self.configured.replace("<forward mode='nat'/>", NAT)
        return 0, "Network vac started\n", ""

    def net_destroy(self, _name: str) -> Answer:
        self.live = ""
        return 0, "Network vac destroyed\n", ""

    def net_autostart(self, _name: str, *disable: str) -> Answer:
        self.autostart = not disable
        return 0, "", ""

    def net_port_list(self, _name: str) -> Answer:
        return 0, "".join(f" {port}\n" for port in self.ports), ""

    def net_update(self, _name: str, verb: str, section: str, xml: str, scope: str) -> Answer:
        assert scope == "--live"
        root, entry = ET.fromstring(self.live), ET.fromstring(xml)
        dhcp = root.find("ip/dhcp")
        assert dhcp is not None
        assert section == f"ip-dhcp-{entry.tag}"
        key = "mac" if entry.tag == "host" else "start"
        same = [child for child in dhcp.findall(entry.tag) if child.get(key) == entry.get(key)]
        if verb == "add-last":
            assert not same
            dhcp.append(entry)
        else:
            assert len(same) == 1
        if verb == "delete":
            dhcp.remove(same[0])
        self.live = ET.tostring(root, encoding="unicode")
        return 0, "Updated network vac live state\n", ""

    def nwfilter_dumpxml(self, _name: str) -> Answer:
        return (0, self.filter, "") if self.filter else (1, "", NO_FILTER)


@pytest.fixture
def libvirt(tmp_path: Path) -> Libvirt:
    return Libvirt(tmp_path)


def attach(tmp_path: Path, *names: str, bridge: str = "vac0") -> None:
    for name in names:
        (tmp_path / "sys/class/net" / bridge / "brif" / name).mkdir(parents=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["192.168.86.1", "192.168.86.10", "52:54:00:76:56:0a", "vm-10", 241]),
        (
            {"subnet": "10.4.0.0/16", "first_host": 20},
            ["10.4.0.1", "10.4.0.20", "52:54:00:76:00:14", "vm-20", 231],
        ),
        (
            {"subnet": "172.16.255.0/24", "first_host": 200, "last_host": 200, "hostname": "w3-{number}-x"},
            ["172.16.255.1", "172.16.255.200", "52:54:00:76:ff:c8", "w3-200-x", 1],
        ),
    ],
)
def test_check_apply_check_apply(libvirt: Libvirt, options: dict[str, Any], expected: list[Any]) -> None:
    results = four_calls(libvirt.plugin, options, Tools(libvirt))
    assert [result["actions"] for result in results] == [["define", "start", "autostart"]] * 2 + [[]] * 2
    root = ET.fromstring(libvirt.live)
    hosts = list(root.iter("host"))
    address = root.find("ip")
    assert address is not None
    found = [address.get("address"), *(hosts[0].get(key) for key in ("ip", "mac", "name")), len(hosts)]
    assert found == expected
    assert results[1]["network"]["hosts"] == expected[-1]


def test_check_mode_changes_nothing(libvirt: Libvirt) -> None:
    tools = Tools(libvirt)
    run(libvirt.plugin, {}, check=True, tools=tools)
    assert (libvirt.configured, libvirt.live, libvirt.autostart) == ("", "", False)


def test_the_address_table_is_the_one_of_the_leases() -> None:
    for subnet in ("192.168.86.0/24", "10.9.0.0/20"):
        hosts = (10, 250, "vm-{number}", "vac.internal")
        wanted = vm_network.Description("v", "v0", subnet, *hosts, "nat", True)
        theirs = [(host.mac, host.hostname, host.address) for host in network.table(subnet, "vac.internal")]
        mine = [(host["mac"], f"{host['name']}.vac.internal", host["ip"]) for host in wanted.hosts()]
        assert mine == theirs
        assert wanted.gateway == network.gateway(subnet)


@pytest.mark.parametrize("drift", ["stopped", "undefined", "no autostart"])
def test_drift_is_repaired(libvirt: Libvirt, drift: str) -> None:
    run(libvirt.plugin, {}, tools=Tools(libvirt))
    good = libvirt.configured
    if drift == "stopped":
        libvirt.live = ""
    elif drift == "undefined":
        libvirt.configured = ""
    else:
        libvirt.autostart = False
    four_calls(libvirt.plugin, {}, Tools(libvirt))
    assert libvirt.configured == good
    assert libvirt.live
    assert libvirt.autostart


@pytest.mark.parametrize("change", [{"domain": "example.org"}, {"isolate": False}, {"subnet": "10.0.0.0/24"}])
def test_a_restart_is_refused_while_machines_are_attached(
    libvirt: Libvirt, tmp_path: Path, change: dict[str, Any]
) -> None:
    run(libvirt.plugin, {}, tools=Tools(libvirt))
    before = (libvirt.configured, libvirt.live)
    attach(tmp_path, "vnet3", "vnet11", "vac0-nic")
    result = run(libvirt.plugin, change, tools=Tools(libvirt))
    assert result["failed"]
    assert "vnet11, vnet3" in result["msg"]
    assert "force" in result["remedy"]
    assert result["attached"] == ["vnet11", "vnet3"]
    assert (libvirt.configured, libvirt.live) == before
    forced = four_calls(libvirt.plugin, {**change, "force": True}, Tools(libvirt))
    assert forced[1]["actions"] == ["define", "stop", "start"]


def test_a_port_that_only_libvirt_sees_counts_as_attached(libvirt: Libvirt) -> None:
    run(libvirt.plugin, {}, tools=Tools(libvirt))
    libvirt.ports = ["1bfb5b38-3b5f-4e4c-a8f2-0d0c7a1fd3a7"]
    result = run(libvirt.plugin, {"state": "absent"}, tools=Tools(libvirt))
    assert result["failed"]
    assert libvirt.ports[0] in result["msg"]


def test_dhcp_entries_change_while_machines_run(libvirt: Libvirt, tmp_path: Path) -> None:
    run(libvirt.plugin, {}, tools=Tools(libvirt))
    attach(tmp_path, "vnet0")
    results = four_calls(libvirt.plugin, {"first_host": 12}, Tools(libvirt))
    verbs = [action.split()[0] for action in results[0]["actions"]]
    assert verbs == ["define", "delete", "add-last", "delete", "delete"]
    entries = vm_network.dhcp_entries(libvirt.live, "host")
    assert min(entries) == "52:54:00:76:56:0c"
    assert len(entries) == 239


def test_many_entries_change_by_a_restart_when_nothing_is_attached(libvirt: Libvirt) -> None:
    run(libvirt.plugin, {}, tools=Tools(libvirt))
    result = run(libvirt.plugin, {"hostname": "x{number}"}, tools=Tools(libvirt))
    assert result["actions"] == ["define", "stop", "start"]


def test_an_entry_removed_from_the_running_network_comes_back(libvirt: Libvirt) -> None:
    run(libvirt.plugin, {}, tools=Tools(libvirt))
    libvirt.live = re.sub(r"<host [^>]*vm-77'[^>]*/>", "", libvirt.live)
    results = four_calls(libvirt.plugin, {}, Tools(libvirt))
    assert [action.split()[0] for action in results[1]["actions"]] == ["add-last"]
    assert "vm-77" in libvirt.live
    assert results[1]["diff"][-1]["before_header"] == "network vac, as it runs"


def test_a_dead_dhcp_server_is_started_without_a_restart(libvirt: Libvirt, tmp_path: Path) -> None:
    run(libvirt.plugin, {}, tools=Tools(libvirt))
    for folder, name, text in (
        ("run/libvirt/network", "vac.pid", "4711\n"),
        ("proc/4711", "cmdline", "dnsmasq\0--conf"),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    assert not run(libvirt.plugin, {}, tools=Tools(libvirt))["changed"]
    (tmp_path / "proc/4711/cmdline").write_text("/bin/sleep\x001")
    tools = Tools(libvirt)
    assert run(libvirt.plugin, {}, tools=tools)["actions"] == ["start the DHCP server"]
    assert [call[4:8] for call in tools.calls if call[4] == "net-update"] == [
        ["net-update", "vac", "modify", "ip-dhcp-host"]
    ]


def test_absent(libvirt: Libvirt, tmp_path: Path) -> None:
    run(libvirt.plugin, {}, tools=Tools(libvirt))
    attach(tmp_path, "vnet0")
    assert run(libvirt.plugin, {"state": "absent"}, tools=Tools(libvirt))["failed"]
    assert libvirt.live
    results = four_calls(libvirt.plugin, {"state": "absent", "force": True}, Tools(libvirt))
    assert results[1]["actions"] == ["stop", "undefine"]
    assert (libvirt.configured, libvirt.live) == ("", "")


def test_a_missing_filter_stops_before_anything_changes(libvirt: Libvirt) -> None:
    libvirt.filter = ""
    result = run(libvirt.plugin, {}, tools=Tools(libvirt))
    assert result["failed"]
    assert "clean-traffic" in result["msg"]
    assert "libvirt-daemon-config-nwfilter" in result["remedy"]
    assert libvirt.configured == ""
    assert run(libvirt.plugin, {"filter": ""}, tools=Tools(libvirt))["changed"]


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"subnet": "192.168.86.7/24"}, "subnet"),
        ({"subnet": "192.168.86.0/25"}, "subnet"),
        ({"subnet": "fd00::/64"}, "subnet"),
        ({"first_host": 1}, "first_host"),
        ({"first_host": 30, "last_host": 20}, "first_host"),
        ({"bridge": "a-bridge-name-too-long"}, "bridge"),
        ({"name": "vac; net-destroy vac"}, "name"),
        ({"domain": "Vac.internal"}, "domain"),
        ({"domain": "'/><x"}, "domain"),
        ({"hostname": "vm"}, "hostname"),
        ({"hostname": "vm_{number}"}, "hostname"),
    ],
)
def test_bad_options_are_named_before_libvirt_is_asked(options: dict[str, Any], key: str) -> None:
    result = run(libvirt_network, options)
    assert result["failed"]
    assert result["msg"].startswith(key)
    assert result["remedy"]


def test_a_libvirt_that_does_not_answer(libvirt: Libvirt) -> None:
    result = run(libvirt.plugin, {}, tools=Tools(lambda _argv, _stdin: (1, "", REFUSED)))
    assert result["failed"]
    assert "Failed to connect socket" in result["msg"]
    assert "start libvirt" in result["remedy"]


def test_virsh_is_missing(libvirt: Libvirt) -> None:
    result = run(libvirt.plugin, {}, tools=Tools(libvirt, missing=["virsh"]))
    assert result["failed"]
    assert "libvirt-clients" in result["remedy"]


def test_further_addresses_of_the_host_stand_alone_and_without_dhcp(libvirt: Libvirt) -> None:
    options = {"addresses": ["169.254.169.254", "169.254.169.253"]}
    found = [run(libvirt.plugin, options, tools=Tools(libvirt)) for _ in range(2)]
    assert [result["changed"] for result in found] == [True, False]
    ips = ET.fromstring(libvirt.live).findall("ip")
    assert [ip.get("address") for ip in ips] == ["192.168.86.1", "169.254.169.254", "169.254.169.253"]
    assert [ip.get("netmask") for ip in ips[1:]] == ["255.255.255.255"] * 2
    assert [ip.find("dhcp") is not None for ip in ips] == [True, False, False]


@pytest.mark.parametrize(
    ("addresses", "message"),
    [
        (["169.254.169"], "addresses:"),
        (["192.168.86.7"], "is inside the subnet"),
        (["169.254.1.1", "169.254.1.1"], "name each once"),
    ],
)
def test_addresses_that_cannot_be_are_refused(libvirt: Libvirt, addresses: list[str], message: str) -> None:
    result = run(libvirt.plugin, {"addresses": addresses}, tools=Tools(libvirt))
    assert message in result["msg"]
    assert not libvirt.configured
