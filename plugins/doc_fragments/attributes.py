# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Attributes that the collection's modules have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """vacuum.htcondor.attributes (changes a node), vacuum.htcondor.attributes.info (changes nothing)."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying the node.
  diff_mode:
    support: full
    description:
      - Returns details on what has changed (or possibly needs changing in C(check_mode)) when in diff mode.
  idempotent:
    support: full
    description:
      - When run twice in a row outside check mode with the same arguments, the second call reports no change.
  platform:
    support: full
    platforms: linux
    description: Target operating systems the module runs on.
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode); this module changes nothing in any mode.
  diff_mode:
    support: N/A
    description:
      - Returns details on what has changed (or possibly needs changing in C(check_mode)) when in diff mode.
  idempotent:
    support: full
    description: This module changes nothing, so it never reports a change.
  platform:
    support: full
    platforms: linux
    description: Target operating systems the module runs on.
"""
