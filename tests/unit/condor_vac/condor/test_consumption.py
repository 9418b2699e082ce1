# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps shares from holding in a pool whose nodes the negotiator divides, out of slots' ads."""

from __future__ import annotations

from typing import Any

import pytest

from condor_vac.condor import consumption
from condor_vac.condor.pool import Unreadable

CPUS = "quantize(target.RequestCpus,{ 1 })"


def slot(machine: str = "wn1", **changes: Any) -> dict[str, Any]:
    """A partitionable slot with a policy, as ``condor_status -json`` of 23.9.6 and 25.14.1 prints it; None removes."""
    ad = {
        "Machine": machine, "HasVM": True, "PartitionableSlot": True, "ConsumptionCpus": f"/Expr({CPUS})/",
        "NumClaims": 4, "SlotWeight": "/Expr(Cpus)/", "TotalSlotCpus": 12, **changes,
    }  # fmt: skip
    return {name: value for name, value in ad.items() if value is not None}


def found(*slots: dict[str, Any], leftovers: bool = False) -> list[tuple[str, bool]]:
    return [(one.what, one.note) for one in consumption.findings(slots, leftovers=leftovers)]


def test_a_pool_in_which_all_holds() -> None:
    assert (
        found(slot(), slot("wn2"), slot("wn3", SlotWeight=Unreadable("Cpus"), ConsumptionCpus=Unreadable(CPUS))) == []
    )
    assert found() == []


def test_leftovers_of_the_access_point_where_num_claims_limits() -> None:
    ((what, note),) = found(slot(), slot("wn2"), leftovers=True)
    assert not note
    assert (
        "CLAIM_PARTITIONABLE_LEFTOVERS is True on this access point, but NUM_CLAIMS limits 2 nodes (wn1, wn2)" in what
    )
    # Nothing is left for the schedd to take.
    assert found(slot(NumClaims=12), slot("wn2", NumClaims=16), leftovers=True) == []


def test_nodes_without_a_policy_are_a_note() -> None:
    plain = [slot(f"wn{number}", ConsumptionCpus=None, NumClaims=None) for number in range(5)]
    ((what, note),) = found(slot("other"), *plain, leftovers=False)
    assert note
    assert "no consumption policy on 5 nodes (wn0, wn1, wn2, 2 more)" in what
    ((what, note),) = found(plain[0], leftovers=True)
    assert (note, "1 node (wn0)" in what) == (True, True)


def test_slots_that_take_no_vm_or_are_whole_do_not_count() -> None:
    assert (
        found(slot(HasVM=False, ConsumptionCpus=None), slot(PartitionableSlot=None, SlotWeight=1), leftovers=True) == []
    )


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ("/Expr(GPUs)/", "SLOT_WEIGHT on 1 node (wn1) is GPUs, which uses GPUs"),
        (Unreadable("Cpus + NoSuch"), "is Cpus + NoSuch, which uses NoSuch"),
        (1, "is 1, which is the same for a free and a full node"),
        ("x", "has text in quotes"),
    ],
)
def test_a_weight_on_which_the_negotiator_aborts(weight: Any, words: str) -> None:
    ((what, note),) = found(slot(SlotWeight=weight), slot("wn2"))
    assert (note, words in what) == (False, True), what
    # A slot that is not divided may weigh what it likes.
    assert [note for _what, note in found(slot(SlotWeight=weight, ConsumptionCpus=None))] == [True]


def test_nodes_with_one_weight_are_one_line() -> None:
    ((what, _note),) = found(slot(SlotWeight=1), slot("wn2", SlotWeight=1), slot("wn3"))
    assert "SLOT_WEIGHT on 2 nodes (wn1, wn2)" in what


@pytest.mark.parametrize("value", [True, "8", 1.5, Unreadable("8"), -1, 1 << 70, ["x"]])
def test_whatever_an_ad_holds_is_no_error(value: Any) -> None:
    for name in (
        "Machine",
        "NumClaims",
        "TotalSlotCpus",
        "SlotWeight",
        "ConsumptionCpus",
        "HasVM",
        "PartitionableSlot",
    ):
        found(slot(**{name: value}), leftovers=True)


def test_an_ads_text_is_cut_and_printable() -> None:
    ((what, _note),) = found(slot("wn\x1b[2J\n" + "y" * 500, SlotWeight=Unreadable("z\x1b" * 400)))
    assert what.isprintable()
    assert len(what) < 500


def test_of_many_weights_those_of_most_nodes_are_named() -> None:
    """A node can advertise any number of slots."""
    many = [slot(f"bad{number}", SlotWeight=f"x{number}") for number in range(40)]
    whole = [slot(f"wn{number}", SlotWeight=1) for number in range(2)]
    sentences = [what for what, _note in found(*many, *whole)]
    assert len(sentences) == 6
    assert "SLOT_WEIGHT on 2 nodes (wn0, wn1) is 1, which is the same" in sentences[0]
    assert sentences[-1] == "SLOT_WEIGHT on 36 nodes (bad10, bad11, bad12, 33 more) is one of 36 more such weights"
    assert len(found(*many[:5])) == 5


@pytest.mark.parametrize("value", ["False", "false\n", " F ", "no", "N", "0"])
def test_a_schedd_that_leaves_the_rest_to_the_negotiator(value: str) -> None:
    assert not consumption.takes_leftovers(value)


@pytest.mark.parametrize("value", ["True", "yes\n", "1", "", "not a truth value"])
def test_a_schedd_that_takes_the_rest_which_is_the_default(value: str) -> None:
    assert consumption.takes_leftovers(value)
