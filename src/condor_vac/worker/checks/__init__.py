# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of ``condor_vac doctor``: each checks the node as it is now and changes nothing."""
