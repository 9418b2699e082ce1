#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The NFS server that virtual machines mount their directories from."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nfs_server
short_description: The NFS server that virtual machines mount their directories from
version_added: 0.1.0
description:
  - Configures the kernel's NFS server for the versions that virtual machines need, on the given addresses only,
    and keeps it running and enabled.
  - Compares with what the kernel really serves (C(/proc/fs/nfsd/versions) and the sockets that listen on port 2049),
    so a server that was started with other options is fixed although its files are right.
  - Exports are not made here. They come and go with leases. Those that exist when the server has to restart are
    made again, since its unit drops all that are not in C(/etc/exports).
  - With O(listen), a drop-in lets systemd start the server again until the addresses are there. The bridge of the
    virtual machines comes up some time after libvirt.
  - mountd and rpcbind, which NFS 3 needs, listen on all addresses whatever O(listen) is. Only clients with an
    export get an answer from mountd.
requirements:
  - The NFS server's package (Debian C(nfs-kernel-server), Enterprise Linux C(nfs-utils)) and systemd
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
  state:
    description:
      - With V(present), the server runs as described and starts by itself.
      - With V(absent), this module's files are removed and a running server is restarted without them.
    type: str
    choices: [present, absent]
    default: present
  versions:
    description: The versions to serve. CernVM 3 mounts with V(3).
    type: list
    elements: str
    choices: ['3', '4']
    default: ['3', '4']
  listen:
    description:
      - Addresses of this node to serve on, usually the host's address on the virtual machines' network.
      - An empty list serves on all addresses.
    type: list
    elements: str
    default: []
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
seealso:
  - module: vacuum.htcondor.libvirt_network
"""

EXAMPLES = r"""
- name: Serve NFS to the virtual machines only
  vacuum.htcondor.nfs_server:
    listen: [192.168.86.1]

- name: Serve NFS 4 only, for images newer than CernVM 3
  vacuum.htcondor.nfs_server:
    versions: ['4']
    listen: [192.168.86.1]
"""

RETURN = r"""
actions:
  description: What was done to services, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [daemon-reload, restart nfs-server.service, make 2 exports again]
file:
  description: The file that holds the configuration.
  returned: success
  type: str
  sample: /etc/nfs.conf.d/condor_vac.conf
serving:
  description: What the kernel served before the module ran.
  returned: success
  type: dict
  contains:
    threads:
      description: Number of server threads. V(0) if the server is stopped.
      type: int
      sample: 16
    versions:
      description: The versions.
      type: list
      elements: str
      sample: ['3', '4']
    addresses:
      description: The addresses with a socket on port 2049. V(0.0.0.0) and V(::) stand for all.
      type: list
      elements: str
      sample: [192.168.86.1]
