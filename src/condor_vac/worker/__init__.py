# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on a worker node."""
