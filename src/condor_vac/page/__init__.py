# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of an access point: static HTML of what its factories left, for ``condor_vac page``."""
