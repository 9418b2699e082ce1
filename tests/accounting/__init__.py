# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac usage``, and AUDITOR's collector and APEL plugin, on a real history of VMs."""
