# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten situations in a real pool: what docs/situations.md says of explain, doctor, page and alerts is what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.integration import chroot
from tests.integration.monitoring import tools
from tests.integration.situations import document
from tests.integration.situations.access_point import access_point
from tests.integration.situations.document import NOTHING, Row
from tests.integration.situations.stages import Stages

pytestmark = pytest.mark.xdist_group("situations")
SITUATIONS = (
    "factory held", "no work", "experiment banned", "black hole", "image server away", "node full",
    "token about to end", "schedd away", "wrong requirements", "clock off",
)  # fmt: skip
STATES = ("ok", "needs attention")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    """All situations, in one pool."""
    for reason in (chroot.missing(), tools.missing()):
        if reason is not None:
            pytest.skip(reason)
    with access_point("trixie", tmp_path_factory.mktemp("prometheus")) as made:
        stages = Stages(made)
        stages.play()
        yield stages


def test_the_document_has_these_situations() -> None:
    assert tuple(document.rows()) == SITUATIONS


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_document_says_what_the_programs_say(played: Stages, situation: str) -> None:
    row, seen = document.rows()[situation], played.said[situation]
    shown = f"{seen.explain}\n{seen.doctor}\n{seen.page}\n{sorted(seen.alerts)}"
    assert document.absent(row.explain, seen.explain) == [], shown
    # What prevents VMs from starting is in the document.
    assert "`!" in row.explain or "! " not in seen.explain, shown
    assert document.absent(row.doctor, seen.doctor) == [], shown
    assert document.absent(row.page, seen.page) == [], shown
    (state,) = [state for state in STATES if row.page.startswith(state)]
    assert state in seen.page.splitlines(), shown
    assert alerts_of(row) == seen.alerts, shown


def test_the_handbooks_screens_are_the_programs(played: Stages) -> None:
    screens = document.screens()
    assert set(screens) == set(played.screens)
    for command, shown in screens.items():
        printed = document.alike(played.screens[command])
        assert [line for line in shown if line not in printed] == [], played.screens[command]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_document_has_how_long_alerts_wait(situation: str) -> None:
    row = document.rows()[situation]
    waits = document.waits()
    parts = re.split(r"(?=`CondorVac)", row.alert)[1:]
    assert row.alert == NOTHING or parts
    for part in parts:
        (alert,) = alerts_of(row._replace(alert=part))
        assert f"then {waits[alert]}" in part


def alerts_of(row: Row) -> frozenset[str]:
    """The alerts that the row names."""
    return frozenset(re.findall(r"`(CondorVac\w+)`", row.alert))
