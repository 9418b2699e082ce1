# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of a native pool, in a real Prometheus; the alert rules and the dashboard against it."""
