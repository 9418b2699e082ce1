# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker node grants one VM while it lives: address, MAC, directories, console."""
