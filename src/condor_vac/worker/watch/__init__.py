# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``vac_watch`` decides and does about the VMs of a node."""
