# SPDX-License-Identifier: GPL-3.0-or-later
"""Every machinetype of docs/examples until one of its VMs has run to its code."""

from __future__ import annotations

from typing import Any

import yaml
from boxes import COMPLETED, Box
from desk import Desk
from examples import EXAMPLES, OFFERS
from pool import until, vms


def declared() -> set[str]:
    """The names of all machinetypes that the examples make, those of their pipes as OFFERS has them."""
    found = {f"{prefix}-{offer['suffix']}" for prefix, offer in OFFERS.items()}
    for path in EXAMPLES.glob("*.yml"):
        variables = yaml.safe_load(path.read_text("utf-8"))
        assert set(variables.get("vacuum_pipes", {})) <= set(OFFERS)
        found |= set(variables.get("vacuum_machinetypes", {}))
    return found


def test_each_machinetype_has_a_factory(box: Box, played: dict[str, dict[str, Any]]) -> None:
    assert set(played) == declared()
    factories = box.run("condor_q -allusers -constraint 'JobUniverse == 7' -af VacFactory").split()
    assert sorted(factories) == sorted(played)


def test_a_vm_of_each_runs_to_its_code(box: Box, played: dict[str, dict[str, Any]]) -> None:
    for name, keys in played.items():
        # Debian's user data asks a queue of another kind than the lab's, which refuses.
        wanted = (300, "No more work") if keys.get("kind") == "cloud-init" else (200, "Success")
        of_it = f'JobStatus == {COMPLETED} && VacMachinetype == "{name}"'

        def ended(of_it: str = of_it, wanted: tuple[int, str] = wanted) -> bool:
            return wanted in {(ad.get("ShutdownCode"), ad.get("ShutdownMessage")) for ad in vms(box, of_it)}

        until(f"a VM of {name} ends with {wanted}", ended)


def test_each_has_its_accounting_group(box: Box, desk: Desk, played: dict[str, dict[str, Any]]) -> None:
    groups = {ad["VacMachinetype"]: ad.get("AcctGroup") for ad in vms(box, "true")}
    of_pipes = {f"{prefix}-{OFFERS[prefix]['suffix']}": keys for prefix, keys in desk.vars["vacuum_pipes"].items()}
    wanted = {name: {**of_pipes.get(name, {}), **keys}["accounting_group"] for name, keys in played.items()}
    assert groups == wanted
