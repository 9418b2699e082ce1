# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a changeless run on worker nodes takes, beside the same with builtin modules only."""
