# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""libvirt through virsh, which every distribution ships with it: one method per verb."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command, Result
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import CommandError

INSTALL = "install libvirt's client tools (Debian: libvirt-clients, Enterprise Linux: libvirt-client)"
CONNECT = "start libvirt (systemctl start libvirtd, or virtqemud and virtnetworkd), and use become"
# Seconds; libvirt answers in milliseconds unless it hangs.
TIMEOUT = 60
# libvirt's own test driver lives inside the client: what it defines is gone when virsh ends.
TEST_DRIVER = "test:///default"


@dataclass(frozen=True)
class NetworkState:
    """What libvirt reports of one network: the three flags and both descriptions (None where there is none)."""

    active: bool = False
    persistent: bool = False
    autostart: bool = False
    configured: str | None = None
    live: str | None = None

    @property
    def exists(self) -> bool:
        """Whether libvirt knows the network at all."""
        return self.active or self.persistent


class Virsh:
    """One connection. Every method raises CommandError or ToolMissing with a remedy."""

    def __init__(self, command: Command, uri: str) -> None:
        self.command = command
        self.uri = uri
        self.program = command.require("virsh", INSTALL)

    def run(self, *words: str, stdin: str | None = None, check: bool = True, uri: str = "") -> Result:
        """Run one virsh command; *check* turns a failure into a CommandError that carries a remedy."""
        argv = [self.program, "--quiet", "--connect", uri or self.uri, *words]
        result = self.command.run(argv, stdin=stdin, ok=None, timeout=TIMEOUT, remedy=CONNECT)
        if check and not result.ok:
            reason = _reason(result)
            remedy = CONNECT if "failed to connect" in reason else "see libvirt's journal"
            raise CommandError(f"virsh {' '.join(words)}: {reason}", remedy, rc=result.rc)
        return result

    def networks(self) -> list[str]:
        """Names of all networks, running or not."""
        return self.run("net-list", "--all", "--name").stdout.split()

    def network(self, name: str) -> NetworkState:
        """The state of one network; one that libvirt does not know is `NetworkState()`."""
        if name not in self.networks():
            return NetworkState()
        lines = (line.partition(":") for line in self.run("net-info", name).stdout.splitlines())
        flags = {key.strip(): value.strip() == "yes" for key, _colon, value in lines}
        active, persistent = flags.get("Active", False), flags.get("Persistent", False)
        return NetworkState(
            active,
            persistent,
            flags.get("Autostart", False),
            self.run("net-dumpxml", name, "--inactive").stdout if persistent else None,
            self.run("net-dumpxml", name).stdout if active else None,
        )

    def reread(self, xml: str, name: str) -> str:
        """*xml* as this libvirt reads and writes it, without touching anything (its test driver does it).

        Raises CommandError if libvirt refuses the description.
        """
        script = f"net-define /dev/stdin; net-dumpxml {name}"
        output = self.run(script, stdin=xml, uri=TEST_DRIVER).stdout
        return output[output.index("<network") :]

    def define_network(self, xml: str) -> None:
        """Define a network, or change its configuration (not the running network)."""
        self.run("net-define", "/dev/stdin", stdin=xml)

    def undefine_network(self, name: str) -> None:
        """Forget a network's configuration."""
        self.run("net-undefine", name)

    def start_network(self, name: str) -> None:
        """Start a defined network."""
        self.run("net-start", name)

    def stop_network(self, name: str) -> None:
        """Stop a network; the interfaces of VMs that are attached lose it."""
        self.run("net-destroy", name)

    def autostart_network(self, name: str, enable: bool) -> None:
        """Whether libvirt starts the network by itself."""
        self.run("net-autostart", name, *([] if enable else ["--disable"]))

    def update_network(self, name: str, verb: str, section: str, xml: str) -> None:
        """Change the running network only: *verb* is add-last, modify or delete."""
        self.run("net-update", name, verb, section, xml, "--live")

    def ports(self, name: str) -> list[str]:
        """UUIDs of the interfaces attached to a running network (none before libvirt 5.5)."""
        result = self.run("net-port-list", name, check=False)
        return [line.split()[0] for line in result.stdout.splitlines() if line.strip()] if result.ok else []

    def filter(self, name: str) -> str | None:
        """The description of a packet filter; None if libvirt has none of that name."""
        result = self.run("nwfilter-dumpxml", name, check=False)
        if result.ok:
            return result.stdout
        if "not found" in result.stderr:
            return None
        reason = _reason(result)
        raise CommandError(f"virsh nwfilter-dumpxml {name}: {reason}", CONNECT, rc=result.rc)

    def domain_capabilities(self, virttype: str) -> Result:
        """libvirt's own answer to whether it can run guests of this type (kvm, qemu)."""
        return self.run("domcapabilities", "--virttype", virttype, check=False)


def _reason(result: Result) -> str:
    """libvirt's reason without its repeated prefix; the first line only repeats the command."""
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    texts = [line[len("error: ") :] if line.startswith("error: ") else line for line in lines]
    return "; ".join(texts) or f"exit code {result.rc}"
