# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: a pool in a box in which VMs appear, work and stop appearing, shown live."""
