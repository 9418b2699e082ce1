# SPDX-License-Identifier: GPL-3.0-or-later
"""The validated view of a VM job's ad: what hooks and the domain XML may use of what a submitter wrote.

Everything in an ad may be hostile. What is not exactly what HTCondor and a vacuum VM need is refused with the
attribute's name; nothing is repaired, and nothing is evaluated (condor.classads). Attribute names are those of
HTCondor's condor_attributes.h and condor_vm_universe_types.h, formats those of its submit_utils.cpp and
vm_univ_utils.cpp.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from condor_vac.base import fields as f
from condor_vac.base.errors import VacError
from condor_vac.base.shared import USER_NAME
from condor_vac.condor.classads import Ad

# The formats of a VM's disk. The domain names one, so that QEMU never guesses it from the content.
FORMATS = ("raw", "qcow2")
_DEVICE = r"(hd[a-d]|(sd|vd|xvd)[a-z]{1,2})[0-9]{0,2}"
_USER = rf"{USER_NAME}(@[A-Za-z0-9_.-]{{1,99}})?"
_MAC = r"[0-9a-f]{2}(:[0-9a-f]{2}){5}"
_INT_MAX = 2**53


class Disk(NamedTuple):
    """One entry of VMPARAM_vm_Disk: ``file`` is absolute, or a bare name in the sandbox."""

    file: str
    device: str
    writable: bool
    format: str

    @property
    def cdrom(self) -> bool:
        """Whether it is an ISO image, which HTCondor's own script and HTCondorVMs give to the VM as a CD."""
        return self.file.lower().endswith(".iso")

    def entry(self) -> str:
        """The entry as HTCondor writes it, FILE:DEVICE:MODE:FORMAT."""
        return f"{self.file}:{self.device}:{'w' if self.writable else 'r'}:{self.format}"


class JobAd(NamedTuple):
    """A VM job's ad, checked. ``None`` stands for what the ad leaves out.

    Memory in MiB and disk in KiB, as HTCondor has them. ``processors`` and ``memory_mb`` are what the VM was
    asked to have, but never more than the slot gives. ``domain`` is the name that vm-gahp gives the VM and
    expects in the XML.
    """

    cluster: int
    proc: int
    owner: str
    user: str
    domain: str
    processors: int
    memory_mb: int
    request_cpus: int | None
    cpus_provisioned: int | None
    vcpus: int | None
    disks: tuple[Disk, ...]
    networking: bool
    mac: str | None
    vnc: bool
    working_dir: str | None
    user_data: str | None
    public_key: str | None
    space: str | None
    machinetype: str | None
    machinetype_file: str | None
    want_io_proxy: bool
    no_output_vm: bool


def parse(text: str, source: str = "job ad") -> JobAd:
    """The job in an ad of old syntax. Raises VacError: ``SOURCE: ATTRIBUTE: what it must be; what it is``."""
    return from_ad(Ad(text, source))


def from_ad(ad: Ad) -> JobAd:
    """The job in an ad that was read already, where a hook wants more of it. Raises VacError."""
    ad.check()
    count = f.integer(1, 1 << 24)
    user = _need(ad, "User", _user)
    cluster = _need(ad, "ClusterId", f.integer(1, _INT_MAX))
    proc = _need(ad, "ProcId", f.integer(0, _INT_MAX))
    vm_memory = _vm_memory(ad, count)
    cpus_provisioned = _get(ad, "CpusProvisioned", count)
    memory_provisioned = _get(ad, "MemoryProvisioned", count)
    vcpus = _get(ad, "JobVM_VCPUS", count)
    # What binds is JobVM_VCPUS, as for vm-gahp (vm_type.cpp); RequestCpus may then be an expression.
    request_cpus = None if vcpus is not None else _get(ad, "RequestCpus", count)
    asked = vcpus or request_cpus or 1
    job = JobAd(
        cluster=cluster,
        proc=proc,
        owner=_need(ad, "Owner", f.user_name),
        user=user,
        domain=f"{user.replace('@', '_')}_{cluster}.{proc}",
        processors=min(asked, cpus_provisioned or asked),
        memory_mb=min(vm_memory, memory_provisioned or vm_memory),
        request_cpus=request_cpus,
        cpus_provisioned=cpus_provisioned,
        vcpus=vcpus,
        disks=_need(ad, "VMPARAM_vm_Disk", parse_disks),
        networking=_flag(ad, "JobVMNetworking"),
        mac=_get(ad, "JobVM_MACADDR", _lower(_mac)),
        vnc=_flag(ad, "JobVMVNCConsole"),
        working_dir=_get(ad, "VM_WORKING_DIR", _directory),
        user_data=_get(ad, "UserData", f.file_name),
        public_key=_get(ad, "PublicKey", f.file_name),
        space=_get(ad, "VacSpace", f.space_name),
        machinetype=_get(ad, "VacMachinetype", f.machinetype_name),
        machinetype_file=_get(ad, "VacMachinetypeFile", f.file_name),
        want_io_proxy=_flag(ad, "WantIOProxy"),
        no_output_vm=_flag(ad, "VMPARAM_No_Output_VM"),
    )
    _check_what_htcondor_acts_on(ad)
    if _get(ad, "VMPARAM_VM_NAME", f.line()) not in {None, job.domain}:
        raise VacError(f"{ad.source}: VMPARAM_VM_NAME: must be {job.domain}, as HTCondor names this VM; remove it")
    return job


