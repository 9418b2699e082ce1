# SPDX-License-Identifier: GPL-3.0-or-later
"""What drifts is named by `verify` and put right by one run, and no run ends a VM."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import testinfra

from tests.lab import plays

WAIT_SECONDS = 420
QUEUE = "http://127.0.0.1:8080/lab"
FRAGMENT = "/etc/condor/config.d/50-vm-universe.config"
FOREIGN_RULE = "/etc/sudoers.d/90-site"


@dataclass(frozen=True)
class Break:
    """One fault: how it is made, the check and the words by which `verify` names it, the task that repairs it."""

    script: str
    check: str
    words: str
    repair: str


SETTINGS = "Write the node's settings and units, and run libvirt and the watch"
PROGRAMS = "Install the programs"
BREAKS = {
    "libvirt disabled": Break(
        "systemctl disable libvirtd.service", "libvirt", "libvirtd.service does not start with the node", SETTINGS
    ),
    "order of HTCondor and libvirt": Break(
        "rm /etc/systemd/system/condor.service.d/50-vacuum.conf && systemctl daemon-reload",
        "HTCondor",
        "may start before libvirtd.service",
        SETTINGS,
    ),
    "HTCondor disabled": Break(
        "systemctl disable condor.service", "HTCondor", "condor.service does not start with the node", "Run HTCondor"
    ),
    "network undefined": Break(
        "virsh net-destroy vac && virsh net-undefine vac",
        "VMs' network",
        "libvirt has no network vac",
        "Define and start the VMs' network",
    ),
    "forwarding off, by a file that is read later": Break(
        "echo 'net.ipv4.ip_forward = 0' > /etc/sysctl.d/zzz-site.conf && sysctl -q -p /etc/sysctl.d/zzz-site.conf",
        "after a reboot",
        "/etc/sysctl.d/zzz-site.conf turns net.ipv4.ip_forward off at boot",
        "Forward IPv4 between the VMs' network and the world",
    ),
    "forwarding off now": Break(
        "true", "now", "net.ipv4.ip_forward is 0", "Forward IPv4 between the VMs' network and the world"
    ),
    "NFS server stopped": Break(
        "systemctl disable --now nfs-server.service",
        "NFS server",
        "nfs-server.service is inactive",
        "Run the NFS server on the VMs' network",
    ),
    "sudo rule widened": Break(
        "chmod u+w /etc/sudoers.d/condor_vac && echo 'vac ALL = (root) NOPASSWD: /usr/sbin/exportfs' "
        ">> /etc/sudoers.d/condor_vac && chmod 0440 /etc/sudoers.d/condor_vac",
        "sudo",
        "sudo lets vac run /usr/sbin/exportfs as well",
        "Let the owners of VM jobs run vac_lease as root, and nothing else",
    ),
    "hook world-writable": Break(
        "chmod 0777 /usr/local/libexec/vac_prepare_hook", "hooks", "vac_prepare_hook is world-writable", PROGRAMS
    ),
    "libvirt's hook removed": Break(
        "rm /etc/libvirt/hooks/qemu.d/condor_vac", "hooks", "qemu.d/condor_vac is missing", PROGRAMS
    ),
    "program edited": Break(
        "echo '# debugging' >> /usr/local/lib/condor_vac/current/condor_vac/lease.py",
        "programs",
        "condor_vac/lease.py",
        PROGRAMS,
    ),
    "settings edited": Break(
        "sed -i 's/^{/{\"grace_seconds\": 7,/' /etc/condor_vac/worker.json",
        "files",
        "/etc/condor_vac/worker.json was changed",
        SETTINGS,
    ),
    "watch disabled": Break(
        "systemctl disable --now vac_watch.timer", "watch", "vac_watch.timer is inactive", SETTINGS
    ),
    "web server stopped": Break(
        "systemctl disable --now vac_http.service",
        "web server",
        "vac_http.service is inactive",
        "Write and run the VMs' web server",
    ),
    "image unreadable": Break(
        "chmod 0600 /var/lib/condor_vac/images/*.iso", "images", "has mode 0600", "Keep the images that VMs boot"
    ),
    "configuration edited": Break(
        f"echo 'VM_MAX_NUMBER = 4' >> {FRAGMENT}",
        "configuration",
        "VM_MAX_NUMBER is 4",
        "Configure HTCondor's VM universe",
    ),
    "running configuration": Break(
        # Made by the fixture `quiet`, before anything else, so that no VM starts while the rest is broken.
        "true",
        "configuration",
        "START is False",
        "Let HTCondor take its configuration up (running VMs live on)",
    ),
}
# What a converge changes of itself while it repairs: libvirt looks for a hook that is new when it starts.
ALSO = {"Let libvirt find its first hook, which it looks for when it starts (running VMs live on)"}


@pytest.fixture(scope="module")
def box() -> Any:
    """The pool in a box."""
    uri = f"ansible://worker_node?ansible_inventory={os.environ['MOLECULE_INVENTORY_FILE']}"
    return testinfra.get_hosts([uri])[0]


def until(what: str, look: Callable[[], Any]) -> Any:
    """What *look* answers once that is something."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(3)
    return pytest.fail(f"{what}: not within {WAIT_SECONDS} s")


