# SPDX-License-Identifier: GPL-3.0-or-later
"""explain on a pool in which shares, or the limit of starts, do not hold."""

from __future__ import annotations

from condor_vac.base.shared import Universe
from condor_vac.condor.pool import Unreadable
from tests.unit.condor_vac.cli.surveyed import SLOT, Site
from tests.unit.condor_vac.standins import ad

WHOLE = {**SLOT, "PartitionableSlot": True, "SlotWeight": Unreadable("Cpus"), "TotalSlotCpus": 8}
DIVIDED = {**WHOLE, "ConsumptionCpus": Unreadable("quantize(target.RequestCpus,{ 1 })"), "NumClaims": 4}


def pool(site: Site, *slots: dict[str, object], leftovers: str | None = "False") -> None:
    site.pool.ads = [each for each in site.pool.ads if each["JobUniverse"] == Universe.SCHEDULER]
    site.pool.ads.append(ad("50.0"))
    site.pool.machines, site.pool.matches = list(slots), (1, 1, [])
    site.pool.settings = {} if leftovers is None else {"CLAIM_PARTITIONABLE_LEFTOVERS": leftovers}


def test_a_pool_that_is_divided_well(site: Site) -> None:
    pool(site, DIVIDED, {**DIVIDED, "Machine": "wn2"})
    code, text = site.explain()
    assert code == 0
    assert "consumption policy" not in text
    assert "LEFTOVERS" not in text


def test_an_access_point_with_htcondors_default_is_a_finding(site: Site) -> None:
    for leftovers in ("true", "1", None):
        pool(site, DIVIDED, leftovers=leftovers)
        code, text = site.explain()
        assert code == 1
        assert "NUM_CLAIMS limits 1 node (wn1)" in text
        assert "factory_claim_leftovers" in text


def test_a_node_that_fills_slowly_is_a_note(site: Site) -> None:
    pool(site, DIVIDED, {**WHOLE, "Machine": "wn2"})
    code, text = site.explain()
    assert code == 0
    (line,) = [line for line in text.splitlines() if "no consumption policy on 1 node (wn2)" in line]
    assert "worker_starts_per_cycle" in line


def test_a_weight_on_which_the_negotiator_aborts_is_a_finding(site: Site) -> None:
    pool(site, {**DIVIDED, "SlotWeight": Unreadable("GPUs\x1b")})
    code, out, _err = site.run("explain", "gridpp")
    assert code == 1
    assert "SLOT_WEIGHT on 1 node (wn1)" in out
    assert out.replace("\n", "").isprintable()
