# SPDX-License-Identifier: GPL-3.0-or-later
"""What the worker role resolves to from the facts of each platform, beside the guide's text about it."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import template
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLES = Path(__file__).resolve().parents[3] / "roles"


def facts(distribution: str, version: str, family: str, selinux: Any = None) -> dict[str, Any]:
    """The facts of a platform from Ansible's setup module, as far as the role reads them."""
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


def resolve(platform: str, expression: str, **variables: Any) -> Any:
    """*expression* as the role's tasks see it on a platform."""
    known: dict[str, Any] = {}
    for name in ("defaults", "vars"):
        known.update(yaml.safe_load((ROLES / "worker" / name / "main.yml").read_text()))
    # As the role's first task does.
    if PLATFORMS[platform]["os_family"] in known["worker_os_families"]:
        known.update(yaml.safe_load((ROLES / "worker/vars" / f"{PLATFORMS[platform]['os_family']}.yml").read_text()))
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


def table(page: str, first: str) -> list[list[str]]:
    """The rows of the guide's table whose first column has this head."""
    lines = (ROLES.parent / "docs" / page).read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows]


def documented_packages(enterprise: bool) -> set[str]:
    """The packages that docs/dependencies.md gives a reason for; of two lists the second is Enterprise Linux's."""
    cells = [row[0].split(" / ")[-1 if enterprise else 0] for row in table("dependencies.md", PACKAGES)]
    return {name for cell in cells for name in cell.split(", ")} - {"none"}


PACKAGES = "package (Debian / Enterprise Linux)"
# The rows of docs/platforms.md that have a supported platform.
ROWS = {
    "debian12": "Debian 12 (bookworm)", "debian13": "Debian 13 (trixie)", "ubuntu24.04": "Ubuntu 24.04 (noble)",
    "ubuntu26.04": "Ubuntu 26.04 (resolute)", "rhel9": "Enterprise Linux 9", "alma9": "Enterprise Linux 9",
    "rocky10": "Enterprise Linux 10", "centos10": "Enterprise Linux 10",
}  # fmt: skip


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_package_has_its_reason_in_the_guide_and_none_is_missing(platform: str) -> None:
    """Whether Debian has them is asked of its own lists (tests/integration/test_packages.py)."""
    packages = resolve(platform, "{{ worker_all_packages }}", worker_sharing=["nfs", "http"])
    assert len(set(packages)) == len(packages)
    assert set(packages) == documented_packages(PLATFORMS[platform]["os_family"] == "RedHat")
    without = resolve(platform, "{{ worker_all_packages }}", worker_sharing=["nfs"])
    assert set(packages) - set(without) == {"nginx"}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_sites_own_list_replaces_all_but_the_web_server(platform: str) -> None:
    own = resolve(platform, "{{ worker_all_packages }}", worker_packages=["mine"], worker_sharing=["nfs", "http"])
    assert own == ["mine", "nginx"]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_libvirts_units_are_those_of_the_guide(platform: str) -> None:
    (row,) = [row for row in table("platforms.md", "platform") if row[0] == ROWS[platform]]
    service, *daemons = re.findall(r"`([^`]+)`", row[2])
    assert resolve(platform, "{{ worker_os_libvirt_service }}") == service
    sockets = resolve(platform, "{{ worker_os_libvirt_sockets }}")
    assert sockets == [f"{daemon}.socket" for daemon in daemons]


def test_an_unknown_platform_is_refused_unless_the_site_names_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLATFORMS, "suse", facts("SLES", "15.6", "Suse"))
    (printed,) = resolve("suse", "{{ worker_refusals }}")
    assert resolve("suse", "{{ worker_os_libvirt_service }}") == "libvirtd.service"
    assert printed.startswith("worker_packages: Suse is not a platform that this role knows")
    assert resolve("suse", "{{ worker_refusals }}", worker_packages=["mine"]) == []


@pytest.mark.parametrize(
    ("platform", "on"), [("rhel9", True), ("rocky10", True), ("centos10", False), ("debian13", False)]
)
def test_selinux_is_cared_for_where_it_is_on(platform: str, on: bool) -> None:
    assert bool(resolve(platform, "{{ worker_selinux }}")) is on


@pytest.mark.parametrize("nfs", [True, False, "true", "false"])
def test_booleans(nfs: object) -> None:
    wanted = ["nfs_export_all_rw", *(["virt_use_nfs"] if nfs in {True, "true"} else [])]
    assert resolve("rhel9", "{{ worker_selinux_booleans }}", worker_images_on_nfs=nfs) == wanted


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
        ({"worker_backfill_notice": -1}, ("worker_backfill_notice: -1", "604800")),
        ({"worker_backfill_notice": 604801}, ("worker_backfill_notice",)),
        ({"worker_backfill_notice": 0}, ()),
        ({"worker_owners": []}, ("worker_owners", "for instance [vac]")),
        ({"worker_owners": ["ALL, root"]}, ("worker_owners",)),
        ({"worker_owners": ["vac", "a@b"]}, ("worker_owners", "without @DOMAIN")),
        ({"worker_owners": ["ALL"]}, ("worker_owners",)),
        ({"worker_owners": ["vac", "a.B+c-1"]}, ()),
        (
            {"worker_images": {"x": {"source": "/nowhere/cernvm.iso"}}},
            ("/nowhere/cernvm.iso", "correct the machinetype"),
        ),
        # Found relative to the inventory, by the module that sends it.
        ({"worker_images": {"x": {"source": "images/cernvm.iso"}}}, ()),
        ({"worker_status_interval": "45", "worker_watch_interval": "5"}, ()),
        ({"worker_watch_interval": "4"}, ("worker_watch_interval: 4",)),
        ({"worker_images": {"x": {"source": "https://example.org/cernvm.iso"}}}, ()),
    ],
)
def test_values_that_no_worker_node_can_have(variables: dict[str, Any], words: tuple[str, ...]) -> None:
    printed = resolve("debian13", "{{ worker_refusals }}", **variables)
    assert len(printed) == (1 if words else 0), printed
    for word in words:
        assert word in printed[0]
