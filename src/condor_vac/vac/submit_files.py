# SPDX-License-Identifier: GPL-3.0-or-later
"""Submit files of VM-universe jobs such as HTCondorVMs' vm-atlas.sub, as the keys of a machinetype."""

from __future__ import annotations

import os
import re

from condor_vac.base.errors import UsageError
from condor_vac.base.shared import MACHINETYPE_NAME
from condor_vac.condor import submit_macros
from condor_vac.vac import judge
from condor_vac.vac.inventory_data import Imported
from condor_vac.vac.numbers import megabytes, whole_number
from condor_vac.vac.options import Converted

# What every VM job here sets by itself, or what the factory decides.
_OURS = frozenset(
    {
        "universe", "executable", "vm_type", "vm_networking", "vm_networking_type", "should_transfer_files",
        "when_to_transfer_output", "transfer_output_files", "transfer_output_remaps", "log", "output", "error",
        "notification", "leave_in_queue", "vm_no_output_vm", "accounting_group_user", "batch_name", "+hookkeyword",
        "+requiresvac", "+wantioproxy", "request_disk", "initialdir",
    }
)  # fmt: skip
# What these have to be here: every VM's job has it, whatever a machinetype says.
_FIXED = {
    "vm_type": ("kvm", "VMs are KVM's here"),
    "vm_networking": ("true", "every VM has a network here"),
    "vm_networking_type": ("nat", "VMs are in the network that the role worker makes on their node, behind NAT"),
    "should_transfer_files": ("yes", "files always go with the job here"),
    "+requiresvac": ("true", "every VM needs a worker node of this collection here"),
    "+hookkeyword": ("vac", "the hooks of this collection prepare every VM here"),
}
_LINES = {"accounting_group": "accounting_group", "requirements": "requirements", "rank": "rank"}
_CONTROL = ("periodic_remove", "periodic_hold", "on_exit_remove", "on_exit_hold", "max_retries")


def convert(path: str, text: str, imported: Imported) -> None:
    """Add the machinetype that the submit file gives. Raises UsageError for one that is no VM job's."""
    read = submit_macros.read(path, text)
    commands = {key: value for key, value in read.values.items() if key not in read.of_a_job or key in _OURS}
    if commands.get("universe", "").lower() != "vm":
        raise UsageError(f"{path}: neither Vac's configuration nor a submit file of the vm universe")
    name = _name(path, commands.get("executable", ""))
    if name in imported.machinetypes or name in imported.notes:
        raise UsageError(f"{path}: a second machinetype {name}; rename the file")
    if commands.get("vm_type", "kvm").lower() == "vmware":
        imported.note(
            name, "vm_type = vmware: VMs are KVM's here, which takes no .vmx file; the machinetype is left out"
        )
        return
    result = Converted({"kind": "cernvm"})
    base = os.path.dirname(os.path.abspath(path))
    base = os.path.join(base, commands.get("initialdir", ""))
    named = _files(commands, result, base)
    _sizes(commands, result)
    _same(commands, result)
    _others(commands, result, named, read.macros)
    for key in sorted(read.of_a_job - _OURS):
        result.ignored.append(f"{key} = {read.values[key][:80]}: not converted: it differs from job to job")
    result.notes.append("max_machines, max_idle, backoff_seconds: not in a submit file; see docs/machinetypes.md")
    reason = None if not {"image", "user_data"} <= set(result.keys) else judge.reason(name, result.keys)
    if reason is not None and not reason.startswith("image_format"):
        result.ignored.append(f"{reason}; the role refuses it as it is")
    imported.machinetypes[name] = result.keys
    imported.note(name, *result.ignored, *result.notes)


