#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The network of a worker node's virtual machines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: libvirt_network
short_description: The network of a worker node's virtual machines
version_added: 0.1.0
description:
  - Defines, starts and autostarts the libvirt network on which leases place virtual machines. It has
    a bridge with the host's address, DHCP, DNS, and one static DHCP entry for each address that a lease can
    grant.
  - The table of addresses is computed from O(subnet). The host has its first address. The machine with number
    N has the Nth, and a MAC of V(52:54:00:76) and the last two bytes of its address.
  - The difference is taken between descriptions that libvirt itself has read and written, so what libvirt
    adds or spells otherwise is not a change.
  - DHCP entries are changed while the network runs. Anything else needs a restart of the network, which the
    module refuses while virtual machines are attached, before it has changed anything.
  - A DHCP server that has died is started again without touching the network.
requirements:
  - virsh and a running libvirt with its network and packet filter drivers
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    support: full
    platforms: linux
options:
  name:
    description: Name of the network.
    type: str
    default: vac
  state:
    description:
      - With V(present), the network is defined as described, runs, and starts by itself.
      - With V(absent), it is stopped and libvirt forgets it.
    type: str
    choices: [present, absent]
    default: present
  bridge:
    description: Name of the bridge. The default is O(name) followed by V(0).
    type: str
  subnet:
    description: The IPv4 network, from a /16 to a /24.
    type: str
    default: 192.168.86.0/24
  first_host:
    description: Lowest number of a virtual machine in the subnet.
    type: int
    default: 10
  last_host:
    description: Highest number of a virtual machine in the subnet.
    type: int
    default: 250
  hostname:
    description: Host name of a virtual machine. V({number}) stands for its number.
    type: str
    default: vm-{number}
  domain:
    description: DNS domain of the virtual machines. Its names are never asked of other name servers.
    type: str
    default: vac.internal
  mode:
    description:
      - How packets leave the network.
      - V(nat) translates addresses, V(route) does not, V(open) also leaves the firewall to the site.
    type: str
    choices: [nat, route, open]
    default: nat
  isolate:
    description:
      - Keep virtual machines of this node from talking to each other over the bridge. They reach the host and others.
      - What they send each other with the host as their router, C(vac_lease) of the worker role has refused.
    type: bool
    default: true
  addresses:
    description:
      - Further IPv4 addresses of the host on the bridge, each alone (a /32), such as those of a metadata service.
      - They come and go with the network. Virtual machines reach them through their gateway, or by ARP.
    type: list
    elements: str
    default: []
  autostart:
    description: Start the network when libvirt starts.
    type: bool
    default: true
  filter:
    description:
      - The packet filter that keeps a virtual machine from using another's address. It must exist in libvirt.
      - An empty string skips the check.
    type: str
    default: clean-traffic
  force:
    description:
      - Restart or remove the network even with virtual machines attached. They lose it until they end.
    type: bool
    default: false
  uri:
    description: The connection to libvirt.
    type: str
    default: qemu:///system
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
seealso:
  - module: vacuum.htcondor.ip_forward
  - name: libvirt's network XML
    description: What each element means.
    link: https://libvirt.org/formatnetwork.html
"""

EXAMPLES = r"""
- name: The network of the virtual machines
  vacuum.htcondor.libvirt_network:
    name: vac

- name: Another subnet, since 192.168.86.0/24 is in use at this site
  vacuum.htcondor.libvirt_network:
    name: vac
    bridge: vac0
    subnet: 10.200.0.0/24
    domain: vac.example.org

- name: With the addresses at which clouds' machines look for metadata
  vacuum.htcondor.libvirt_network:
    name: vac
    addresses: [169.254.169.254, 169.254.169.253]

- name: Remove it once the node is drained
  vacuum.htcondor.libvirt_network:
    name: vac
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [define, start, autostart]
network:
  description: The network as leases use it.
  returned: when O(state=present)
  type: dict
  contains:
    name:
      description: Name of the network.
      type: str
      sample: vac
    bridge:
      description: Its bridge.
      type: str
      sample: vac0
    subnet:
      description: The subnet.
      type: str
      sample: 192.168.86.0/24
    gateway:
      description: The host's address on it.
      type: str
      sample: 192.168.86.1
    hosts:
      description: How many addresses leases can grant.
      type: int
      sample: 241
    filter:
      description: The packet filter that was found.
      type: str
      sample: clean-traffic
