# SPDX-License-Identifier: GPL-3.0-or-later
"""The PREPARE_JOB hook: prepares a VM-universe job's sandbox for its VM, or reports why it cannot.

Runs as the job's user in the sandbox with the job ad on standard input. What it prints is merged into the
ad that vm-gahp and LIBVIRT_XML_SCRIPT get. On failure it prints HookStatusMessage and HookStatusCode: below
300 HTCondor holds the job (the job or machinetype is wrong), from 300 it runs it again (this node or this
moment is) (StarterHookMgr.cpp). An error that nobody thought of holds the job: it comes from what the job brought,
and a job that runs again would be back at once. Its environment holds session keys and is neither logged nor passed on.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import Universe, one_line
from condor_vac.condor import chirp
from condor_vac.condor.classads import AD_LIMIT, Ad
from condor_vac.worker import settings as settings_module
from condor_vac.worker import shutdown_plan
from condor_vac.worker.lease import client as lease_client
from condor_vac.worker.lease.store import Lease
from condor_vac.worker.vm import domain_xml, earlier_try, job_ad, preparation
from condor_vac.worker.vm.domain_xml import Host
from condor_vac.worker.vm.job_ad import JobAd

HOLD = 2
REQUEUE = 300


def main() -> int:
    """Entry point."""
    try:
        job = _job(sys.stdin.buffer.read(AD_LIMIT + 1).decode("utf-8", "replace"))
        if job is None:
            return 0
        sandbox = os.environ.get("_CONDOR_SCRATCH_DIR") or os.getcwd()
        ready = prepare(job, sandbox, os.environ.get("_CONDOR_CHIRP_CONFIG"))
    except Exception as error:  # noqa: BLE001  it becomes the reason of the job
        return _fail(*_verdict(error))
    print(f"VMPARAM_vm_Disk = {chirp.literal(','.join(disk.entry() for disk in ready.disks))}")
    return 0


def prepare(job: JobAd, sandbox: str, chirp_config: str | None) -> JobAd:
    """Get the lease, make what the VM needs, and build its domain to see that it can be built.

    Returns the job with the disks that its VM has; when it raises (UsageError, VacError), nothing is left.
    """
    check(job)
    settings = settings_module.of_this_node()
    when = shutdown_plan.known()
    if when is not None and when <= time.time():
        raise VacError("this node shuts down as planned; to start VMs run condor_vac shutdowntime cancel")
    earlier_try.wait(job.cluster, job.proc, sandbox, settings.execute)
    kind = preparation.machinetype_of(job, sandbox)
    job = preparation.with_images(job, settings)
    lease = lease_client.acquire(preparation.lease_request(job, kind, sandbox, chirp_config, settings))
    try:
        ready = preparation.prepare(job, kind, lease, settings)
        # Whether KVM works is for libvirt_cernvm_script, which is root: a VM that it refuses takes the node's VM
        # universe away, while a job that is refused here would come again at once, and again.
        domain_xml.build(ready, lease, settings, Host(os.uname().machine, kvm=True))
    except BaseException:
        _undo(lease)
        raise
    return ready


def check(job: JobAd) -> None:
    """Whether the VM's end can be seen in its job. Raises UsageError."""
    if not job.want_io_proxy:
        raise UsageError("WantIOProxy: must be true (+WantIOProxy = True): without it the ad gets no ShutdownCode")
    if job.no_output_vm:
        raise UsageError("vm_no_output_vm: must be false: HTCondor would delete the VM's outputs before they are sent")


def _job(text: str) -> JobAd | None:
    """The job of the ad, None if it is not for a VM; an ad that is wrong is wrong on every node. Raises UsageError."""
    try:
        ad = Ad(text, "job ad")
        return job_ad.from_ad(ad) if ad.value("JobUniverse") == Universe.VM else None
    except VacError as error:
        raise UsageError(str(error)) from error


def _undo(lease: Lease) -> None:
    """Remove everything; vac_watch does what fails here once the sandbox is gone, and the first error is reported."""
    with contextlib.suppress(VacError):
        preparation.clear(lease.sandbox)
    with contextlib.suppress(VacError):
        lease_client.release(lease.uuid)


def _verdict(error: Exception) -> tuple[int, str]:
    """What becomes of the job, and why."""
    if isinstance(error, VacError):
        return HOLD if isinstance(error, UsageError) else REQUEUE, str(error)
    if isinstance(error, OSError):
        return REQUEUE, f"{error.filename or 'this node'}: {error.strerror}"
    if isinstance(error, MemoryError):
        return REQUEUE, "this node has not enough memory"
    what = f"{type(error).__name__}: {error}"
    return HOLD, f"{what}; correct what came with the job, or report this as an error in condor_vac"


def _fail(code: int, reason: str) -> int:
    line = one_line(f"vac_prepare_hook: {reason}")
    print(f"HookStatusCode = {code}")
    print(f"HookStatusMessage = {chirp.literal(line)}")
    print(line, file=sys.stderr)
    return 1