def _name(path: str, label: str) -> str:
    """The machinetype's name: the file's without vm- and suffix, or the label that stands as executable."""
    stem = os.path.splitext(os.path.basename(path))[0]
    for word in (stem, label):
        found = re.sub(r"[^a-z0-9-]+", "-", re.sub(r"^(vm|vac)[-_]", "", word.lower())).strip("-")
        if found and re.fullmatch(MACHINETYPE_NAME, found):
            return found
    raise UsageError(f"{path}: neither the file's name nor executable gives a name; rename the file to NAME.sub")


def _same(commands: dict[str, str], result: Converted) -> None:
    """Commands that mean the same here."""
    for key, ours in _LINES.items():
        if commands.get(key):
            result.keys[ours] = commands[key]
    lease = whole_number(commands.get("job_lease_duration", ""))
    if lease is not None:
        result.keys["job_lease_duration"] = lease
    if commands.get("vm_vnc", "").lower() == "true":
        result.keys["vnc"] = True
    if commands.get("+vacspace"):
        result.keys["space"] = _unquoted(commands["+vacspace"])


def _files(commands: dict[str, str], result: Converted, base: str) -> set[str]:
    """Image, user data and key; the base names of what is placed."""
    disks = [disk.split(":") for disk in commands.get("vm_disk", "").strip('"').split(",") if disk.strip()]
    named = set()
    if disks:
        image = disks[0][0].strip()
        result.keys["image"] = os.path.join(base, image)
        named.add(os.path.basename(image))
        if len(disks[0]) > 3 and not image.endswith(".iso") and disks[0][3].strip() in {"raw", "qcow2"}:
            result.keys["image_format"] = disks[0][3].strip()
    else:
        result.ignored.append("vm_disk: missing; set image")
    if len(disks) > 1:
        more = ", ".join(disk[0].strip() for disk in disks[1:])
        result.ignored.append(
            f"vm_disk: only the first disk is converted; set cvmfs_cache_gb and scratch_gb for {more}"
        )
    for key, ours in (("+userdata", "user_data"), ("+publickey", "root_public_key")):
        if commands.get(key):
            file = _unquoted(commands[key])
            result.keys[ours] = os.path.join(base, file)
            named.add(os.path.basename(file))
    if "user_data" not in result.keys:
        result.ignored.append("+UserData: missing; set user_data")
    return named


def _sizes(commands: dict[str, str], result: Converted) -> None:
    for keys, ours, read in (
        (("vm_memory", "request_memory"), "memory_mb", megabytes),
        (("vm_vcpus", "request_cpus"), "processors", whole_number),
    ):
        texts = [commands[key] for key in keys if commands.get(key)]
        numbers = [number for number in map(read, texts) if number is not None]
        if numbers:
            result.keys[ours] = numbers[0]
        elif texts:
            result.ignored.append(f"{keys[0]}: not converted: {texts[0][:40]!a} is not a whole number; set {ours}")


def _others(commands: dict[str, str], result: Converted, named: set[str], macros: frozenset[str]) -> None:
    used = _OURS | set(_LINES) | {
        "vm_disk", "vm_memory", "vm_vcpus", "request_memory", "request_cpus", "job_lease_duration", "vm_vnc",
        "+userdata", "+publickey", "+vacspace", "transfer_input_files",
    }  # fmt: skip
    files = [os.path.basename(part.strip()) for part in commands.get("transfer_input_files", "").strip('"').split(",")]
    for file in files:
        if file and file not in named:
            result.ignored.append(
                f"transfer_input_files: {file} is not converted; user_data_files put files into user data"
            )
    for key, value in commands.items():
        wanted, why = _FIXED.get(key, ("", ""))
        if wanted and _unquoted(value).lower() != wanted:
            result.ignored.append(f"{key} = {value[:80]}: not converted: {why}")
        if key in used or key in macros:
            continue
        why = "the factory decides it" if key in _CONTROL else "keep the file as submit_file if it is needed"
        result.ignored.append(f"{key} = {value[:80]}: not converted: {why}")


def _unquoted(text: str) -> str:
    return text.strip().strip('"')