attached:
  description: Interfaces of virtual machines on the bridge when the module ran.
  returned: always
  type: list
  elements: str
  sample: [vnet0, vnet3]
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import ModuleError, run_module
from ansible_collections.vacuum.htcondor.plugins.module_utils._libvirt import bridge
from ansible_collections.vacuum.htcondor.plugins.module_utils._libvirt import network as vm_network
from ansible_collections.vacuum.htcondor.plugins.module_utils._libvirt.virsh import NetworkState, Virsh
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import DOMAIN, FIRST_NUMBER, LAST_NUMBER, SUBNET

SYSTEM = "qemu:///system"
# One live change takes libvirt a third of a second; a restart of the whole network takes as long.
LIVE_CHANGES_BEFORE_RESTART = 3
Step = tuple[str, Callable[[], None]]


class LibvirtNetwork:
    """One network: what libvirt has, what is asked for, and the steps from one to the other."""

    def __init__(self, module: AnsibleModule, root: str = "/") -> None:
        self.module = module
        self.root = root
        options = module.params
        self.name: str = options["name"]
        self.wanted = vm_network.Description(
            name=self.name,
            bridge=options["bridge"] or f"{self.name}0",
            **{key: options[key] for key in ("subnet", "first_host", "last_host", "hostname", "domain")},
            mode=options["mode"],
            isolate=options["isolate"],
            addresses=tuple(options["addresses"]),
        )
        self.wanted.check()
        self.virsh = Virsh(Command(module), options["uri"])
        self.state = self.virsh.network(self.name)
        self.attached = self._attached()
        self.steps: list[Step] = []

    def run(self) -> dict[str, Any]:
        """Bring about the state. Raises ModuleError."""
        return self._absent() if self.module.params["state"] == "absent" else self._present()

    def _present(self) -> dict[str, Any]:
        found_filter = self._filter()
        xml = vm_network.canonical(self.virsh.reread(self.wanted.xml(), self.name))
        before = vm_network.canonical(self.state.configured)
        if before != xml:
            identified = vm_network.with_identity(xml, self.state.configured or self.state.live)
            self._step("define", lambda: self.virsh.define_network(identified))
        if self.state.active:
            self._plan_running(xml)
        else:
            self._step("start", lambda: self.virsh.start_network(self.name))
        autostart: bool = self.module.params["autostart"]
        if self.state.autostart != autostart:
            verb = "autostart" if autostart else "no autostart"
            self._step(verb, lambda: self.virsh.autostart_network(self.name, autostart))
        self._apply()
        after = xml
        if self.steps and not self.module.check_mode:
            after = vm_network.canonical(self.virsh.network(self.name).configured)
        result = self._result(before, _flags(self.state), after, _flags_of(True, True, autostart))
        result["diff"] += self._running_diff(before, xml)
        return {
            **result,
            "network": {
                "name": self.name,
                "bridge": self.wanted.bridge,
                "subnet": self.wanted.subnet,
                "gateway": self.wanted.gateway,
                "hosts": len(self.wanted.hosts()),
                "filter": found_filter,
            },
        }

    def _absent(self) -> dict[str, Any]:
        if self.state.active:
            self._refuse_with_machines("be removed")
            self._step("stop", lambda: self.virsh.stop_network(self.name))
        if self.state.persistent:
            self._step("undefine", lambda: self.virsh.undefine_network(self.name))
        self._apply()
        before = vm_network.canonical(self.state.configured or self.state.live)
        return self._result(before, _flags(self.state), "", "")

    def _plan_running(self, xml: str) -> None:
        """What has to happen to the network that runs."""
        changes = [self._update(*change) for change in vm_network.dhcp_changes(self.state.live, xml)]
        if vm_network.skeleton(self.state.live) != vm_network.skeleton(xml):
            self._refuse_with_machines("be restarted, which a change beyond DHCP entries needs")
            self._plan_restart()
        elif len(changes) >= LIVE_CHANGES_BEFORE_RESTART and not self.attached:
            self._plan_restart()
        elif changes:
            self.steps += changes
        elif not self._serves():
            self._step("start the DHCP server", lambda: self._revive(xml))

    def _plan_restart(self) -> None:
        self._step("stop", lambda: self.virsh.stop_network(self.name))
        self._step("start", lambda: self.virsh.start_network(self.name))

    def _update(self, verb: str, section: str, entry: str) -> Step:
        text = f"{verb} {entry}"
        return text, lambda: self.virsh.update_network(self.name, verb, section, entry)

    def _serves(self) -> bool:
        """Whether the network's dnsmasq lives; one of a libvirt on another host cannot be seen from this node."""
        return self.module.params["uri"] != SYSTEM or bridge.dhcp_server_lives(self.name, self.root)

    def _revive(self, xml: str) -> None:
        """An update that changes nothing: libvirt then starts a dnsmasq that has gone."""
        host = next(iter(vm_network.dhcp_entries(xml, "host").values()))
        self.virsh.update_network(self.name, "modify", "ip-dhcp-host", host)

    def _attached(self) -> list[str]:
        """Interfaces of VMs on the bridge; those that only libvirt knows of are counted as ports."""
        if not self.state.active:
            return []
        return bridge.interfaces(vm_network.bridge_of(self.state.live), self.root) or self.virsh.ports(self.name)

    def _refuse_with_machines(self, what: str) -> None:
        if self.attached and not self.module.params["force"]:
            raise ModuleError(
                f"network {self.name} would have to {what}, but VMs are attached: {', '.join(self.attached)}",
                "drain the node first, or set force to cut these VMs off",
                attached=self.attached,
            )

    def _filter(self) -> str:
        name: str = self.module.params["filter"]
        if not name:
            return ""
        xml = self.virsh.filter(name)
        if xml is None:
            raise ModuleError(
                f"libvirt has no packet filter {name}",
                "install libvirt-daemon-config-nwfilter (on Debian 12 and Ubuntu it is in "
                "libvirt-daemon-system) and restart libvirt, or name another in filter",
            )
        missing = vm_network.spoofing_allowed(xml)
        if name == "clean-traffic" and missing:
            self.module.warn(f"filter {name} lacks {', '.join(missing)}: VMs can take others' addresses")
        return name

    def _step(self, text: str, action: Callable[[], None]) -> None:
        self.steps.append((text, action))

    def _apply(self) -> None:
        for _text, action in [] if self.module.check_mode else self.steps:
            action()

    def _running_diff(self, before: str, xml: str) -> list[dict[str, str]]:
        """Where the running network differs from its configuration and from what is wanted."""
        live = vm_network.canonical(self.state.live)
        if not live or live in {before, xml}:
            return []
        title = f"network {self.name}, as it runs"
        return [{"before_header": title, "after_header": title, "before": live, "after": xml}]

    def _result(self, before: str, flags_before: str, after: str, flags_after: str) -> dict[str, Any]:
        headers = {f"{side}_header": f"network {self.name}" for side in ("before", "after")}
        entries = [{**headers, "before": before, "after": after}]
        if flags_before != flags_after:
            entries.append({**headers, "before": flags_before, "after": flags_after})
        return {
            "changed": bool(self.steps),
            "actions": [text for text, _action in self.steps],
            "attached": self.attached,
            "diff": entries,
        }


def _flags(state: NetworkState) -> str:
    return _flags_of(state.active, state.persistent, state.autostart) if state.exists else ""


def _flags_of(active: bool, persistent: bool, autostart: bool) -> str:
    flags = {"active": active, "persistent": persistent, "autostart": autostart}
    return "".join(f"{name}: {'yes' if value else 'no'}\n" for name, value in flags.items())


ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "default": "vac"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "bridge": {"type": "str"},
    "subnet": {"type": "str", "default": SUBNET},
    "first_host": {"type": "int", "default": FIRST_NUMBER},
    "last_host": {"type": "int", "default": LAST_NUMBER},
    "hostname": {"type": "str", "default": "vm-{number}"},
    "domain": {"type": "str", "default": DOMAIN},
    "mode": {"type": "str", "choices": ["nat", "route", "open"], "default": "nat"},
    "isolate": {"type": "bool", "default": True},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "autostart": {"type": "bool", "default": True},
    "filter": {"type": "str", "default": "clean-traffic"},
    "force": {"type": "bool", "default": False},
    "uri": {"type": "str", "default": SYSTEM},
}


def main(build: Callable[[AnsibleModule], LibvirtNetwork] = LibvirtNetwork) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
