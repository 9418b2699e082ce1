# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which vacuum pipe a machinetype is of: its name is the pipe's prefix, or PREFIX-suffix."""

from __future__ import annotations

from collections.abc import Iterable


def prefix_of(name: str, prefixes: Iterable[str]) -> str | None:
    """The longest of the prefixes that the name has, None if it has none."""
    having = [prefix for prefix in prefixes if name == prefix or name.startswith(f"{prefix}-")]
    return max(having, key=len, default=None)
