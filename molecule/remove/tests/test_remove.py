# SPDX-License-Identifier: GPL-3.0-or-later
"""A node from which the site was removed is what it was; what HTCondor's own daemons and the lab made there stays."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

# The collector's key and certificates of the host, which it makes where a pool's role wants them; the lab's experiment.
LEFT = re.compile(
    r"/etc/condor/(hostkey[.]pem|hostcert[.]pem|known_hosts|trust_domain_ca(_privkey)?[.]pem|passwords[.]d/POOL)\b|taskqueue"
)
KINDS = ("file", "content", "unit", "active", "network", "sudoers", "user", "link", "condor")


def lines(name: str) -> set[str]:
    """What state.sh saw at one of the three times."""
    text = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], f"{name}.txt").read_text("utf-8")
    return {line for line in text.splitlines() if not LEFT.search(line)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_site_changes_the_node(kind: str) -> None:
    """Else there would be nothing to see."""
    changed = lines("before") ^ lines("site")
    assert [line for line in changed if line.startswith(f"{kind} ")]


def test_after_the_removal_the_node_is_what_it_was() -> None:
    before, after = lines("before"), lines("after")
    assert (sorted(before - after), sorted(after - before)) == ([], [])
