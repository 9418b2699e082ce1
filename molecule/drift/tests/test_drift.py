# SPDX-License-Identifier: GPL-3.0-or-later
"""What drifts is named by `verify` and fixed by one run, and no run ends a VM.

A stopped NFS server needs a kernel of its own: the scenario ``machine`` has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from boxes import COMPLETED, Box, of_clusters, working

from tests.lab import plays

WAIT_SECONDS = 700
# The VM waits for a task for longer than the runs of playbooks take, and gets one at the end.
WAITS = {"idle_seconds": "6000"}
# The playbook waits for no VM, and does not ask the VM to end before its work is done.
DRAIN = {"vacuum_drain_wait": 1, "vacuum_drain_notice": 7200}
FRAGMENT = "/etc/condor/config.d/50-vm-universe.config"
FOREIGN_RULE = "/etc/sudoers.d/90-site"
FOREIGN = "vac ALL = (root) NOPASSWD: /bin/sh"


@dataclass(frozen=True)
class Break:
    """One fault: how it is made, the check and the words by which `verify` names it, the task that repairs it."""

    script: str
    check: str
    words: str
    repair: str


SETTINGS = (
    "Write worker.json and http_proxy.json in /etc/condor_vac, vac_watch.*, vac_images.* and condor.service.d, "
    "and run libvirt and the watch"
)
PROGRAMS = "Install the programs"
CONFIGURATION = "Configure HTCondor's VM universe (/etc/condor/config.d/50-vm-universe.config)"
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
        "Forward IPv4 between the VMs' network and the world (/etc/sysctl.d/zz-condor_vac-ipv4.conf)",
    ),
    "forwarding off now": Break(
        "true",
        "now",
        "net.ipv4.ip_forward is 0",
        "Forward IPv4 between the VMs' network and the world (/etc/sysctl.d/zz-condor_vac-ipv4.conf)",
    ),
    "sudo rule widened": Break(
        "chmod u+w /etc/sudoers.d/condor_vac && echo 'vac ALL = (root) NOPASSWD: /usr/sbin/exportfs' "
        ">> /etc/sudoers.d/condor_vac && chmod 0440 /etc/sudoers.d/condor_vac",
        "sudo",
        "sudo lets vac run /usr/sbin/exportfs as well",
        "Let the owners of VM jobs run vac_lease as root, and nothing else (/etc/sudoers.d/condor_vac)",
    ),
    "hook world-writable": Break(
        "chmod 0777 /usr/local/libexec/vac_prepare_hook", "hooks", "vac_prepare_hook is world-writable", PROGRAMS
    ),
    "libvirt's hook removed": Break(
        "rm /etc/libvirt/hooks/qemu.d/condor_vac", "hooks", "qemu.d/condor_vac is missing", PROGRAMS
    ),
    "program edited": Break(
        "echo '# debugging' >> /usr/local/lib/condor_vac/current/condor_vac/worker/lease/grant.py",
        "programs",
        "condor_vac/worker/lease/grant.py",
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
        "Write /etc/condor_vac/nginx.conf, vac_http.socket and vac_http.service, and run the VMs' web server",
    ),
    "image unreadable": Break(
        "chmod 0600 /var/lib/condor_vac/images/*.iso",
        "images",
        "has mode 0600",
        "Install the images that VMs boot (in worker_image_dir)",
    ),
    "configuration edited": Break(
        f"echo 'VM_MAX_NUMBER = 4' >> {FRAGMENT}",
        "configuration",
        "VM_MAX_NUMBER is 4",
        CONFIGURATION,
    ),
    "running configuration": Break(
        # Made by the fixture `quiet`, before anything else, so that no VM starts while the rest is broken.
        "true",
        "configuration",
        "START is False",
        "Have HTCondor load its configuration (running jobs continue)",
    ),
}


def site(variables: Mapping[str, Any] | None = None, *words: str) -> plays.Play:
    """The site playbook on the box, whose factory stays held: other VMs would take the processors."""
    return plays.run_in_scenario(plays.SITE, {"factory_state": "held", **(variables or {})}, *words)


def verify(tmp: Path) -> tuple[plays.Play, dict[str, str]]:
    """What `verify` prints: the play, and what it found, in one text for each check that has a finding."""
    report = tmp / "report.json"
    play = plays.run_in_scenario(plays.VERIFY, {"vacuum_verify_json": str(report)})
    (node,) = json.loads(report.read_text()).values()
    found = {entry["check"]: "; ".join(item["what"] for item in entry["findings"]) for entry in node["checks"]}
    return play, {check: text for check, text in found.items() if text}


def process_of(box: Box, domain: str) -> str:
    """Pid and start time, in clock ticks, of a domain's QEMU."""
    return box.run(f"cut -d' ' -f1,22 /proc/$(pgrep -f '[g]uest={domain},')/stat")


