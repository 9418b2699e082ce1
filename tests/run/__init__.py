# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the stages of ``make test`` and ``make check`` beside each other: ``python -m tests.run``."""
