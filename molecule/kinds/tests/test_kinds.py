# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM of each kind from its job to its outputs; and what the node shares by HTTP, seen from the node."""

from __future__ import annotations

import os
import time

import pytest
from boxes import COMPLETED, Box, of_clusters
from kinds import OVER_HTTP, Vm

NAMES = pytest.mark.parametrize("name", list(OVER_HTTP))


@NAMES
def test_the_vm_ends_once_with_200(vms: dict[str, Vm], name: str) -> None:
    ad = vms[name].ended()
    assert ad["JobStatus"] == COMPLETED, ad
    assert (ad["ShutdownCode"], ad["ShutdownMessage"], ad["VacCause"]) == (200, "Success", "message")
    assert ad["NumJobStarts"] == 1
    print(f"{name}: 200 after {ad['VacRuntime']} s")


@NAMES
def test_mjf_check_passes_inside_the_vm(vms: dict[str, Vm], name: str) -> None:
    vms[name].ended()
    last = vms[name].output("joboutputs/vm-mjf-check.log").splitlines()[-1]
    assert last.startswith("0 errors, 0 warnings")
    assert "machinefeatures at http://169.254.169.253/machinefeatures" in last
    assert "mjf-check ended with 0" in vms[name].output("joboutputs/vm-pilot.log")


@NAMES
def test_metadata_names_the_vm(vms: dict[str, Vm], name: str) -> None:
    vms[name].ended()
    pilot = vms[name].output("joboutputs/vm-pilot.log")
    recorded = _value(pilot, "metadata's instance id: ")
    assert len(recorded) == 36
    assert _value(pilot, "jobfeature job_id = ") == recorded


def test_cloud_init_and_metadata_agree_on_the_instance_id(vms: dict[str, Vm]) -> None:
    vms["cloud-http"].ended()
    pilot = vms["cloud-http"].output("joboutputs/vm-pilot.log")
    assert _value(pilot, "cloud-init's instance id: ") == _value(pilot, "metadata's instance id: ")


def test_a_real_debian_ran_cloud_init(vms: dict[str, Vm]) -> None:
    vms["cloud-http"].ended()
    console = vms["cloud-http"].output("console.log")
    assert "Cloud-init v." in console
    assert "DataSourceNoCloud" in console


def test_nothing_of_them_is_left(box: Box, vms: dict[str, Vm]) -> None:
    clusters = [vm.cluster for vm in vms.values()]
    for vm in vms.values():
        vm.ended()
    box.until("their leases are gone", lambda now: not of_clusters(now, *clusters))
    leases = [one["address"] for one in box.state()["leases"] if one["sharing"] != "nfs"]
    assert sorted(box.run("ls /run/condor_vac/http").split()) == sorted(leases)
    assert len(box.run("grep -c /run/condor_vac/http/ /proc/self/mountinfo || true")) == (1 if not leases else 2)


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest/user-data", "http://169.254.169.253/joboutputs/"])
def test_an_address_without_a_lease_gets_403(box: Box, url: str) -> None:
    assert box.http_status(url) == "403"


def test_nginx_has_no_privileges(box: Box) -> None:
    main = box.run("systemctl show -p MainPID --value vac_http.service")
    status = dict(line.split(":\t", 1) for line in box.run(f"cat /proc/{main}/status").splitlines() if ":\t" in line)
    assert int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
    assert status["Uid"].split()[0] == box.run("id -u vac_http")
    hidden = box.run(f"nsenter -t {main} -m stat -c %a /var/lib/condor/execute")
    assert (hidden, box.run(f"nsenter -t {main} -m ls -A /var/lib/condor/execute")) == ("0", "")
    assert box.run(f"nsenter -t {main} -n ip -o link | wc -l") == "1"
    assert box.host.run("systemctl is-enabled nginx.service").stdout.strip() == "disabled"


def test_no_process_of_nginx_waits_for_a_connection(box: Box) -> None:
    """tests/integration/http shows what happens else; systemd says how it hands the sockets over."""
    main = box.run("systemctl show -p MainPID --value vac_http.service")
    for number in (3, 4):
        assert box.run(f"readlink /proc/{main}/fd/{number}").startswith("socket:")
        flags = int(box.run(f"sed -n 's/^flags:[[:space:]]*//p' /proc/{main}/fdinfo/{number}"), 8)
        assert flags & os.O_NONBLOCK


def test_a_restart_of_the_network_and_of_nginx_loses_nothing(box: Box, vms: dict[str, Vm]) -> None:
    for vm in vms.values():
        vm.ended()
    clusters = [vm.cluster for vm in vms.values()]
    box.until("no VM is on the network", lambda now: not now["domains"] or not of_clusters(now, *clusters))
    if not box.state()["domains"]:
        box.run("virsh -q net-destroy vac && virsh -q net-start vac")
    box.run("systemctl kill -s KILL vac_http.service")
    deadline = time.monotonic() + 300
    while (status := box.http_status("http://169.254.169.253/")) != "403":
        assert time.monotonic() < deadline, status
        time.sleep(2)


def _value(log: str, before: str) -> str:
    """What follows ``before`` on the line that has it."""
    return next(line.partition(before)[2] for line in log.splitlines() if before in line)
