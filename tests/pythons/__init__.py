# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit tests of src/condor_vac on every Python from 3.9 on that this machine has."""

from __future__ import annotations

from tests import interpreters

KNOWN = [(3, minor) for minor in range(interpreters.OLDEST[1], 15)]
FOUND = interpreters.find()