def verify(tmp: Path) -> tuple[plays.Play, dict[str, str]]:
    """What `verify` says: the play, and what it found, in one text for each check that has a finding."""
    report = tmp / "report.json"
    play = plays.run_in_scenario(plays.VERIFY, {"vacuum_verify_json": str(report)})
    (node,) = json.loads(report.read_text()).values()
    found = {entry["check"]: "; ".join(item["what"] for item in entry["findings"]) for entry in node["checks"]}
    return play, {check: text for check, text in found.items() if text}


def processes(box: Any) -> dict[str, str]:
    """Pid → start time, in clock ticks, of each QEMU process."""
    pids = box.run("pgrep -x -f '/usr/bin/qemu-system-x86_64.*'").stdout.split()
    stats = {pid: box.run(f"cut -d' ' -f22 /proc/{pid}/stat").stdout.strip() for pid in pids}
    return {pid: ticks for pid, ticks in stats.items() if ticks}


def test_a_running_vm_lives_through_new_hooks_and_configuration(box: Any) -> None:
    box.check_output(f"taskqueue add {QUEUE} 2 75")
    domain = until("a VM that runs", lambda: box.check_output("virsh list --name").split())[0]
    before = until("its process", lambda: processes(box))
    box.check_output("echo '# edited' >> /usr/local/libexec/vac_exit_hook")
    box.check_output("echo '# edited' >> /usr/local/lib/condor_vac/current/condor_vac/ending.py")
    play = plays.run_in_scenario(plays.SITE, {"worker_status_interval": 45, "worker_watch_interval": 20})
    assert play.status == 0, play.output
    assert {PROGRAMS, SETTINGS, "Configure HTCondor's VM universe"} <= play.changed()
    after = processes(box)
    assert before.items() <= after.items(), (before, after)
    job = domain.rpartition("_")[2]
    ads = until(
        f"the end of job {job}",
        lambda: json.loads(
            box.run(f"condor_q {job} -json -constraint 'JobStatus == 4'; condor_history {job} -json").stdout.strip()
            or "[]"
        ),
    )
    assert ads[0]["ShutdownCode"] == 200
    assert ads[0]["NumJobStarts"] == 1
    back = plays.run_in_scenario(plays.SITE)
    assert back.status == 0, back.output


@pytest.fixture(scope="module")
def quiet(box: Any) -> Iterator[None]:
    """No VM runs, and none starts."""
    box.check_output(f"echo 'START = False' >> {FRAGMENT} && condor_reconfig")
    box.check_output("condor_rm -constraint 'JobUniverse == 13 && JobStatus == 2' || true")
    until("no VM", lambda: not box.check_output("virsh list --name").split())
    yield
    box.run(f"rm -f {FOREIGN_RULE} /etc/sysctl.d/zzz-site.conf")


@pytest.mark.usefixtures("quiet")
def test_each_fault_is_named_and_one_run_repairs_all(box: Any, tmp_path: Path) -> None:
    for item in BREAKS.values():
        box.check_output(item.script)
    play, found = verify(tmp_path)
    assert play.status == 2
    assert play.changed() == set()
    unnamed = {name: item for name, item in BREAKS.items() if item.words not in found.get(item.check, "")}
    assert unnamed == {}, json.dumps(found, indent=1)

    repair = plays.run_in_scenario(plays.SITE)
    assert repair.status == 0, repair.output
    assert repair.changed() - ALSO == {item.repair for item in BREAKS.values()}, repair.output

    box.check_output("rm -f /etc/sysctl.d/zzz-site.conf")
    again = plays.run_in_scenario(plays.SITE)
    assert again.status == 0, again.output
    assert again.changed() <= {"Forward IPv4 between the VMs' network and the world"}
    play, found = verify(tmp_path)
    assert found == {}
    assert play.status == 0


@pytest.mark.usefixtures("quiet")
def test_what_is_not_ours_is_named_and_left_alone(box: Any, tmp_path: Path) -> None:
    box.check_output(f"echo 'vac ALL = (root) NOPASSWD: /bin/sh' > {FOREIGN_RULE} && chmod 0440 {FOREIGN_RULE}")
    play = plays.run_in_scenario(plays.SITE, None, "--tags", "worker_sudoers")
    assert play.status == 0
    assert f"{FOREIGN_RULE}:1 widens" in " ".join(play.output.split())
    assert play.changed() == set()
    _, found = verify(tmp_path)
    assert list(found) == ["sudo"]
    assert "/bin/sh" in found["sudo"]
    box.check_output(f"rm {FOREIGN_RULE}")
    play, found = verify(tmp_path)
    assert (play.status, found) == (0, {})
