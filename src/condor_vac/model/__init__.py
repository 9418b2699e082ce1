# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain data: machinetypes, outcomes, user data, machine and job features."""
