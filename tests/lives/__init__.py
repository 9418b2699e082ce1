# SPDX-License-Identifier: GPL-3.0-or-later
"""Random site lives: experiments with characters, pools, limits and troubles, drawn from a seed and played."""
