# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker node as the roles set it up, from the processor to what the pool sees.

A container has neither KVM (as a rule) nor an NFS server of its own: there VMs are emulated and share by HTTP.
"""

from __future__ import annotations

import json
from typing import Any

import pytest


def knob(worker: Any, name: str) -> str:
    """A configuration variable as the node's HTCondor expands it."""
    return str(worker.check_output(f"condor_config_val {name}")).strip()


def slot(worker: Any) -> dict[str, Any]:
    """The node's partitionable slot as the pool's collector has it."""
    ads = json.loads(worker.check_output("condor_status -json -constraint 'PartitionableSlot =?= True'"))
    return next(ad for ad in ads if ad["Machine"].partition(".")[0] == worker.check_output("hostname -s"))


def test_the_processor_virtualises_or_the_site_has_vms_emulated(worker: Any, lab_kind: str) -> None:
    emulation = json.loads(worker.file("/etc/condor_vac/worker.json").content_string)["emulation"]
    assert emulation is (lab_kind == "container")
    assert worker.file("/dev/kvm").exists
    if not emulation:
        assert int(worker.check_output("grep -cwE 'svm|vmx' /proc/cpuinfo")) > 0
        assert worker.check_output("stat -c %F /dev/kvm") == "character special file"


@pytest.mark.parametrize("tool", ["virsh", "qemu-img", "qemu-system-x86_64", "nginx", "exportfs", "condor_vm-gahp"])
def test_what_vms_need_is_installed(worker: Any, tool: str) -> None:
    found = worker.run(f"PATH=$PATH:/usr/sbin:/usr/lib/condor/libexec:$(condor_config_val SBIN) command -v {tool}")
    assert found.rc == 0


def test_services_run_now_and_after_a_reboot(worker: Any, lab_kind: str) -> None:
    names = ["libvirtd", "condor", "vac_watch.timer", "vac_http.socket", "vac_http"]
    for name in [*names, "nfs-server"] if lab_kind == "machine" else names:
        service = worker.service(name)
        assert service.is_running, name
        assert service.is_enabled, name


def test_the_network_of_the_vms_is_up(worker: Any) -> None:
    info = worker.check_output("virsh net-info vac")
    for line in ("Active:         yes", "Autostart:      yes", "Bridge:         vac0"):
        assert line in info
    assert worker.interface("vac0").addresses[0] == "192.168.86.1"


def test_ip_forwarding_is_on_and_a_boot_turns_it_on(worker: Any) -> None:
    forward = worker.file("/proc/sys/net/ipv4/ip_forward")
    assert forward.content_string.strip() == "1"
    worker.check_output("echo 0 > /proc/sys/net/ipv4/ip_forward && /usr/lib/systemd/systemd-sysctl")
    assert forward.content_string.strip() == "1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VM_TYPE", "kvm"),
        ("VM_NETWORKING", "True"),
        ("VM_NETWORKING_TYPE", "nat"),
        ("VM_MAX_NUMBER", "0"),
        ("LIBVIRT_XML_SCRIPT", "/usr/local/libexec/libvirt_cernvm_script"),
        ("VAC_HOOK_PREPARE_JOB", "/usr/local/libexec/vac_prepare_hook"),
    ],
)
def test_the_vm_universe_is_configured(worker: Any, name: str, value: str) -> None:
    assert knob(worker, name) == value


def test_the_exit_hook_is_there_until_htcondor_runs_vms_twice_with_it(worker: Any) -> None:
    version = tuple(map(int, worker.check_output("condor_version").split()[1].split(".")))
    set_to = worker.run("condor_config_val VAC_HOOK_JOB_EXIT").stdout.strip()
    assert (set_to == "/usr/local/libexec/vac_exit_hook") is (version < (25, 4, 0)), (version, set_to)


def test_only_vacuum_vms_start(worker: Any) -> None:
    assert "RequiresVac =?= True" in knob(worker, "START")
    assert int(knob(worker, "VM_MEMORY")) > int(slot(worker)["TotalMemory"])


@pytest.mark.parametrize("name", ["libvirt_cernvm_script", "vac_prepare_hook", "vac_exit_hook", "vac_lease"])
def test_programs_are_in_place_and_python(worker: Any, name: str) -> None:
    program = worker.file(f"/usr/local/libexec/{name}")
    assert program.user == "root"
    assert program.mode == 0o755
    assert "python3" in program.content_string.splitlines()[0]


def test_the_running_startd_has_the_configuration(worker: Any) -> None:
    live = worker.check_output("condor_config_val -startd LIBVIRT_XML_SCRIPT")
    assert live == "/usr/local/libexec/libvirt_cernvm_script"


def test_the_owner_may_run_vac_lease_and_nothing_else(worker: Any) -> None:
    worker.check_output("visudo -c")
    assert worker.file("/etc/sudoers.d/condor_vac").mode == 0o440
    assert worker.run("runuser -u vac -- sudo -n /usr/local/libexec/vac_lease list").rc == 0
    for refused in ("/usr/sbin/exportfs -v", "/bin/sh -c id", "/usr/local/libexec/vac_watch"):
        assert worker.run(f"runuser -u vac -- sudo -n {refused}").rc != 0
    assert worker.run("runuser -u nobody -- sudo -n /usr/local/libexec/vac_lease list").rc != 0


def test_the_startd_reports_kvm(worker: Any) -> None:
    assert worker.run("grep -F \"VMType('kvm') is supported\" $(condor_config_val STARTD_LOG)").rc == 0


def test_the_pool_sees_the_vm_universe(worker: Any) -> None:
    ad = slot(worker)
    assert ad["HasVM"] is True
    assert ad["VM_Type"] == "kvm"
    offline = worker.check_output("condor_status -af VMOfflineReason -constraint 'PartitionableSlot =?= True'")
    assert set(offline.split()) == {"undefined"}
    assert worker.check_output("hostname -s") in worker.check_output("condor_status -vm")
