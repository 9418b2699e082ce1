# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy in a virtual pool with a virtual clock, beside its published peers and an oracle."""
