# SPDX-License-Identifier: GPL-3.0-or-later
"""The factory of a machinetype: observes the queue, has the policy decide, acts."""
