# SPDX-License-Identifier: GPL-3.0-or-later
"""``libvirt_cernvm_script``: HTCondor's LIBVIRT_XML_SCRIPT, run by vm-gahp as root.

Standard input is the job's ad in old syntax with VM_WORKING_DIR and VMPARAM_VM_NAME; standard output is the
domain on one line that ends (vm-gahp drops an unterminated one). Exit code 0 always: on any other, vm-gahp
silently builds a domain of its own, which has neither filter nor owner. So a child describes the domain, and this
process prints that, or a refusal however the child ended. A module that cannot be imported is answered before that, by
the installed script (plugins/module_utils/_programs/entry_points.py).

The prepare hook has built the same domain before, so a job that must be refused does not get here; what fails here is
the node, and is shown as such (domain_xml.refusal). Whether KVM works is found out here only, since this program is
root.
"""

from __future__ import annotations

import sys

from condor_vac.base import apart
from condor_vac.base.errors import VacError
from condor_vac.base.shared import one_line
from condor_vac.condor.classads import AD_LIMIT
from condor_vac.worker import settings as settings_module
from condor_vac.worker.lease.store import Store
from condor_vac.worker.vm import domain_xml, job_ad
from condor_vac.worker.vm.domain_xml import Host

# The starter waits 300 s for vm-gahp (VM_GAHP_REQ_TIMEOUT).
SECONDS = 60.0
MEMORY_BYTES = 1 << 30
_LOG_SECONDS = 10
_LOG_LIMIT = 1000


def main() -> int:
    """Entry point; 0 always."""
    try:
        text = apart.text_of(_described, seconds=SECONDS, memory_bytes=MEMORY_BYTES)
    except VacError as error:
        print(domain_xml.refusal(str(error)), flush=True)
        reason = one_line(str(error), _LOG_LIMIT)
        print(f"libvirt_cernvm_script: {reason}", file=sys.stderr)
        # Apart, since a log that takes nothing would hold vm-gahp.
        apart.leave(lambda: _log(reason), seconds=_LOG_SECONDS)
    else:
        print(text, flush=True)
    return 0


def describe(ad: bytes, store: Store) -> str:
    """The domain's XML for the job in ``ad``. Raises VacError."""
    if len(ad) > AD_LIMIT:
        raise VacError(f"job ad: more than {AD_LIMIT} bytes")
    job = job_ad.parse(ad.decode("utf-8", "replace"))
    lease = store.by_domain(job.domain)
    if lease is None:
        raise VacError(f"{job.domain}: no lease on this node; its hooks did not run; condor_vac doctor checks them")
    settings = settings_module.of_this_node()
    return domain_xml.build(job, lease, settings, Host.here(emulation=settings.emulation))


def _described() -> str:
    return describe(sys.stdin.buffer.read(AD_LIMIT + 1), Store())


def _log(reason: str) -> None:
    import syslog  # noqa: PLC0415 - for refusals alone

    syslog.openlog("condor_vac", syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_ERR, f"libvirt_cernvm_script: {reason}")