def parse_disks(value: Any) -> tuple[Disk, ...]:
    """The disks of a vm_disk value, ``FILE:DEVICE:MODE[:FORMAT],…``; the format is raw where it is left out.

    Never guessed from the contents: a guest could write a header there that names another file. Raises
    ValueError with what is wrong.
    """
    if not isinstance(value, str) or len(value) > 16384:
        raise ValueError("must be text such as /images/vm.iso:hda:r:raw")
    disks = tuple(_disk(entry) for entry in value.split(","))
    devices = [disk.device for disk in disks]
    for device in devices:
        if devices.count(device) > 1:
            raise ValueError(f"has two disks as {device}; give each its own device")
    return disks


def _disk(entry: str) -> Disk:
    parts = [part.strip() for part in entry.split(":")]
    if len(parts) not in {3, 4}:
        raise ValueError(f"entry {entry[:80]!a} must be FILE:DEVICE:MODE or FILE:DEVICE:MODE:FORMAT")
    file, device, mode = parts[0], parts[1].lower(), parts[2].lower()
    disk_format = parts[3].lower() if len(parts) == 4 else "raw"
    if not re.fullmatch(_DEVICE, device):
        raise ValueError(f"device {device[:20]!a} must be like hda, sda, vda or xvda")
    if mode not in {"r", "w", "rw"}:
        raise ValueError(f"mode {mode[:20]!a} must be r, w or rw")
    if disk_format not in FORMATS:
        raise ValueError(f"format {disk_format[:20]!a} must be one of {', '.join(FORMATS)}")
    return Disk((f.absolute_path if file.startswith("/") else f.file_name)(file), device, mode != "r", disk_format)


def _check_what_htcondor_acts_on(ad: Ad) -> None:
    """Attributes that are used by HTCondor alone. Raises VacError for a wrong one."""
    _need(ad, "Iwd", _directory)
    _need(ad, "JobVMType", _lower(f.one_of("kvm")))
    _get(ad, "JobVMNetworkingType", _lower(f.one_of("nat", "bridge")))


def _vm_memory(ad: Ad, check: f.Check) -> int:
    """JobVMMemory, or RequestMemory where it is missing, as vm-gahp does (vm_type.cpp)."""
    memory = _get(ad, "JobVMMemory", check)
    return int(memory if memory is not None else _need(ad, "RequestMemory", check))


def _need(ad: Ad, name: str, check: f.Check) -> Any:
    value = _get(ad, name, check)
    if value is None:
        raise VacError(f"{ad.source}: {name}: missing; a VM-universe job has it")
    return value


def _get(ad: Ad, name: str, check: f.Check) -> Any:
    value = ad.value(name)
    if value is None:
        return None
    try:
        return check(value)
    except ValueError as error:
        raise VacError(f"{ad.source}: {name}: {error}; it is {ascii(value)[:80]}") from error


def _flag(ad: Ad, name: str) -> bool:
    return bool(_get(ad, name, f.boolean))


def _lower(check: f.Check) -> f.Check:
    return lambda value: check(value.strip().lower() if isinstance(value, str) else value)


def _user(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(_USER, value):
        raise ValueError("must be USER@DOMAIN of letters, digits and . _ + -")
    return value


def _mac(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(_MAC, value):
        raise ValueError("must be a MAC address such as 52:54:00:12:34:56")
    return value


def _directory(value: Any) -> str:
    return str(f.absolute_path(value))
