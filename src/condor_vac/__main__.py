# SPDX-License-Identifier: GPL-3.0-or-later
"""``python3 -m condor_vac`` is the ``condor_vac`` command."""

from __future__ import annotations

import sys

from condor_vac.cli.dispatch import main

sys.exit(main(sys.argv[1:]))
