# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles' package names are those of the distribution: asked from Debian's own lists of each suite.

The lists of Ubuntu and Enterprise Linux, HTCondor's own repository and EPEL are not asked: these tests count on a
mirror of Debian only. tests/unit/roles/test_platforms.py has what the roles resolve to there.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.aptlists import Lists, Unreachable
from tests.unit.roles.test_platforms import resolve

ROOT = Path(__file__).resolve().parents[2]
SUITES = {"bookworm": "debian12", "trixie": "debian13", "sid": "debian13"}
# Of Debian 12, HTCondor is in HTCondor's own repository only, as docs/platforms.md has it.
ELSEWHERE = {"bookworm": {"condor", "condor-vm-gahp"}}


@pytest.fixture(scope="module", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def lists(suite: str) -> Lists:
    try:
        return Lists(suite)
    except Unreachable as error:
        pytest.skip(f"Debian's lists cannot be reached: {error}")


def names(platform: str) -> set[str]:
    """Every package that a role installs on the platform."""
    worker = set(resolve(platform, "{{ worker_all_packages }}", worker_sharing=["nfs", "http"]))
    texts = [path.read_text("utf-8") for path in (ROOT / "roles").glob("*/tasks/packages.yml")]
    others = {name for text in texts for name in re.findall(r"^ +name: ([a-z0-9.+-]+)$", text, re.MULTILINE)}
    others |= {name for text in texts for name in re.findall(r"or \['([a-z0-9.+-]+)'\]", text)}
    assert others >= {"condor", "python3-cryptography"}
    return worker | others


def test_every_name_is_a_package_of_the_suite(lists: Lists, suite: str) -> None:
    wanted = names(SUITES[suite])
    assert len(wanted) > 12
    assert wanted - set(lists.versions(wanted)) == ELSEWHERE.get(suite, set())


def test_a_name_of_another_distribution_is_none(lists: Lists) -> None:
    """Without this the lists might know everything."""
    assert lists.versions(["nfs-utils", "qemu-kvm-core", "policycoreutils-python-utils", "nginx"]).keys() <= {
        "nginx",
        "policycoreutils-python-utils",
    }
    assert "nginx" in lists.versions(["nginx"])


def test_the_guide_has_the_version_of_htcondor(lists: Lists, suite: str) -> None:
    guide = (ROOT / "docs" / "platforms.md").read_text("utf-8")
    row = next(line for line in guide.splitlines() if line.startswith("| Debian ") and suite in line)
    source = row.split("|")[2].strip()
    version = lists.versions(["condor"]).get("condor")
    if suite in ELSEWHERE:
        assert (version, source.startswith("HTCondor's own repository")) == (None, True)
        return
    assert version is not None
    stated = re.fullmatch(r"Debian, ([0-9.]+?)(\.x)?", source)
    assert stated is not None, source
    assert version.startswith(f"{stated[1]}.") or re.match(rf"{re.escape(stated[1])}[+-]", version), (version, source)
