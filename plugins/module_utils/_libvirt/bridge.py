# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the node itself shows of a libvirt network: the interfaces on its bridge, and its DHCP server."""

from __future__ import annotations

import os


def interfaces(bridge: str, root: str = "/") -> list[str]:
    """The interfaces of VMs on a bridge; none if there is no such bridge."""
    folder = os.path.join(root, "sys/class/net", bridge, "brif")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    # libvirt before 7 put an interface of its own there to hold the bridge's MAC.
    return [name for name in names if not name.endswith("-nic")]


def dhcp_server_lives(network: str, root: str = "/") -> bool:
    """Whether the dnsmasq of a network runs, which libvirt itself never checks.

    True where libvirt does not keep its process id in the usual directory, since it cannot be known then.
    """
    folder = os.path.join(root, "run/libvirt/network")
    if not os.path.isdir(folder):
        return True
    try:
        with open(os.path.join(folder, f"{network}.pid"), encoding="ascii") as stream:
            process = str(int(stream.read()))
        with open(os.path.join(root, "proc", process, "cmdline"), "rb") as stream:
            return b"dnsmasq" in stream.read()
    except (FileNotFoundError, ValueError):
        return False
