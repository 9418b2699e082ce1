# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories that the site playbook refuses before any node is touched, and those that it takes."""
