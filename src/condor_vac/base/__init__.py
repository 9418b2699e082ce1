# SPDX-License-Identifier: GPL-3.0-or-later
"""What every room uses and what knows nothing of VMs: errors, files, programs, URLs."""
