# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a fragment's variables another file sets after it."""

from __future__ import annotations

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import conflicts
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import Configuration, Knob

OURS = "50-vm.config"
LATER = "/etc/condor/config.d/99-site.config"
FRAGMENT = b"""VM_TYPE = kvm
if version < 25.4
  VAC_HOOK_JOB_EXIT = /x
endif
START = ifThenElse(TARGET.JobUniverse =?= 13, ($(START)) \\
  && ($(VAC_START)), $(START))
"""


def look(**knobs: tuple[str, str]) -> list[tuple[str, str]]:
    """Name and file of each conflict, where the configuration has these values (text, file)."""
    found = {
        name.lower(): Knob(name, raw, raw, source if source.startswith("<") else f"/etc/condor/config.d/{source}", 4)
        for name, (raw, source) in knobs.items()
    }
    named = conflicts.found("/etc/condor/config.d", {OURS: FRAGMENT, "20-old.config": None}, Configuration(found))
    assert {entry["line"] for entry in named} <= {4}
    return [(entry["name"], entry["file"]) for entry in named]


BUILT = "(ifThenElse(TARGET.JobUniverse =?= 13, (True) && ($(VAC_START)), True)) && NodeOk"


@pytest.mark.parametrize(
    ("raw", "source", "is_one"),
    [
        ("(NODE_OK =?= True)", "99-site.config", True),
        ("", "99-site.config", True),
        (BUILT, "99-site.config", False),
        (BUILT.replace(" && ($(VAC_START))", ""), "99-site.config", True),
        ("whatever", OURS, False),
        ("True", "<Default>", False),
    ],
)
def test_a_later_value_is_a_conflict_unless_it_builds_on_ours(raw: str, source: str, is_one: bool) -> None:
    assert look(START=(raw, source)) == ([("START", LATER)] if is_one else [])


def test_all_are_named_and_what_is_set_on_a_condition_is_not() -> None:
    wrong = look(VM_TYPE=("xen", "99-site.config"), START=("False", "99-site.config"), VAC_HOOK_JOB_EXIT=("/y", "10-a"))
    assert wrong == [("START", LATER), ("VM_TYPE", LATER)]


def test_a_variable_is_referred_to_by_others_alone() -> None:
    text = b"A = 1\nB = $(B) && $(b:2)\nSTART = ($(START)) && \\\n  ($(A))\n# $(C)\n"
    text += b"if $(D)\n  E = $INT(F) + $(G:0)\nendif\n"
    assert conflicts.referred({"50-x.config": text, "gone": None}) == {"a", "f", "g"}