def test_a_running_vm_lives_through_a_drain_and_new_hooks_and_configuration(box: Box) -> None:
    job = box.submit("survivor", options={**WAITS, "queue_url": box.queue("survivor")})
    state = box.until("the VM works", lambda now: any(working(one, now) for one in of_clusters(now, job)), WAIT_SECONDS)
    domain = of_clusters(state, job)[0]["domain"]
    before = process_of(box, domain)
    for what, words in {"drain": "1 job still runs: ", "undrain": "the drain cannot be cancelled"}.items():
        play = plays.run_in_scenario(plays.DRAIN, {"vacuum_drain": what, **DRAIN}, "--limit", "worker_node")
        assert play.status == 0, play.output
        assert words in " ".join(play.output.split()), play.output
    box.run("echo '# edited' >> /usr/local/libexec/vac_exit_hook")
    box.run("echo '# edited' >> /usr/local/lib/condor_vac/current/condor_vac/worker/vm/ending.py")
    play = site({"worker_status_interval": 45, "worker_watch_interval": 20, "vacuum_manage_pool": False})
    assert play.status == 0, play.output
    assert {PROGRAMS, SETTINGS, CONFIGURATION} <= play.changed()
    assert process_of(box, domain) == before
    box.add_task("survivor", 5)
    jobs = box.until("its end", lambda now: now["jobs"][f"{job}.0"]["JobStatus"] == COMPLETED, WAIT_SECONDS)["jobs"]
    ad = jobs[f"{job}.0"]
    assert (ad["ShutdownCode"], ad["NumJobStarts"]) == (200, 1)
    box.remove(job)


@pytest.fixture(scope="module")
def quiet(box: Box) -> Iterator[None]:
    """No VM runs, and none starts."""
    # By the signal: the machine's token, which condor_reconfig shows, is for less than that.
    box.run(f"echo 'START = False' >> {FRAGMENT} && pkill -HUP -x condor_master")
    box.clear()
    yield
    box.run(f"rm -f {FOREIGN_RULE} /etc/sysctl.d/zzz-site.conf")


@pytest.mark.usefixtures("quiet")
def test_each_fault_is_named_and_one_run_repairs_all_but_what_is_not_ours(box: Box, tmp_path: Path) -> None:
    for item in BREAKS.values():
        box.run(item.script)
    box.run(f"echo '{FOREIGN}' > {FOREIGN_RULE} && chmod 0440 {FOREIGN_RULE}")
    play, found = verify(tmp_path)
    assert play.status == 2
    assert play.changed() == set()
    unnamed = {name: item for name, item in BREAKS.items() if item.words not in found.get(item.check, "")}
    assert unnamed == {}, json.dumps(found, indent=1)
    assert "/bin/sh" in found["sudo"]

    repair = site()
    assert repair.status == 0, repair.output
    assert repair.changed() == {item.repair for item in BREAKS.values()}, repair.output
    assert f"{FOREIGN_RULE}:1 widens" in " ".join(repair.output.split())
    assert box.run(f"cat {FOREIGN_RULE}") == FOREIGN
    _, found = verify(tmp_path)
    assert list(found) == ["sudo"]
    assert "/bin/sh" in found["sudo"]
    box.run(f"rm {FOREIGN_RULE}")
    play, found = verify(tmp_path)
    assert (play.status, found) == (0, {})
