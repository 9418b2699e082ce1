# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes from Vac, Vcycle and HTCondorVMs, converted to machinetypes."""
