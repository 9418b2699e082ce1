# SPDX-License-Identifier: GPL-3.0-or-later
"""What every pytest run of this checkout loads, those of molecule's scenarios included."""

pytest_plugins = ("tests.skips", "tests.junit")
