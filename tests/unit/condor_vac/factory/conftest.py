# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests of a factory have in common."""

from __future__ import annotations

import pytest

from condor_vac.factory import cycle
from tests.integration.factory.greedy import Policy


@pytest.fixture(autouse=True)
def _greedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that fills the caps, so that tests do not depend on the control law."""
    monkeypatch.setattr(cycle, "Policy", Policy)
