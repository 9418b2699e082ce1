# SPDX-License-Identifier: GPL-3.0-or-later
"""What HTCondor, libvirt, sudo and systemd start on a worker node: thin entry points."""
