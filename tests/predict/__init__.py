# SPDX-License-Identifier: GPL-3.0-or-later
"""A real pool and the simulator play the same scenario, and their curves are compared."""
