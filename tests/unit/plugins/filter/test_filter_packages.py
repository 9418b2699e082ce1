# SPDX-License-Identifier: GPL-3.0-or-later
"""A package that no repository has: one line with the repository to add, by distribution and version."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.filter.packages import package_failure

APT = {"msg": "No package matching 'condor' is available", "failed": True}
DNF = {
    "msg": "Failed to install some of the specified packages",
    "failures": ["No package condor available.", "No package condor-vm-gahp available."],
}


def facts(distribution: str, version: str, family: str) -> dict[str, Any]:
    return {
        "distribution": distribution,
        "distribution_version": version,
        "distribution_major_version": version.partition(".")[0],
        "os_family": family,
    }


@pytest.mark.parametrize(
    ("failed", "machine", "begin", "remedy"),
    [
        (APT, facts("Debian", "12.12", "Debian"), "condor: in no", "repo/debian/htcondor-25.x-bookworm.list into"),
        (APT, facts("Debian", "12.12", "Debian"), "condor: in no", "HTCondor-25.x-Key into /etc/apt/keyrings"),
        (APT, facts("Debian", "13.1", "Debian"), "condor: in no", "component main of Debian's own archive"),
        (APT, facts("Ubuntu", "24.04", "Debian"), "condor: in no", "add-apt-repository universe"),
        (DNF, facts("AlmaLinux", "9.6", "RedHat"), "condor, condor-vm-gahp:", "htcondor-release-current.el9.noarch"),
        (DNF, facts("Rocky", "10.0", "RedHat"), "condor, condor-vm-gahp:", "htcondor-release-current.el10.noarch"),
        (DNF, facts("RedHat", "9.6", "RedHat"), "condor, condor-vm-gahp:", "enable crb and EPEL and run dnf install"),
        ({"msg": "E: Unable to locate package python3-condor"}, facts("Devuan", "5", "Debian"), "python3-c", "readthe"),
        ({"msg": "x", "failures": ["No match for argument: condor"]}, facts("SLES", "15.6", "Suse"), "condor:", "read"),
    ],
)
def test_the_repository_of_htcondor_is_named(
    failed: dict[str, Any], machine: dict[str, Any], begin: str, remedy: str
) -> None:
    line = package_failure(failed, machine, "pool_packages")
    assert line.startswith(begin)
    assert f"({machine['distribution']} {machine['distribution_version']})" in line
    assert remedy in line
    assert line.endswith(", or set pool_packages")
    assert "\n" not in line


@pytest.mark.parametrize("name", ["nginx", "libcondorapi", "condors"])
def test_another_package_is_named_without_htcondors_repository(name: str) -> None:
    failed = {"msg": f"No package matching '{name}' is available"}
    line = package_failure(failed, facts("Debian", "12.12", "Debian"), "worker_packages")
    assert line == (
        f"{name}: in no package repository of this machine (Debian 12.12); add the repository that has it, "
        "or set worker_packages"
    )


@pytest.mark.parametrize(
    ("failed", "line"),
    [
        ({"msg": "Could not get lock\n/var/lib/dpkg/lock"}, "Could not get lock /var/lib/dpkg/lock"),
        ({"msg": "Depsolve Error", "failures": ["nothing provides a"]}, "Depsolve Error; nothing provides a"),
        ({"msg": "", "failures": None}, "the package manager failed without a message"),
    ],
)
def test_any_other_failure_keeps_its_own_words(failed: dict[str, Any], line: str) -> None:
    assert package_failure(failed, facts("Debian", "12.12", "Debian"), "pool_packages") == line
