# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of a factory's cycles have in common."""

from __future__ import annotations

import pytest

from condor_vac.factory import cycle
from tests.integration.factory.greedy import Policy


@pytest.fixture
def greedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that fills the caps, so that tests do not depend on the control law."""
    monkeypatch.setattr(cycle, "Policy", Policy)
