# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A filter from a package manager's failure to one line that names the repository to add."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import one_line

# What the modules apt, dnf and dnf5, and their tools, write about a package that no repository has.
MISSING = re.compile(
    r"No package matching '([^']+)' is available|No package (\S+) available|No match for argument: (\S+)"
    r"|Unable to locate package (\S+)"
)
HTCONDOR = re.compile(r"(python3-)?(mini)?(ht)?condor(-\S+)?")
# HTCondor's own repositories as its manual has them; the manual itself for other systems.
MANUAL = "https://htcondor.readthedocs.io/en/latest/getting-htcondor/from-our-repositories.html"
DOWNLOADS = "https://htcss-downloads.chtc.wisc.edu/repo"
KEY = f"{DOWNLOADS}/keys/HTCondor-25.x-Key"
# Debian's releases without HTCondor, for which HTCondor has packages.
DEBIAN = {"12": "bookworm"}


def package_failure(failed: Mapping[str, Any], facts: Mapping[str, Any], variable: str) -> str:
    """What is missing and the repository that has it, in one line; any other failure in the module's own words.

    *failed* is the failed result of a package module, *facts* are the machine's, *variable* is the one by which a site
    chooses other packages.
    """
    texts = [str(failed.get("msg", "")), *map(str, failed.get("failures") or ())]
    missing = sorted({next(filter(None, found)) for found in MISSING.findall("\n".join(texts))})
    if not missing:
        return one_line("; ".join(filter(None, texts))) or "the package manager failed without a message"
    system = f"{facts.get('distribution', 'this system')} {facts.get('distribution_version', '')}".strip()
    remedy = "add the repository that has it"
    if any(HTCONDOR.fullmatch(name) for name in missing):
        remedy = _repository(facts)
    names = ", ".join(missing)
    return one_line(f"{names}: in no package repository of this machine ({system}); {remedy}, or set {variable}")


def _repository(facts: Mapping[str, Any]) -> str:
    """What to do so that the machine's package manager finds HTCondor."""
    distribution, major = str(facts.get("distribution")), str(facts.get("distribution_major_version"))
    if facts.get("os_family") == "RedHat":
        return (
            f"enable crb and EPEL and run dnf install {DOWNLOADS}/25.x/htcondor-release-current.el{major}.noarch.rpm "
            f"({MANUAL})"
        )
    if distribution == "Ubuntu":
        return "enable the component universe of Ubuntu's archive (add-apt-repository universe)"
    if distribution == "Debian" and major in DEBIAN:
        return (
            f"put {DOWNLOADS}/debian/htcondor-25.x-{DEBIAN[major]}.list into /etc/apt/sources.list.d/htcondor.list "
            f"and {KEY} into /etc/apt/keyrings/htcondor.asc ({MANUAL})"
        )
    if distribution == "Debian":
        return "enable the component main of Debian's own archive, which has it"
    return f"add HTCondor's repository ({MANUAL})"


class FilterModule:
    """Ansible's entry point to the filters."""

    def filters(self) -> dict[str, Any]:
        """Name → function of each filter."""
        return {"package_failure": package_failure}
