# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of a node do not reach each other by way of the node.

The ports of the VMs' bridge are isolated, so that no frame goes from one VM to another. But a VM can also send the
node, as a router, a packet for another VM, and libvirt lets pass what goes from a network back to it. A routing rule
refuses that: what comes from the bridge for the VMs' own subnet, and is not for the node itself, goes nowhere. The
rule names the bridge, so that it outlives a restart of the network. It is there before the first VM has an address.
"""

from __future__ import annotations

from condor_vac.base import tools

# After the kernel's own rule for the node's addresses (0), before those for routes (32766).
PRIORITY = "76"
TIMEOUT_SECONDS = 20.0


def ensure(bridge: str, subnet: str) -> None:
    """Have the rule there. Raises VacError."""
    shown = tools.run(["ip", "-4", "rule", "show"], timeout=TIMEOUT_SECONDS)
    wanted = {f"{PRIORITY}:", subnet, bridge, "prohibit"}
    if not any(wanted <= set(line.split()) for line in shown.splitlines()):
        words = ["ip", "-4", "rule", "add", "priority", PRIORITY, "iif", bridge, "to", subnet, "prohibit"]
        tools.run(words, timeout=TIMEOUT_SECONDS)
