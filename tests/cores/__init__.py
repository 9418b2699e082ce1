# SPDX-License-Identifier: GPL-3.0-or-later
"""The built artifact under the oldest supported ansible-core and the newest, each in an environment of its own."""
