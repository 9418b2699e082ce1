# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that lets `condor_vac doctor` find what a test wants: its files and the answers of its tools."""

from __future__ import annotations

import getpass
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from condor_vac.base import tools
from condor_vac.cli import doctor
from condor_vac.worker import network
from condor_vac.worker.checks.node import UNIT_PROPERTIES, Node
from condor_vac.worker.checks.table import CHECKS

OWNER = getpass.getuser()
SUBNET = "192.168.86.0/24"
LATER = "/etc/condor/config.d/99-site.config"
KNOBS = {
    "VM_TYPE": "kvm",
    "VM_NETWORKING": "True",
    "VM_NETWORKING_TYPE": "nat",
    "VM_MAX_NUMBER": "0",
    "VM_MEMORY": "1073741824",
    "LIBVIRT_XML_SCRIPT": "/usr/local/libexec/libvirt_cernvm_script",
    "VAC_HOOK_PREPARE_JOB": "/usr/local/libexec/vac_prepare_hook",
    "VAC_HOOK_JOB_EXIT": "/usr/local/libexec/vac_exit_hook",
    "START": '(TARGET.RequiresVac =?= True) && (TARGET.HookKeyword =?= "VAC") && stringListMember(TARGET.Owner, "vac")',
    "DAEMON_LIST": "MASTER, STARTD",
    "EXECUTE": "/var/lib/condor/execute",
    "STARTD_LOG": "/var/log/condor/StartLog",
}
UNIT = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "Result": "success"}
SYSCTL = """\
# /usr/lib/sysctl.d/50-default.conf
net.ipv4.conf.*.rp_filter = 2
-net.ipv4.conf.all.promote_secondaries

# /etc/sysctl.d/zz-condor_vac-ipv4.conf
net/ipv4/ip_forward = 1
net.ipv4.conf.all.forwarding = 1
"""
SUDO = """\

User {owner} may run the following commands on node1:

Sudoers entry: /etc/sudoers.d/condor_vac
    RunAsUsers: root
    Options: !authenticate
    Commands:
\t/usr/local/libexec/vac_lease
"""
FILES = {
    "/etc/condor_vac/worker.json": json.dumps({"network": "vac", "owners": [OWNER], "sharing": ["nfs", "http"]}),
    "/etc/systemd/system/vac_watch.timer": "[Timer]\n",
}
PROGRAMS = ("/usr/local/libexec/vac_prepare_hook", "/etc/libvirt/hooks/qemu.d/condor_vac")


