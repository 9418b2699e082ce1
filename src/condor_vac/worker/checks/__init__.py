# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of ``condor_vac doctor``: each looks at the node as it is now and changes nothing."""
