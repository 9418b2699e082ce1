# SPDX-License-Identifier: GPL-3.0-or-later
"""Which weights of a slot a consumption policy can count with; HTCondor's own ClassAd library evaluates them."""

from __future__ import annotations

import importlib

import pytest

from condor_vac.condor.slot_weight import KNOB, fault


def evaluate(words: list[str]) -> str:
    """As ``classad_eval -quiet ASSIGNMENT... EXPRESSION``."""
    classad = importlib.import_module("classad2")
    quiet, *assignments, expression = words
    assert quiet == "-quiet"
    node = classad.ClassAd()
    for one in assignments:
        name, _, value = one.partition(" = ")
        node[name] = int(value)
    found = classad.ExprTree(expression).eval(node, classad.ClassAd())
    if isinstance(found, classad.Value):
        return str(found.name).lower()
    return str(found).lower()


@pytest.mark.parametrize(
    "weight",
    [
        "Cpus",
        "cpus",
        " MY.Cpus ",
        "Memory / 2048.0",
        "quantize(Cpus, {1})",
        "max({Cpus, Memory / 2048.0})",
        "0.5 * Cpus + 1e-6 * my.Disk",
        "ifThenElse(Cpus > 0, Memory / Cpus, 0)",
        "",
    ],
)
def test_a_weight_to_count_with(weight: str) -> None:
    assert fault(weight) == ""
    assert fault(weight, evaluate) == ""


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ("GPUs", "uses GPUs, and may use Cpus, Memory and Disk only"),
        ("TotalCpus + Cpus * KFlops", "uses KFlops, TotalCpus,"),
        ("TARGET.Cpus", "uses TARGET.Cpus,"),
        ("ifThenElse(Cpus > 0, Cpus, undefined)", "uses undefined,"),
        ("1", "is the same for a free and a full node"),
        ("2.5e3", "is the same"),
        ('"x"', "has text in quotes"),
        ("'Cpus'", "has text in quotes"),
    ],
)
def test_a_weight_of_other_things(weight: str, words: str) -> None:
    assert words in fault(weight)
    assert words in fault(weight, evaluate)


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ("Memory / Cpus", "is error for a full node, and must be a number"),
        ("Cpus > 2", "is true for a free node"),
        ("{Cpus}", "for a free node, and must be a number"),
    ],
)
def test_a_weight_that_is_not_always_a_number(weight: str, words: str) -> None:
    assert words in fault(weight, evaluate)
    assert fault(weight) == "", "it takes an evaluation to see it"


def test_a_tool_that_prints_nothing_is_a_fault() -> None:
    assert fault("Cpus", lambda _: "\n") == "is nothing for a free node, and must be a number"


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        ("a." * 500_000 + "(1)", "is the same for a free and a full node"),
        ("Cpus." * 500_000 + " (1)", "is the same for a free and a full node"),
        ("a" * 1_000_000 + " " * 1_000_000 + "(1) + GPUs", "uses GPUs, and"),
        ("f(" * 500_000 + "GPUs", "uses GPUs, and"),
        ("Cpus + " * 200_000 + "0", ""),
    ],
    ids=["dots", "dots and a blank", "blanks", "functions", "sum"],
)
def test_a_weight_of_any_length_is_read_once(weight: str, words: str) -> None:
    """An ad's weight may be of a megabyte; a search that grows with its square would take hours."""
    assert (words in fault(weight)) if words else fault(weight) == ""


def test_the_variables_that_hold_it() -> None:
    for name in (
        "SLOT_WEIGHT",
        "SlotWeight",
        "STARTD.SLOT_WEIGHT",
        "slot_type_12_slot_weight",
        "SLOT_TYPE_1_SLOTWEIGHT",
    ):
        assert KNOB.fullmatch(name), name
    for name in ("SCHEDD_SLOT_WEIGHT", "NEGOTIATOR_USE_SLOT_WEIGHTS", "SLOT_WEIGHTS"):
        assert not KNOB.fullmatch(name), name
