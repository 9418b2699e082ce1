# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that VMs boot from: fetched, checked, stored."""
