# SPDX-License-Identifier: GPL-3.0-or-later
"""The factory's policy, pure: no clock, no input or output, nothing imported but ``base.errors``."""
