# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``condor_vac`` command: one module a subcommand."""
