# SPDX-License-Identifier: GPL-3.0-or-later
"""The experiment of the lab's pools: the guest that its VMs boot and the queue where they find work."""
