# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM gets before it starts: features, user data, context and disks, made as the job's user.

A machinetype's file and everything it names came with the job, so they are looked for in the sandbox by
their base names. An ad of HTCondorVMs, which has no machinetype, gets one made of its attributes and defaults.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from condor_vac import __version__
from condor_vac.base import atomic, urls
from condor_vac.base.errors import UsageError, VacError
from condor_vac.image import store as image_store
from condor_vac.model import machinetype, machinetype_keys, user_data
from condor_vac.model.machinetype import Machinetype
from condor_vac.worker import shutdown_plan
from condor_vac.worker.lease.requests import AcquireRequest
from condor_vac.worker.lease.store import CONSOLE_NAME, Lease
from condor_vac.worker.settings import Settings
from condor_vac.worker.vm import context, disks, domain_xml, features, guest_script, iso, outputs
from condor_vac.worker.vm.guest_script import Guest
from condor_vac.worker.vm.job_ad import Disk, JobAd

# Where CernVM's amiconfig looks for a context, and where HTCondorVMs has it.
CONTEXT_DEVICE = "hdd"
# The machinetype of their jobs, which have none.
HTCONDORVMS = "htcondorvms"
_MIB = 1 << 20
_GIB = 1 << 30


def machinetype_of(job: JobAd, sandbox: str) -> Machinetype:
    """The machinetype of the job: from the file that came with it, or from an ad of HTCondorVMs. Raises UsageError."""
    if job.machinetype_file is not None:
        return machinetype.load(f"{sandbox}/{job.machinetype_file}")
    if job.user_data is None:
        raise UsageError("job ad: UserData: missing; name the user data file (+UserData) or a machinetype")
    boot = job.disks[0]
    described = {
        "name": job.machinetype or HTCONDORVMS,
        "owner": job.owner,
        "kind": "cernvm",
        "image": _in_sandbox(boot.file, sandbox),
        "image_format": "iso" if boot.cdrom else boot.format,
        "processors": job.processors,
        "memory_mb": job.memory_mb,
        "user_data": f"{sandbox}/{job.user_data}",
        "root_public_key": None if job.public_key is None else f"{sandbox}/{job.public_key}",
        "space": job.space,
    }
    return Machinetype.from_mapping(described, "job ad")


def with_images(job: JobAd, settings: Settings) -> JobAd:
    """The job with the versions that its images have now: a newer one must not come between two steps."""
    disks = (disk._replace(file=image_store.resolved(disk.file, settings.image_dir)) for disk in job.disks)
    return job._replace(disks=tuple(disks))


def lease_request(
    job: JobAd, kind: Machinetype, sandbox: str, chirp_config: str | None, settings: Settings
) -> AcquireRequest:
    """What vac_lease is asked for."""
    versions = (image_store.version_of(disk.file, settings.image_dir) for disk in job.disks)
    return AcquireRequest(
        sandbox=sandbox,
        domain=job.domain,
        sharing=kind.sharing,
        machinetype=kind.name,
        chirp_config=chirp_config,
        fizzle_seconds=kind.fizzle_seconds,
        max_wallclock_seconds=kind.max_wallclock_seconds,
        heartbeat_file=kind.heartbeat_file,
        heartbeat_seconds=kind.heartbeat_seconds,
        evidence_cpu_fraction=kind.evidence_cpu_fraction,
        images=tuple(version for version in versions if version is not None),
    )


def prepare(job: JobAd, kind: Machinetype, lease: Lease, settings: Settings) -> JobAd:
    """Make everything; returns the job with the disks that its VM has. Raises VacError."""
    _write_features(job, kind, lease, settings)
    # HTCondor holds a job whose transfer_output_files are not all there, whatever the VM did.
    atomic.write(f"{lease.sandbox}/{CONSOLE_NAME}", b"")
    if job.machinetype_file is None:
        _seed_outputs(lease.sandbox)
    guest = _guest(job, kind, lease, settings)
    data = _user_data(job, kind, lease, settings)
    iso.make(f"{lease.sandbox}/{disks.CONTEXT_NAME}", context.files(kind.kind, guest, data), context.LABELS[kind.kind])
    if lease.by_http:
        _write_metadata(context.metadata(guest, kind.name, _space(job, kind, settings), data), lease)
    return job._replace(disks=_disks(job, kind, lease, settings))


def _seed_outputs(sandbox: str) -> None:
    """HTCondorVMs' submit files have machineoutputs/vm-bootstrap.log and vm-pilot.log sent back."""
    try:
        os.symlink(outputs.NAME, f"{sandbox}/{outputs.HTCONDORVMS_NAME}")
    except FileExistsError as error:
        raise UsageError(f"{outputs.HTCONDORVMS_NAME}: already exists; it must not be among the job's files") from error
    except OSError as error:
        raise VacError(f"{outputs.HTCONDORVMS_NAME}: cannot make it: {error.strerror}") from error


