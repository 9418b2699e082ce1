# SPDX-License-Identifier: GPL-3.0-or-later
"""The only code that talks to HTCondor, or reads its formats."""