"""

import ipaddress
import os
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import ModuleError, run_module
from ansible_collections.vacuum.htcondor.plugins.module_utils._node import files, nfsd
from ansible_collections.vacuum.htcondor.plugins.module_utils._node.systemd import Systemd

CONF = "etc/nfs.conf.d/condor_vac.conf"
UNIT = "nfs-server.service"
DROP_IN = f"etc/systemd/system/{UNIT}.d/condor_vac.conf"
HEADER = "# Written by the Ansible module vacuum.htcondor.nfs_server; changes here are overwritten.\n"
INSTALL = "install the NFS server (Debian: nfs-kernel-server, Enterprise Linux: nfs-utils)"


class NfsServer:
    """The server's files and units, and what the kernel serves."""

    def __init__(self, module: AnsibleModule, root: str = "/", owner: str | None = "root") -> None:
        self.module = module
        self.root = root
        self.owner = owner
        self.present: bool = module.params["state"] == "present"
        self.versions = sorted(set(module.params["versions"]))
        self.listen = [_address(text) for text in module.params["listen"]]
        self.command = Command(module)
        self.systemd = Systemd(self.command)
        self.conf = os.path.join(self.root, CONF)
        self.drop_in = os.path.join(self.root, DROP_IN)
        self.steps: list[tuple[str, Callable[[], Any]]] = []

    def run(self) -> dict[str, Any]:
        """Bring about the state. Raises ModuleError."""
        if self.present:
            self._preconditions()
        serving = nfsd.serving(self.root)
        changes = [self._file(self.conf, self._conf()), self._file(self.drop_in, self._drop_in())]
        if self.present:
            self._refuse_override()
        if changes[1].changed:
            self._step("daemon-reload", self.systemd.reload)
        self._plan_units(serving, changes[0].changed)
        for _text, action in [] if self.module.check_mode else self.steps:
            action()
        if self.present and self.steps and not self.module.check_mode:
            self._verify()
        return {
            "changed": bool(self.steps) or any(change.changed for change in changes),
            "actions": [text for text, _action in self.steps],
            "diff": [*(entry for change in changes for entry in change.diff()), self._diff(serving)],
            "file": self.conf,
            "serving": serving.describe(),
        }

    def _preconditions(self) -> None:
        """Raises ModuleError if the server cannot run here."""
        if not self.versions:
            raise ModuleError("versions: the list is empty", "name '3', '4' or both")
        if not self.systemd.exists(UNIT):
            raise ModuleError(f"there is no {UNIT} on this node", INSTALL)
        if "3" in self.versions and not self.systemd.exists("rpcbind.socket"):
            raise ModuleError("NFS 3 needs rpcbind, which is not installed", "install the package rpcbind")
        if not nfsd.module_available(self.root, self.command):
            remedy = (
                "reboot into the installed kernel, or install its extra modules (linux-modules-extra), "
                "or let VMs do without NFS (worker_sharing: [http])"
            )
            raise ModuleError("the running kernel has no NFS server (module nfsd)", remedy)
        missing = [text for text in self.listen if text not in nfsd.own_addresses(self.command)]
        if missing and not self.module.check_mode:
            remedy = "start the virtual machines' network first (libvirt_network)"
            raise ModuleError(f"listen: this node has no address {', '.join(missing)}", remedy)

    def _file(self, path: str, content: str | None) -> files.Change:
        if content is None:
            return files.remove(self.module, path)
        directory = os.path.dirname(path)
        if not os.path.isdir(directory) and not self.module.check_mode:
            os.makedirs(directory, mode=0o755)
        return files.write(self.module, path, content, mode=0o644, owner=self.owner, group=self.owner)

    def _conf(self) -> str | None:
        if not self.present:
            return None
        lines = [f"vers{version}={'y' if version in self.versions else 'n'}" for version in ("3", "4")]
        lines += [f"host={','.join(self.listen)}"] if self.listen else []
        return HEADER + "[nfsd]\n" + "\n".join(lines) + "\n"

    def _drop_in(self) -> str | None:
        if not self.present or not self.listen:
            return None
        return HEADER + (
            "[Unit]\n"
            "# The virtual machines' bridge, whose address is served, is libvirt's.\n"
            "After=libvirtd.service virtnetworkd.service\n"
            "StartLimitIntervalSec=0\n"
            "[Service]\n"
            "Restart=on-failure\n"
            "RestartSec=3\n"
        )

    def _refuse_override(self) -> None:
        """Raises ModuleError if a file that is read after this module's sets another value."""
        wanted = {f"vers{version}": version in self.versions for version in ("3", "4")}
        for path, line, key, value in nfsd.settings_after(self.conf):
            if (key == "host" and self.listen) or (key in wanted and nfsd.is_yes(value) != wanted[key]):
                text = f"{path}:{line} sets {key}={value} and is read after {self.conf}"
                raise ModuleError(text, "remove the line", overrides={"path": path, "line": line})

    def _plan_units(self, serving: nfsd.Serving, configured: bool) -> None:
        if not self.present:
            if configured and serving.threads:
                self._plan_restart()
            return
        if "3" in self.versions and not self.systemd.active("rpcbind.socket"):
            self._step("enable and start rpcbind.socket", lambda: self.systemd.enable_now("rpcbind.socket"))
        if not self.systemd.enabled(UNIT):
            self._step(f"enable {UNIT}", lambda: self.systemd.enable(UNIT))
        if configured or serving.differs(self.versions, self.listen):
            self._plan_restart()

    def _plan_restart(self) -> None:
        """A restart drops every export that is not in /etc/exports, so those are made again."""
        exports = nfsd.exports(self.root)
        verb = "restart" if nfsd.serving(self.root).threads else "start"
        self._step(f"{verb} {UNIT}", lambda: self.systemd.restart(UNIT))
        if exports:
            text = f"make {len(exports)} exports again"
            self._step(text, lambda: nfsd.export_again(self.command, self.root, exports))

    def _verify(self) -> None:
        serving = nfsd.serving(self.root)
        if serving.differs(self.versions, self.listen):
            remedy = "see journalctl -u nfs-server, and nfsconf --dump"
            raise ModuleError(f"{UNIT} was started, but the kernel serves {serving}", remedy)

    def _step(self, text: str, action: Callable[[], Any]) -> None:
        self.steps.append((text, action))

    def _diff(self, serving: nfsd.Serving) -> dict[str, str]:
        after = str(nfsd.Serving(1, tuple(self.versions), tuple(self.listen)))
        wrong = self.present and serving.differs(self.versions, self.listen)
        title = "what the kernel serves"
        return {
            "before_header": title,
            "after_header": title,
            "before": f"{serving}\n",
            "after": f"{after if wrong else serving}\n",
        }


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise ModuleError(f"listen: {error}", "write addresses, like 192.168.86.1") from error


ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "versions": {"type": "list", "elements": "str", "choices": ["3", "4"], "default": ["3", "4"]},
    "listen": {"type": "list", "elements": "str", "default": []},
}


def main(build: Callable[[AnsibleModule], NfsServer] = NfsServer) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