def clear(sandbox: str) -> None:
    """Remove what ``prepare`` made that is big or secret; the rest leaves with the sandbox."""
    try:
        fd = os.open(sandbox, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise VacError(f"{sandbox}: {error.strerror}") from error
    try:
        disks.remove(fd)
    finally:
        os.close(fd)


def _write_features(job: JobAd, kind: Machinetype, lease: Lease, settings: Settings) -> None:
    hs06 = kind.hs06
    if hs06 is None and settings.hs06_per_processor is not None:
        hs06 = machinetype_keys.hs06(settings.hs06_per_processor, job.processors)
    vm = features.Vm(
        uuid=lease.uuid,
        machinetype=kind.name,
        processors=job.processors,
        memory_bytes=job.memory_mb * _MIB,
        scratch_bytes=kind.scratch_gb * _GIB,
        started=int(time.time()),
        wall_limit_secs=kind.max_wallclock_seconds,
        grace_secs=settings.grace_seconds,
        space=_space(job, kind, settings),
        hs06=hs06,
        shutdowntime=shutdown_plan.known(),
    )
    features.write(lease.machinefeatures, features.machine_features(vm, kind.machinefeatures))
    features.write(lease.jobfeatures, features.job_features(vm, kind.jobfeatures))


def _write_metadata(files: Mapping[str, bytes], lease: Lease) -> None:
    """In a directory whose group is nginx's and passes on to its files: they may hold secrets."""
    for name, data in files.items():
        atomic.write(f"{lease.metadata}/{name}", data, mode=0o640)


def _guest(job: JobAd, kind: Machinetype, lease: Lease, settings: Settings) -> Guest:
    name = job.public_key
    if name is None and kind.root_public_key is not None:
        name = os.path.basename(kind.root_public_key)
    key = None if name is None else atomic.read(f"{lease.sandbox}/{name}", context.KEY_LIMIT)
    return Guest(
        uuid=lease.uuid,
        hostname=lease.hostname,
        mac=lease.mac,
        gateway=lease.gateway,
        sharing=lease.sharing,
        machinefeatures=lease.machinefeatures,
        jobfeatures=lease.jobfeatures,
        joboutputs=lease.joboutputs,
        nfs_versions=settings.nfs_versions,
        root_public_key=key,
    )


def _user_data(job: JobAd, kind: Machinetype, lease: Lease, settings: Settings) -> bytes:
    name = job.user_data or os.path.basename(kind.user_data_file)
    template = atomic.read(f"{lease.sandbox}/{name}", user_data.TEMPLATE_LIMIT)
    user_data.check_template(template)
    places = guest_script.urls(lease.sharing)
    platform = {
        "space": _space(job, kind, settings),
        "site": settings.site,
        "url": kind.user_data if urls.is_url(kind.user_data) else None,
        "machinetype": kind.name,
        "machine_hostname": lease.hostname,
        "manager_version": f"condor_vac-{__version__}",
        "manager_hostname": os.uname().nodename,
        "uuid": lease.uuid,
        "machinefeatures_url": places["machinefeatures"],
        "jobfeatures_url": places["jobfeatures"],
        "joboutputs_url": places["joboutputs"],
    }
    values = user_data.Values(
        {key: value.encode() for key, value in platform.items() if value is not None},
        {**{key: value.encode() for key, value in kind.user_data_options.items()}, **_proxy(kind, lease.sandbox)},
        _files(kind.user_data_files, lease.sandbox),
    )
    return user_data.render(template, values).data


def _proxy(kind: Machinetype, sandbox: str) -> dict[str, bytes]:
    """The option that holds the VM's proxy, if its machinetype gives it one."""
    if not kind.user_data_proxy:
        return {}
    from condor_vac.worker.vm import user_proxy  # noqa: PLC0415 - 1.6 ms of 27, for few machinetypes

    return {"x509_proxy": user_proxy.take(kind, sandbox)}


def _files(paths: Mapping[str, str], sandbox: str) -> dict[str, bytes]:
    return {
        key: atomic.read(f"{sandbox}/{os.path.basename(path)}", user_data.TEMPLATE_LIMIT) for key, path in paths.items()
    }


def _space(job: JobAd, kind: Machinetype, settings: Settings) -> str | None:
    return kind.space or job.space or settings.space


def _disks(job: JobAd, kind: Machinetype, lease: Lease, settings: Settings) -> tuple[Disk, ...]:
    """The job's own disks, an overlay where a site's image is to be written to, then cache, scratch, context.

    The cache is the first free virtio disk and the scratch space the one after, as in HTCondorVMs (vda, vdb).
    """
    result = [_own_disk(disk, lease.sandbox, settings) for disk in job.disks]
    taken = {disk.device for disk in result}
    free = (name for name in (f"vd{letter}" for letter in "abcdefgh") if name not in taken)
    wanted = ((disks.CACHE_NAME, kind.cvmfs_cache_gb), (disks.SCRATCH_NAME, kind.scratch_gb))
    for name, size in wanted:
        device = next(free)
        if size > 0:
            result.append(Disk(disks.make_sparse(lease.sandbox, name, size), device, True, "raw"))
    if CONTEXT_DEVICE in taken:
        raise UsageError(f"vm_disk: {CONTEXT_DEVICE}: reserved for the context; give that disk another device")
    result.append(Disk(f"{lease.sandbox}/{disks.CONTEXT_NAME}", CONTEXT_DEVICE, False, "raw"))
    return tuple(result)


def _own_disk(disk: Disk, sandbox: str, settings: Settings) -> Disk:
    """An image of the site that the VM boots from is never written to: its VM gets an overlay."""
    disk = disk._replace(file=_in_sandbox(disk.file, sandbox))
    if disk.cdrom or disk.writable or not disk.file.startswith(settings.image_dir + "/"):
        return disk
    # Before qemu-img opens whatever the image names.
    domain_xml.locate(disk, sandbox, settings.image_dir)
    return disk._replace(file=disks.make_overlay(sandbox, disk.file, disk.format), writable=True, format="qcow2")


def _in_sandbox(file: str, sandbox: str) -> str:
    return file if file.startswith("/") else f"{sandbox}/{file}"
