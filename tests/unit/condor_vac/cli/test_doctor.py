# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac doctor`` on a pretended node: one that is well, then each fault by itself, then hostile answers."""

from __future__ import annotations

import argparse
import getpass
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base import tools
from condor_vac.base.findings import Finding
from condor_vac.cli import dispatch, doctor
from condor_vac.worker import kvm_device, network
from condor_vac.worker.checks import host, sharing
from condor_vac.worker.checks import network as network_checks
from condor_vac.worker.checks.node import Check, Node
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
        self.master = {"MASTER": "Alive", "STARTD": "Alive", "STARTD_Addr": "<127.0.0.1:9>", "STARTD_State": "Ready"}
        self._files()

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.base / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

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
            **{f"systemctl show --property=LoadState,ActiveState,UnitFileState,After,Result,NeedDaemonReload {name}":
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


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretended:
    monkeypatch.setattr(tools, "SYSTEM_PATH", f"{tmp_path}/bin")
    made = Pretended(tmp_path)
    for name in STAND_INS:
        made.write(f"/bin/{name}", "", 0o755)
    monkeypatch.setattr(tools, "run", made.run)
    return made


def findings(node: Pretended) -> dict[str, list[str]]:
    """What the doctor finds, by "step/check"; the KVM device is the one thing that no directory has."""
    checks = [check for check in CHECKS if check.name != "KVM"]
    report = doctor.examine(Node(str(node.base)), checks)
    return {
        f"{entry['step']}/{entry['check']}": [item["what"] for item in entry["findings"]]
        for entry in report["checks"]
        if not entry["ok"]
    }


def test_a_good_node_has_no_findings(node: Pretended) -> None:
    assert findings(node) == {}


def hook_mode(node: Pretended) -> None:
    (node.base / PROGRAMS[0].lstrip("/")).chmod(0o777)


def hook_directory(node: Pretended) -> None:
    (node.base / "usr/local/libexec").chmod(0o777)


def no_master(node: Pretended) -> None:
    node.master = {}
    node.units["condor.service"] = {**UNIT, "ActiveState": "inactive"}


FAULTS: dict[str, tuple[Callable[[Pretended], object], str, str]] = {
    "no flag": (lambda n: n.write("/proc/cpuinfo", "flags : fpu\n"), "preflight/processor", "svm or vmx"),
    "one cpu": (
        lambda n: n.write("/proc/cpuinfo", "flags : fpu vmx\nflags : fpu\n"),
        "preflight/processor",
        "only 1 of 2",
    ),
    "service": (
        lambda n: n.units.update({"libvirtd.service": {**UNIT, "ActiveState": "inactive"}}),
        "services/libvirt",
        "libvirtd.service is inactive",
    ),
    "disabled": (
        lambda n: n.units.update({"nfs-server.service": {**UNIT, "UnitFileState": "disabled"}}),
        "nfs/NFS server",
        "does not start with the node",
    ),
    "masked": (
        lambda n: n.units.update({"vac_watch.timer": {**UNIT, "LoadState": "masked"}}),
        "hooks/watch",
        "vac_watch.timer is masked",
    ),
    "order": (
        lambda n: n.units.update({"condor.service": {**UNIT, "After": "network.target"}}),
        "services/HTCondor",
        "before libvirtd.service",
    ),
    "network stopped": (lambda n: n.network.update(Active="no"), "network/VMs' network", "does not run"),
    "network gone": (lambda n: n.answers.update({"net-list": (0, "\n")}), "network/VMs' network", "no network vac"),
    "subnet": (lambda n: setattr(n, "gateway", "10.1.2.1"), "network/VMs' network", "10.1.2.1"),
    "bridge": (lambda n: n.answers.update({"ip -json": (0, "[]")}), "network/bridge", "no bridge vac0"),
    "filter": (lambda n: n.answers.update({"nwfilter": (1, "not found")}), "network/packet filter", "clean-traffic"),
    "forward off": (lambda n: n.write("/proc/sys/net/ipv4/ip_forward", "0\n"), "ip_forward/now", "is 0"),
    "competing": (
        lambda n: n.answers.update({"--cat-config": (0, SYSCTL + "# /etc/sysctl.d/zzz.conf\nnet.ipv4.ip_forward=0\n")}),
        "ip_forward/after a reboot",
        "/etc/sysctl.d/zzz.conf turns net.ipv4.ip_forward off",
    ),
    "no nfs 3": (lambda n: n.write("/proc/fs/nfsd/versions", "-3 +4\n"), "nfs/what is served", "version 3"),
    "nfs to all": (
        lambda n: n.answers.update({"ss -H": (0, "LISTEN 0 64 0.0.0.0:2049 0.0.0.0:*\n")}),
        "nfs/what is served",
        "0.0.0.0",
    ),
    "web server": (
        lambda n: n.units.update({"vac_http.service": {**UNIT, "ActiveState": "failed"}}),
        "http/web server",
        "vac_http.service is failed",
    ),
    "stray VM": (
        lambda n: n.answers.update({"domstats": (0, "Domain: 'vac_9.0'\n  state.state=1\n")}),
        "nfs/leases",
        "VM vac_9.0 runs without a lease",
    ),
    "sudo wide": (
        lambda n: n.answers.update({"sudo -n -ll": (0, SUDO.format(owner=OWNER) + "\t/bin/sh\n")}),
        "sudoers/sudo",
        "run /bin/sh as well (/etc/sudoers.d/condor_vac)",
    ),
    "sudo none": (lambda n: n.answers.update({"sudo -n -ll": (0, "not allowed\n")}), "sudoers/sudo", "does not let"),
    "sudo tty": (lambda n: n.answers.update({"runuser": (1, "a terminal")}), "sudoers/sudo", "does not run"),
    "image": (
        lambda n: (n.base / "var/lib/condor_vac/images/by-hand.qcow2").chmod(0o600),
        "images/images",
        "mode 0600",
    ),
    "image that the role keeps": (
        lambda n: (n.base / "var/lib/condor_vac/images/.versions/0123-cernvm.iso").chmod(0o600),
        "images/images",
        "mode 0600",
    ),
    "execute": (lambda n: n.knobs.update(EXECUTE="/scratch"), "images/sandboxes", "EXECUTE is /scratch"),
    "program edited": (
        lambda n: n.write("/usr/local/lib/condor_vac/current/condor_vac/__init__.py", "x = 2\n"),
        "hooks/programs",
        "condor_vac/__init__.py",
    ),
    "program added": (
        lambda n: n.write("/usr/local/lib/condor_vac/current/condor_vac/evil.py", ""),
        "hooks/programs",
        "condor_vac/evil.py",
    ),
    "hook mode": (hook_mode, "hooks/hooks", "world-writable"),
    "hook directory": (hook_directory, "hooks/hooks", "libexec is world-writable"),
    "hook gone": (lambda n: (n.base / PROGRAMS[1].lstrip("/")).unlink(), "hooks/hooks", "condor_vac is missing"),
    "hook edited": (lambda n: n.write(PROGRAMS[0], "#!/bin/sh\n", 0o755), "hooks/hooks", "was changed"),
    "settings": (lambda n: n.write("/etc/condor_vac/worker.json", '{"networc": "x"}'), "hooks/settings", "networc"),
    "file edited": (
        lambda n: n.write("/etc/systemd/system/vac_watch.timer", "[Timer]\nOnBootSec=9999\n"),
        "hooks/files",
        "vac_watch.timer was changed",
    ),
    "watch failed": (
        lambda n: n.units.update({"vac_watch.service": {**UNIT, "Result": "exit-code"}}),
        "hooks/watch",
        "ended with exit-code",
    ),
    "knob": (lambda n: n.knobs.update(VM_MAX_NUMBER="4"), "condor/configuration", "VM_MAX_NUMBER is 4"),
    "exit hook on 25.4": (
        lambda n: n.answers.update({"condor_version": (0, "$CondorVersion: 25.4.0 $")}),
        "condor/configuration",
        "runs each job again",
    ),
    "start": (
        lambda n: n.knobs.update(START="True"),
        "condor/configuration",
        "START is True (/etc/condor/config.d/99-site.config, line 3): anybody's VMs",
    ),
    "hooks of the site for all jobs": (
        lambda n: n.knobs.update(STARTER_JOB_HOOK_KEYWORD="SITE"),
        "condor/configuration",
        "STARTER_JOB_HOOK_KEYWORD is SITE (/etc/condor/config.d/99-site.config, line 3)",
    ),
    "no master": (
        no_master,
        "ready/daemons",
        "no condor_master",
    ),
    "silent master": (lambda n: setattr(n, "master", {}), "ready/daemons", "does not answer condor_who"),
    "drained": (lambda n: n.master.update(STARTD="Hold"), "ready/daemons", "STARTD is switched off"),
    "drains": (lambda n: n.master.update(STARTD="Shutdown,Peaceful"), "ready/daemons", "ends when its jobs have"),
    "not reread": (
        lambda n: n.answers.update({"condor_config_val -startd START": (0, "False\n")}),
        "ready/running configuration",
        "another START",
    ),
    "no VM universe": (
        lambda n: n.slot.update(HasVM=False, VMOfflineReason="libvirt is\ndown"),
        "checks/VM universe",
        "libvirt is down",
    ),
    "memory": (lambda n: n.knobs.update(VM_MEMORY="2000"), "checks/VM universe", "VM_MEMORY is 2000"),
    "not in the pool": (
        lambda n: n.answers.update({"condor_status -json": (0, "")}),
        "checks/pool",
        "condor_status -vm does not show node1",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_where_it_is(node: Pretended, name: str) -> None:
    make, where, text = FAULTS[name]
    make(node)
    found = findings(node)
    assert any(text in what for what in found[where]), found


def test_what_the_node_does_not_share_by_is_not_asked_for(node: Pretended) -> None:
    text = FILES["/etc/condor_vac/worker.json"].replace('["nfs", "http"]', '["nfs"]')
    node.write("/etc/condor_vac/worker.json", text)
    node.units["vac_http.service"] = {"LoadState": "not-found"}
    assert sorted(findings(node)) == ["hooks/files"]


def test_only_what_is_broken_is_named(node: Pretended) -> None:
    hook_mode(node)
    node.network["Autostart"] = "no"
    assert sorted(findings(node)) == ["hooks/hooks", "network/VMs' network"]


@pytest.mark.parametrize("pattern", ["net-info", "condor_status", "condor_who", "ip -json", "domcapabilities", "sudo"])
@pytest.mark.parametrize(
    "answer",
    [(1, ""), (0, ""), (0, "\x1b[31m[{]\x00}"), (0, "[1, 2]"), (0, '{"a": [[[[]]]]}' * 50)],
    ids=["fails", "silent", "control", "list", "long"],
)
def test_whatever_a_tool_answers_is_a_report(node: Pretended, pattern: str, answer: tuple[int, str]) -> None:
    node.answers[pattern] = answer
    report = doctor.examine(Node(str(node.base)), [check for check in CHECKS if check.name != "KVM"])
    json.dumps(report)
    assert all(item["what"].isprintable() for entry in report["checks"] for item in entry["findings"])
    assert not report["good"], "an answer that says nothing is no good answer"


def test_no_tool_at_all_is_a_report_of_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "SYSTEM_PATH", f"{tmp_path}/none")
    report = doctor.examine(Node(str(tmp_path)), list(CHECKS))
    bad = [entry["check"] for entry in report["checks"] if not entry["ok"]]
    assert len(bad) > 15
    assert all(item["remedy"] for entry in report["checks"] for item in entry["findings"])


def test_kvm_device_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    assert "no /dev/kvm" in host.kvm(Node(str(tmp_path)))[0].what
    (tmp_path / "dev/kvm").write_text("")
    assert "is a file and no device" in host.kvm(Node(str(tmp_path)))[0].what


PLAIN = "/dev/kvm is a file and no device"
NO_FLAG = "no processor has the flag svm or vmx"


def preflight(node: Pretended) -> dict[str, tuple[bool, list[str], list[str]]]:
    """Of each check of the hardware: whether all is well, the findings, the notes."""
    report = doctor.examine(Node(str(node.base)), list(host.PREFLIGHT))
    return {
        entry["check"]: (entry["ok"], *([item["what"] for item in entry[key]] for key in ("findings", "notes")))
        for entry in report["checks"]
    }


def without_kvm(node: Pretended, emulation: bool) -> None:
    """No processor has the flag, and there is an empty file in the place of /dev/kvm."""
    node.write("/proc/cpuinfo", "flags : fpu\nflags : fpu\n")
    node.write("/dev/kvm", "")
    node.write("/etc/condor_vac/worker.json", json.dumps({"emulation": emulation, "owners": [OWNER]}))


def domain_capabilities(node: Pretended, offered: str) -> None:
    """libvirt runs this type of guest only."""
    for kind in ("kvm", "qemu"):
        answer = (0, f"<d><domain>{kind}</domain></d>") if kind == offered else (1, f"accel '{kind}' is not supported")
        node.answers[f"--virttype {kind}"] = answer


def test_without_kvm_a_node_that_may_emulate_is_well_and_says_so(node: Pretended) -> None:
    without_kvm(node, emulation=True)
    domain_capabilities(node, "qemu")
    found = preflight(node)
    assert found["processor"] == (True, [], [f"VMs are emulated, 5 to 20 times slower (worker_emulation): {NO_FLAG}"])
    assert found["KVM"] == (True, [], [f"VMs are emulated, 5 to 20 times slower (worker_emulation): {PLAIN}"])
    assert found["libvirt and KVM"] == (True, [], [])
    assert found["confinement of VMs"] == (True, [], [])


def test_without_kvm_a_node_that_must_not_emulate_has_findings(node: Pretended) -> None:
    without_kvm(node, emulation=False)
    domain_capabilities(node, "qemu")
    found = preflight(node)
    assert found["processor"] == (False, [NO_FLAG], [])
    assert found["KVM"] == (False, [PLAIN], [])
    assert found["libvirt and KVM"][0] is False
    assert "libvirt offers no KVM" in found["libvirt and KVM"][1][0]


@pytest.mark.parametrize("emulation", [False, True])
@pytest.mark.parametrize("flags", [["", ""], ["svm", "svm"]])
def test_a_device_that_makes_no_virtual_cpu_counts_whatever_the_flag_says(
    node: Pretended, flags: list[str], emulation: bool
) -> None:
    without_kvm(node, emulation)
    node.write("/proc/cpuinfo", "".join(f"flags : fpu {line}\n" for line in flags))
    domain_capabilities(node, "qemu" if emulation else "kvm")
    found = preflight(node)
    assert found["KVM"][0] is emulation
    assert PLAIN in "".join(found["KVM"][1] + found["KVM"][2])
    assert found["libvirt and KVM"] == (True, [], []), "libvirt is asked for what the VMs will be"


def test_emulation_that_libvirt_does_not_offer_is_a_finding(node: Pretended) -> None:
    without_kvm(node, emulation=True)
    domain_capabilities(node, "kvm")
    ok, found, _notes = preflight(node)["libvirt and KVM"]
    assert not ok
    assert "libvirt offers no emulation" in found[0]


def test_with_kvm_a_node_that_may_emulate_is_as_any_other(node: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    node.write("/etc/condor_vac/worker.json", json.dumps({"emulation": True, "owners": [OWNER]}))
    domain_capabilities(node, "kvm")
    monkeypatch.setattr(kvm_device, "device_trouble", lambda _root: None)
    assert preflight(node) == {check.name: (True, [], []) for check in host.PREFLIGHT}


def test_settings_that_cannot_be_read_allow_no_emulation(node: Pretended) -> None:
    without_kvm(node, emulation=True)
    node.write("/etc/condor_vac/worker.json", '{"emulation": true,')
    assert preflight(node)["processor"] == (False, [NO_FLAG], [])


def test_sysctl_files_as_systemd_lists_them() -> None:
    text = "# /a.conf\n  net.ipv4.ip_forward=1 \n; net.ipv4.ip_forward=0\n# about /b\n-net/ipv4/conf/eth0.7/x = 2\n"
    assert list(network_checks.assignments(text)) == [
        ("/a.conf", "net/ipv4/ip_forward", "1"),
        ("/a.conf", "net/ipv4/conf/eth0.7/x", "2"),
    ]


def test_a_glob_loses_against_a_name_and_counts_alone(node: Pretended) -> None:
    glob = "# /etc/sysctl.d/zzz.conf\nnet.ipv4.conf.*.forwarding = 0\n"
    node.answers["--cat-config"] = (0, SYSCTL + glob)
    assert findings(node) == {}
    node.answers["--cat-config"] = (0, "# /a\nnet.ipv4.ip_forward = 1\n" + glob)
    assert "zzz.conf" in findings(node)["ip_forward/after a reboot"][0]


def test_sudo_rules_of_several_entries() -> None:
    text = SUDO.format(owner="x") + "\nSudoers entry: /etc/sudoers.d/90\n    Commands:\n\tALL\n\t!/bin/su\n"
    assert list(sharing.permissions(text)) == [
        ("/etc/sudoers.d/condor_vac", "/usr/local/libexec/vac_lease"),
        ("/etc/sudoers.d/90", "ALL"),
        ("/etc/sudoers.d/90", "!/bin/su"),
    ]


def arguments(**changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"step": None, "json": False, **changes})


def pretend(monkeypatch: pytest.MonkeyPatch, *checks: Check) -> None:
    monkeypatch.setattr(doctor, "CHECKS", checks)
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_exit_code_table_and_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good = Check("network", "bridge", lambda _: [])
    bad = Check("hooks", "hooks", lambda _: [_finding("a\x1bb" + "y" * 900, "do\nthis")])
    pretend(monkeypatch, good)
    assert doctor.run(arguments()) == 0
    assert "bridge  ok" in capsys.readouterr().out
    pretend(monkeypatch, good, bad)
    assert doctor.run(arguments()) == 1
    text = capsys.readouterr().out
    assert "a\ufffdb" in text
    assert "->" in text
    assert "\x1b" not in text
    assert "2 checks, 1 with a finding" in text
    assert doctor.run(arguments(json=True)) == 1
    report = json.loads(capsys.readouterr().out)
    assert [(entry["check"], entry["ok"]) for entry in report["checks"]] == [("bridge", True), ("hooks", False)]
    assert doctor.run(arguments(step=["network"])) == 0


def test_a_note_is_shown_and_nothing_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    known = Finding("VMs are\x1b emulated", "buy another", note=True)
    pretend(monkeypatch, Check("preflight", "KVM", lambda _: [known]))
    assert doctor.run(arguments()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["preflight", "KVM", "ok"]
    assert lines[2].strip() == "note: VMs are\ufffd emulated"
    assert lines[-1].endswith("1 checks, 0 with a finding")
    assert doctor.run(arguments(json=True)) == 0
    (entry,) = json.loads(capsys.readouterr().out)["checks"]
    assert (entry["ok"], entry["findings"]) == (True, [])
    assert entry["notes"] == [{"what": "VMs are\ufffd emulated", "remedy": "buy another"}]
    pretend(monkeypatch, Check("preflight", "KVM", lambda _: [known, _finding("it is broken", "repair it")]))
    assert doctor.run(arguments()) == 1
    assert "1 checks, 1 with a finding" in capsys.readouterr().out


def _finding(what: str, remedy: str) -> Finding:
    return Finding(what, remedy)


def test_users_are_told_to_be_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert dispatch.main(["doctor"]) == 2
    assert "root" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        dispatch.main(["doctor", "--step", "nonsense"])
    assert ended.value.code == 2
