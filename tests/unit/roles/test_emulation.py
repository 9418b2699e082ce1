# SPDX-License-Identifier: GPL-3.0-or-later
"""What the worker role makes of worker_emulation: a setting of the node, and a file where there is no /dev/kvm."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from condor_vac.base.shared import KVM_DEVICE
from condor_vac.worker import kvm_device, settings
from tests.unit.roles.test_platforms import ROLES, resolve

LINES = "f /dev/kvm 0600 root root\nz /dev/kvm 0600 root root\n"


def load(path: str) -> Any:
    """A file of the worker role."""
    return yaml.safe_load((ROLES / "worker" / path).read_text())


def task(path: str, module: str) -> dict[str, Any]:
    """The task of a file that calls this module."""
    found: dict[str, Any] = next(entry for entry in load(f"tasks/{path}") if module in entry)
    return found


# The template of the settings file; the other files are made by lookups.
SETTINGS = load("vars/main.yml")["worker_files"][settings.PATH]


@pytest.mark.parametrize(("given", "emulation"), [(True, True), (False, False), ("true", True), ("no", False)])
def test_the_setting_reaches_the_nodes_settings(given: Any, emulation: bool) -> None:
    described = json.loads(resolve("debian13", SETTINGS, worker_emulation=given))
    assert settings.from_mapping(described, "worker.json").emulation is emulation


def test_without_being_asked_no_vm_is_emulated() -> None:
    assert json.loads(resolve("debian13", SETTINGS))["emulation"] is False


@pytest.mark.parametrize(
    ("emulation", "present", "written"),
    [
        (True, False, True),
        ("yes", False, True),
        (True, True, False),
        (False, False, False),
        ("false", False, False),
        (False, True, False),
    ],
)
def test_a_file_stands_in_for_a_device_that_is_not_there(emulation: Any, present: bool, written: bool) -> None:
    known = {"worker_emulation": emulation, "worker_virtualization": {"device": {"present": present}}}
    files = {kvm_device.PLACEHOLDER: LINES} if written else {}
    assert resolve("debian13", "{{ worker_kvm_files }}", **known) == files
    services = task("services.yml", "vacuum.htcondor.node_files")["vacuum.htcondor.node_files"]
    assert resolve("debian13", services["absent"], **known) == ([] if written else [kvm_device.PLACEHOLDER])
    # The templates of the others are not what is tested here.
    known["worker_files"] = {"/etc/x": "y"}
    assert resolve("debian13", services["files"], **known) == {"/etc/x": "y", **files}
    known.update(worker_fragment="VM_TYPE = kvm", worker_http_files={})
    assert (kvm_device.PLACEHOLDER in resolve("debian13", "{{ worker_recorded }}", **known)) is written


def test_libvirts_user_never_has_access_to_what_stands_in_for_the_device() -> None:
    known = {"worker_emulation": True, "worker_virtualization": {"device": {"present": False}}}
    for line in resolve("debian13", "{{ worker_kvm_files }}", **known)[kvm_device.PLACEHOLDER].splitlines():
        _, path, mode, user, group = line.split()
        assert (path, user, group) == (KVM_DEVICE, "root", "root")
        assert int(mode, 8) & 0o077 == 0
    # systemd gives the path to the group kvm, by a z line: of several, that of the last file counts.
    assert kvm_device.PLACEHOLDER.rpartition("/")[2] > "static-nodes-permissions.conf"


def test_preflight_looks_with_the_permission_and_before_each_step_that_asks_it() -> None:
    look = task("preflight.yml", "vacuum.htcondor.virtualization_info")
    given = look["vacuum.htcondor.virtualization_info"]["emulation"]
    assert [resolve("debian13", given, worker_emulation=value) for value in (True, False)] == [True, False]
    entries = [entry for entry in load("tasks/main.yml") if "ansible.builtin.import_tasks" in entry]
    steps = {entry["ansible.builtin.import_tasks"]: entry["tags"] for entry in entries}
    asking = [name for name in steps if "worker_recorded" in (ROLES / "worker" / "tasks" / name).read_text()]
    assert sorted(tag for name in asking for tag in steps[name]) == sorted(look["tags"])
