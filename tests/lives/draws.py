# SPDX-License-Identifier: GPL-3.0-or-later
"""Random numbers of a life.

Each part of a life has random numbers of its own, so that a change of how one part is drawn leaves the others. Only
methods of `random.Random` are used that give the same numbers on every Python from 3.9 to 3.13.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

Data = dict[str, Any]
MINUTE, HOUR, DAY = 60, 3600, 86400


def numbers(*path: object) -> random.Random:
    """The random numbers of one part of a life, e.g. ``numbers(17, "pool")``."""
    return random.Random("/".join(map(str, path)))


def even(rng: random.Random, low: float, high: float) -> int:
    """A whole number from ``low`` to ``high``, each doubling equally likely."""
    return round(low * math.pow(high / low, rng.random()))


def span(rng: random.Random, low: float, high: float) -> list[int]:
    """``[a, b]``: a from ``low`` to ``high``, b at most twice a and at most ``high``."""
    first = even(rng, low, high)
    return [first, round(first + rng.random() * (min(high, 2 * first) - first))]


def pick(rng: random.Random, weights: Mapping[str, int]) -> str:
    """One of the names, as often as its weight says."""
    return rng.choice([name for name, weight in weights.items() for _ in range(weight)])
