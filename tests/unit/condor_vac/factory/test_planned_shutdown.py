# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes a VM's job accepts before their planned shutdown, as HTCondor evaluates its requirements."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.shared import SHUTDOWN_ATTRIBUTE
from condor_vac.factory import submit_description
from tests.unit.condor_vac.standins import machinetype

# How far a shutdown is from a limit here, in seconds: more than a test takes.
CLEAR = 600


def accepts(seconds_left: float | str | None, *, avoid: str = "", **keys: Any) -> bool:
    """Whether the job of such a machinetype is matched to a node whose ad has that shutdown, relative to now."""
    # HTCondor's own functions, such as stringListIMember, come with the whole of the bindings.
    importlib.import_module("htcondor2")
    classad = importlib.import_module("classad2")
    node = classad.ClassAd({"Machine": "wn1", "HasVM": True, "Memory": 8192})
    if seconds_left is not None:
        of_now = isinstance(seconds_left, int) and not isinstance(seconds_left, bool)
        node[SHUTDOWN_ATTRIBUTE] = int(time.time()) + int(seconds_left) if of_now else seconds_left
    text = submit_description.describe(machinetype(**keys))["requirements"]
    job = classad.ClassAd({submit_description.AVOID: avoid})
    result = classad.ExprTree(text).eval(job, node)
    assert isinstance(result, bool), text
    return result


@pytest.mark.parametrize("least", [0, 3600, 9000, 86400])
def test_a_vm_starts_only_where_it_has_its_least_time(least: int) -> None:
    assert not accepts(least - CLEAR, min_wallclock_seconds=least)
    assert accepts(least + CLEAR, min_wallclock_seconds=least)
    assert accepts(None, min_wallclock_seconds=least)


def test_by_default_a_vm_starts_until_the_shutdown_and_not_after_it() -> None:
    assert accepts(CLEAR)
    assert not accepts(-CLEAR)


def test_short_and_long_vms_share_a_node_that_will_shut_down() -> None:
    assert accepts(2 * 3600, min_wallclock_seconds=3600)
    assert not accepts(2 * 3600, min_wallclock_seconds=43200)


@pytest.mark.parametrize("value", ["soon", "", 1.5, True, False])
def test_what_is_not_a_time_keeps_no_vm_away(value: float | str) -> None:
    assert accepts(value, min_wallclock_seconds=3600)


@pytest.mark.parametrize(
    ("requirements", "avoid", "good"),
    [("Memory > 4096", "", True), ("Memory > 9000", "", False), ("False || HasVM", "", True), ("HasVM", "wn1", False)],
)
def test_the_other_requirements_hold_besides(requirements: str, avoid: str, good: bool) -> None:
    keys: dict[str, Any] = {"min_wallclock_seconds": 3600, "requirements": requirements}
    assert accepts(3600 + CLEAR, avoid=avoid, **keys) is good
    assert not accepts(3600 - CLEAR, avoid=avoid, **keys)


def test_a_sites_own_submit_file_gets_it_too(tmp_path: Path) -> None:
    path = tmp_path / "vm.sub"
    path.write_text("universe = vm\nvm_type = kvm\nexecutable = x\nvm_memory = 1\nvm_disk = /i:vda:r:raw\nqueue\n")
    keys: dict[str, Any] = {"min_wallclock_seconds": 3600, "submit_file": str(path)}
    assert not accepts(3600 - CLEAR, **keys)
    assert accepts(3600 + CLEAR, **keys)


def test_another_least_time_is_another_description() -> None:
    digests = {
        submit_description.describe(machinetype(min_wallclock_seconds=least))["+VacDigest"] for least in (0, 0, 60)
    }
    assert len(digests) == 2
