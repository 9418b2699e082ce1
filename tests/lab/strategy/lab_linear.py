# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's linear strategy by Mitogen: one Python on a machine for all tasks, instead of one for each.

On an emulated processor most of a task is the start of Python. The demo uses it, and the molecule scenarios but
``bare``, whose tasks run as at a site; so do the modules' own tests (tests/module_calls.py).
"""

from __future__ import annotations

from ansible_mitogen.plugins.strategy.mitogen_linear import StrategyModule

__all__ = ["StrategyModule"]
