# SPDX-License-Identifier: GPL-3.0-or-later
"""What one VM gets before it starts, what it is, and how it ends."""
