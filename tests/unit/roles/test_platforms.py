# SPDX-License-Identifier: GPL-3.0-or-later
"""Package and service names that the worker role resolves to, from the facts of each platform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import template
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLES = Path(__file__).resolve().parents[3] / "roles"


def facts(distribution: str, version: str, family: str, selinux: Any = None) -> dict[str, Any]:
    """What Ansible's setup module says of a platform, as far as the role looks at it."""
    return {
        "distribution": distribution,
        "distribution_version": version,
        "distribution_major_version": version.partition(".")[0],
        "os_family": family,
        "selinux": selinux or {"status": "disabled"},
    }


ENFORCING = {"status": "enabled", "mode": "enforcing", "config_mode": "enforcing", "policyvers": 33, "type": "targeted"}
PLATFORMS = {
    "debian12": facts("Debian", "12.12", "Debian"),
    "debian13": facts("Debian", "13.1", "Debian", {"status": "Missing selinux Python library"}),
    "ubuntu24.04": facts("Ubuntu", "24.04", "Debian"),
    "ubuntu26.04": facts("Ubuntu", "26.04", "Debian"),
    "rhel9": facts("RedHat", "9.6", "RedHat", ENFORCING),
    "alma9": facts("AlmaLinux", "9.6", "RedHat", ENFORCING),
    "rocky10": facts("Rocky", "10.0", "RedHat", ENFORCING),
    "centos10": facts("CentOS", "10", "RedHat"),
}
DEBIAN = [
    *("condor", "condor-vm-gahp", "dnsmasq-base", "ebtables", "iptables", "libvirt-clients"),
    *("libvirt-daemon-system", "nfs-kernel-server", "openssl", "python3-cryptography", "qemu-system-x86", "qemu-utils"),
    *("rpcbind", "sudo", "xorriso"),
]
ENTERPRISE = [
    *("condor", "condor-vm-gahp", "dnsmasq", "iptables-nft", "libvirt-client", "libvirt-daemon-kvm", "nfs-utils"),
    *("openssl", "policycoreutils-python-utils", "python3-condor", "python3-cryptography", "python3-libselinux"),
    *("qemu-img", "qemu-kvm", "rpcbind", "sudo", "xorriso"),
]


def resolve(platform: str, expression: str, **variables: Any) -> Any:
    """*expression* as the role's tasks see it on a platform."""
    known: dict[str, Any] = {}
    for name in ("defaults", "vars"):
        known.update(yaml.safe_load((ROLES / "worker" / name / "main.yml").read_text()))
    known.update(ansible_facts=PLATFORMS[platform], **variables)
    return Templar(loader=DataLoader(), variables=trusted(known)).template(trusted(expression))


def trusted(value: Any) -> Any:
    """Mark templates as written by us, which ansible-core from 2.19 on asks for."""
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    mark = getattr(template, "trust_as_template", None)
    return mark(value) if mark and isinstance(value, str) else value


@pytest.mark.parametrize("platform", PLATFORMS)
def test_names_on_each_platform(platform: str) -> None:
    enterprise = PLATFORMS[platform]["os_family"] == "RedHat"
    assert sorted(resolve(platform, "{{ worker_os_packages[worker_os_family] }}")) == (
        ENTERPRISE if enterprise else DEBIAN
    )
    assert resolve(platform, "{{ worker_os_http_packages[worker_os_family] }}") == ["nginx"]
    service = "virtqemud.service" if enterprise else "libvirtd.service"
    assert resolve(platform, "{{ worker_os_libvirt_service[worker_os_family] }}") == service
    sockets = ["virtnetworkd.socket", "virtnwfilterd.socket"] if enterprise else []
    assert resolve(platform, "{{ worker_os_libvirt_sockets[worker_os_family] }}") == sockets


@pytest.mark.parametrize(
    ("platform", "on"), [("rhel9", True), ("rocky10", True), ("centos10", False), ("debian13", False)]
)
def test_selinux_is_cared_for_where_it_is_on(platform: str, on: bool) -> None:
    assert bool(resolve(platform, "{{ worker_selinux }}")) is on


@pytest.mark.parametrize("nfs", [True, False])
def test_booleans(nfs: bool) -> None:
    wanted = ["nfs_export_all_rw", *(["virt_use_nfs"] if nfs else [])]
    assert resolve("rhel9", "{{ worker_selinux_booleans }}", worker_images_on_nfs=nfs) == wanted


def test_every_platform_is_in_the_documentation() -> None:
    text = (ROLES.parent / "docs" / "platforms.md").read_text()
    for name in ("Debian 12", "Debian 13", "Ubuntu 24.04", "Ubuntu 26.04", "Enterprise Linux 9", "Enterprise Linux 10"):
        assert f"| {name} " in text


def test_no_role_turns_a_mandatory_access_control_off() -> None:
    for path in ROLES.rglob("*.yml"):
        for task in yaml.safe_load(path.read_text()) or [] if path.parent.name == "tasks" else []:
            words = str(task).lower()
            for tool in ("setenforce", "aa-disable", "aa-complain", "aa-teardown", "--remove", "apparmor.service"):
                assert tool not in words


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, ()),
        ({"worker_network": "vac net"}, ("worker_network: 'vac net'", "use letters")),
        ({"worker_bridge": "vacuum-bridge-0001"}, ("worker_bridge", "15 characters")),
        ({"worker_subnet": "192.168.300.0/24"}, ("worker_subnet", "write it like 192.168.86.0/24")),
        ({"worker_subnet": "192.168.86.0/28"}, ("worker_subnet", "not an IPv4 /24")),
        ({"worker_domain": "Vac_Internal"}, ("worker_domain", "lower-case")),
        ({"worker_status_interval": 5}, ("worker_status_interval: 5", "set it to 30")),
        ({"worker_watch_interval": 90}, ("worker_watch_interval: 90",)),
        ({"worker_owners": []}, ("worker_owners", "for instance [vac]")),
        ({"worker_owners": ["ALL, root"]}, ("worker_owners",)),
        (
            {"worker_images": {"x": {"source": "/nowhere/cernvm.iso"}}},
            ("/nowhere/cernvm.iso", "correct the machinetype"),
        ),
        ({"worker_images": {"x": {"source": "https://example.org/cernvm.iso"}}}, ()),
    ],
)
def test_values_that_no_worker_node_can_have(variables: dict[str, Any], words: tuple[str, ...]) -> None:
    said = resolve("debian13", "{{ worker_refusals }}", **variables)
    assert len(said) == (1 if words else 0), said
    for word in words:
        assert word in said[0]
