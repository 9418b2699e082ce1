# SPDX-License-Identifier: GPL-3.0-or-later
"""The soak: a pool at work meets a fault every minute, and at the end nothing may be left and no job lost."""
