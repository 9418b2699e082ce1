# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's linear strategy by Mitogen: one Python on a machine for all tasks, instead of one for each.

On an emulated processor most of a task is the start of Python. The demo uses it, and the molecule scenarios do,
but for two: ``bare`` and the calls of ``modules`` (tests/module_calls.py) run Ansible as a site does.
"""

from __future__ import annotations

from ansible_mitogen.plugins.strategy.mitogen_linear import StrategyModule

__all__ = ["StrategyModule"]