class Pretended:
    """A node in a directory, and stand-ins that answer by the first words of a table that fit."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.answers: dict[str, tuple[int, str]] = {}
        self.units: dict[str, dict[str, str]] = {}
        self.knobs = dict(KNOBS)
        self.network: dict[str, str] = {"Active": "yes", "Persistent": "yes", "Autostart": "yes", "Bridge": "vac0"}
        self.gateway = "192.168.86.1"
        self.slot: dict[str, Any] = {
            "Name": "slot1@node1", "Machine": "node1", "HasVM": True, "VM_Type": "kvm", "TotalMemory": 3000,
            "PartitionableSlot": True,
        }  # fmt: skip
        self.retiring: list[dict[str, Any]] = []
        self.master = {"MASTER": "Alive", "STARTD": "Alive", "STARTD_Addr": "<127.0.0.1:9>", "STARTD_State": "Ready"}
        self._files()

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.base / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def access_point(self, point: str, **knobs: str) -> None:
        """An access point in the node's settings, and further variables of HTCondor's."""
        settings = json.loads(FILES["/etc/condor_vac/worker.json"])
        self.write("/etc/condor_vac/worker.json", json.dumps({**settings, "access_points": [point]}))
        self.knobs.update(knobs)

    def _files(self) -> None:
        for name, text in FILES.items():
            self.write(name, text)
        self.write("/etc/condor_vac/files.json", json.dumps({name: digest(text) for name, text in FILES.items()}))
        for name in PROGRAMS:
            self.write(name, f"#!/usr/bin/python3\n# {name}\n", 0o755)
        table = {name: digest(f"#!/usr/bin/python3\n# {name}\n") for name in PROGRAMS}
        self.write("/usr/local/lib/condor_vac/entry_points.json", json.dumps(table))
        manifest = {"condor_vac/__init__.py": digest("x = 1\n")}
        name = f"0.1.0-{hashlib.sha256(json.dumps(manifest).encode()).hexdigest()[:12]}"
        self.write(f"/usr/local/lib/condor_vac/{name}/manifest.json", json.dumps(manifest))
        self.write(f"/usr/local/lib/condor_vac/{name}/condor_vac/__init__.py", "x = 1\n")
        (self.base / "usr/local/lib/condor_vac/current").symlink_to(name)
        self.write("/proc/cpuinfo", "processor : 0\nflags : fpu svm\n\nprocessor : 1\nflags : fpu svm\n")
        self.write("/proc/sys/net/ipv4/ip_forward", "1\n")
        self.write("/proc/fs/nfsd/versions", "-2 +3 +4 +4.1 -4.2\n")
        self.write("/var/lib/condor_vac/images/.versions/0123-cernvm.iso", "iso")
        (self.base / "var/lib/condor_vac/images/cernvm.iso").symlink_to(".versions/0123-cernvm.iso")
        self.write("/var/lib/condor_vac/images/by-hand.qcow2", "image")
        self.write("/var/lib/condor_vac/images/.versions/.lock", "")
        (self.base / "var/lib/condor_vac/images/.versions/.lock").chmod(0o600)
        (self.base / "var/lib/condor/execute").mkdir(parents=True)

    def run(self, argv: Sequence[str], *, timeout: float, **_options: Any) -> str:
        """Stands in for tools.run: the first entry whose text is in the command line answers."""
        assert timeout > 0
        words = " ".join([argv[0].rsplit("/", 1)[-1], *argv[1:]])
        status, text = next(answer for pattern, answer in self.table().items() if pattern in words)
        if status:
            raise tools.ToolError(f"{argv[0]}: exit code {status}: {text}", status)
        return text

    def table(self) -> dict[str, tuple[int, str]]:
        """What the tools answer now, what a test sets before the rest."""
        hosts = network.table(SUBNET, "vac.internal")
        entries = "".join(f"<host mac='{item.mac}' ip='{item.address}'/>" for item in hosts)
        return {
            **self.answers,
            **{f"systemctl show --property={UNIT_PROPERTIES} {name}":
               (0, lines(unit)) for name, unit in self.units.items()},
            **{f"systemctl show --property=ActiveState {name}": (0, f"ActiveState={unit.get('ActiveState')}\n")
               for name, unit in self.units.items()},
            "condor.service": (0, lines({**UNIT, "After": "network.target libvirtd.service"})),
            "virtqemud.service": (0, lines({"LoadState": "not-found"})),
            "systemctl show": (0, lines(UNIT)),
            "domcapabilities": (0, "<domainCapabilities><domain>kvm</domain></domainCapabilities>"),
            "virsh -q -c qemu:///system capabilities": (0, "<capabilities><model>apparmor</model></capabilities>"),
            "net-list": (0, "default\nvac\n"),
            "net-info": (0, "".join(f"{key}:   {value}\n" for key, value in self.network.items())),
            "net-dumpxml": (0, f"<network><ip address='{self.gateway}'><dhcp>{entries}</dhcp></ip></network>"),
            "nwfilter-dumpxml": (0, "<filter/>"),
            "domstats": (0, ""),
            "ip -json": (0, json.dumps([{"ifname": "vac0", "addr_info": [{"local": "192.168.86.1"}]}])),
            "--cat-config": (0, SYSCTL),
            "ss -H": (0, "LISTEN 0 64 192.168.86.1:2049 0.0.0.0:*\n"),
            "sudo -n -ll": (0, SUDO.format(owner=OWNER)),
            "runuser": (0, "[]"),
            "exportfs": (0, ""),
            "condor_config_val -dump": (0, "# a comment\n" + "".join(f"{k} = {v}\n" for k, v in self.knobs.items())),
            **{f"condor_config_val -startd {k}": (0, f"{v}\n") for k, v in self.knobs.items()},
            "condor_config_val -verbose": (0, f"X = x\n # at: {LATER}, line 3\n # raw: X = x\n"),
            "condor_version": (0, "$CondorVersion: 23.9.6 2024-08-08 $\n"),
            "condor_who": (0, "".join(f'{k} = "{v}"\n' for k, v in {**self.master, "STARTD_PID": "7"}.items())),
            'Activity == "Retiring"': (0, json.dumps(self.retiring)),
            "condor_status": (0, json.dumps([self.slot])),
            **self.answers,
        }  # fmt: skip


STAND_INS = (
    "virsh", "exportfs", "sudo", "qemu-system-x86_64", "qemu-img", "dnsmasq", "xorriso",
    "condor_vm-gahp",
)  # fmt: skip


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def lines(unit: dict[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in unit.items())


def findings(node: Pretended) -> dict[str, list[str]]:
    """What the doctor finds, by "step/check"; the KVM device is the one thing that no directory has."""
    checks = [check for check in CHECKS if check.name != "KVM"]
    report = doctor.examine(Node(str(node.base)), checks)
    return {
        f"{entry['step']}/{entry['check']}": [item["what"] for item in entry["findings"]]
        for entry in report["checks"]
        if not entry["ok"]
    }
