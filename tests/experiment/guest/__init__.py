# SPDX-License-Identifier: GPL-3.0-or-later
"""The test guest: a bootable ISO of Debian packages that behaves as a CernVM 3 in the vacuum does."""
