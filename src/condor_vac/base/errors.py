# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors that condor_vac's own code raises; each message is one line: what is wrong, where, what to do."""

from __future__ import annotations


class VacError(Exception):
    """Something went wrong that the message explains; a command prints it and exits 1."""


class UsageError(VacError):
    """The caller's input is wrong (a file, a key, an argument); a command prints it and exits 2."""
