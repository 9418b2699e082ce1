# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac doctor`` on a pretended node: one that is well, then each fault by itself, then hostile answers."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base import tools
from condor_vac.base.findings import Finding
from condor_vac.cli import dispatch, doctor
from condor_vac.worker.checks import host, remembered, sharing
from condor_vac.worker.checks import network as network_checks
from condor_vac.worker.checks.node import Check, Node
from condor_vac.worker.checks.table import CHECKS
from tests.unit.condor_vac.cli.pretended_node import (
    FILES,
    OWNER,
    PROGRAMS,
    SUDO,
    SYSCTL,
    UNIT,
    Pretended,
    findings,
)


def test_a_good_node_has_no_findings(node: Pretended) -> None:
    assert findings(node) == {}


def hook_mode(node: Pretended) -> None:
    (node.base / PROGRAMS[0].lstrip("/")).chmod(0o777)


def hook_directory(node: Pretended) -> None:
    (node.base / "usr/local/libexec").chmod(0o777)


def no_master(node: Pretended) -> None:
    node.master = {}
    node.units["condor.service"] = {**UNIT, "ActiveState": "inactive"}


def restart_waits(node: Pretended) -> None:
    node.slot.update(HasVM=False)
    node.retiring = [{"RemoteOwner": "batch@lab", "JobId": f"1.{number}", "JobUniverse": 5} for number in range(2)]


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
        lambda n: n.answers.update({"domstats": (0, f"Domain: '{OWNER}_9.0'\n  state.state=1\n")}),
        "nfs/VMs",
        f"VM {OWNER}_9.0 runs without a lease",
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
    "hook not loaded": (
        lambda n: n.units.update({"libvirtd.service": {**UNIT, "InactiveExitTimestampMonotonic": "1"}}),
        "hooks/libvirt's hook",
        "libvirtd.service runs since before /etc/libvirt/hooks/qemu.d/condor_vac was written",
    ),
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
    "nobody": (
        lambda n: n.access_point("192.0.2.7", UID_DOMAIN="nowhere.example.org"),
        "condor/owners of jobs",
        "the access point 192.0.2.7 is not in it",
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
    "startd that has not restarted": (
        restart_waits,
        "checks/VM universe",
        "until it has restarted, which waits for 2 jobs on this node to end",
    ),
    "memory": (lambda n: n.knobs.update(VM_MEMORY="2000"), "checks/VM universe", "VM_MEMORY is 2000"),
    "not in the pool": (
        lambda n: n.answers.update({"condor_status -json": (0, "")}),
        "checks/pool",
        "condor_status -vm does not show node1",
    ),
}


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert not report["good"], "an empty answer is not a good answer"


def test_no_tool_at_all_is_a_report_of_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "SYSTEM_PATH", f"{tmp_path}/none")
    report = doctor.examine(Node(str(tmp_path)), list(CHECKS))
    bad = [entry["check"] for entry in report["checks"] if not entry["ok"]]
    assert len(bad) > 15
    texts = [item["what"] for entry in report["checks"] for item in entry["findings"]]
    assert any("condor_who: not found" in text and "HTCondor is not installed here" in text for text in texts)
    assert any("virsh: not found" in text and "install the package that has it" in text for text in texts)
    assert all(item["remedy"] for entry in report["checks"] for item in entry["findings"])


def test_kvm_device_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    assert "no /dev/kvm" in host.kvm(Node(str(tmp_path)))[0].what
    (tmp_path / "dev/kvm").write_text("")
    assert "is a file, not a device" in host.kvm(Node(str(tmp_path)))[0].what


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
    return argparse.Namespace(**{"step": None, "json": False, "nagios": False, "textfile": None, **changes})


def pretend(monkeypatch: pytest.MonkeyPatch, *checks: Check) -> None:
    monkeypatch.setattr(doctor, "CHECKS", checks)
    monkeypatch.setattr(Node, "is_worker", True)
    monkeypatch.setattr(remembered, "leave", lambda *_: None)
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
    assert entry["notes"] == [{"what": "VMs are\ufffd emulated", "remedy": "buy another", "later": False}]
    pretend(monkeypatch, Check("preflight", "KVM", lambda _: [known, _finding("it is broken", "repair it")]))
    assert doctor.run(arguments()) == 1
    assert "1 checks, 1 with a finding" in capsys.readouterr().out


def _finding(what: str, remedy: str) -> Finding:
    return Finding(what, remedy)


def test_other_users_get_advice_to_be_root(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Node, "is_worker", True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert dispatch.main(["doctor"]) == 2
    assert "run it as root" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        dispatch.main(["doctor", "--step", "nonsense"])
    assert ended.value.code == 2


def test_a_machine_that_is_no_worker_node_gets_one_line(
    node: Pretended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Node(str(node.base)).is_worker
    # A single file that is gone is a finding of one check.
    (node.base / "etc/condor_vac/worker.json").unlink()
    assert Node(str(node.base)).is_worker
    (tmp_path / "laptop").mkdir()
    assert not Node(str(tmp_path / "laptop")).is_worker
    monkeypatch.setattr(doctor, "Node", lambda: Node(str(tmp_path / "laptop")))
    assert dispatch.main(["doctor", "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("condor_vac doctor: this machine is not a worker node; run this on one, or put it into")
    assert err.count("\n") == 1
