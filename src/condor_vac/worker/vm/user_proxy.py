# SPDX-License-Identifier: GPL-3.0-or-later
"""The X.509 proxy that the factory made for a VM, as it came with the VM's job."""

from __future__ import annotations

import os
import time

from condor_vac.base import atomic
from condor_vac.base.errors import VacError
from condor_vac.base.x509 import library, moment_of, pem_blocks, utc
from condor_vac.model.machinetype import PROXY_NAME, Machinetype
from condor_vac.model.user_data import TEMPLATE_LIMIT


def take(m: Machinetype, sandbox: str) -> bytes:
    """The proxy in the sandbox (PEM); its file is removed, since the proxy is in the user data from here on.

    Raises VacError if there is none, or if it ends before a VM that starts now may.
    """
    path = f"{sandbox}/{PROXY_NAME}"
    pem = atomic.read(path, TEMPLATE_LIMIT)
    check_lifetime(pem, m, time.time())
    os.unlink(path)
    return pem


def check_lifetime(pem: bytes, m: Machinetype, now: float) -> None:
    """Whether the proxy that came with a job outlasts a VM that starts now. Raises VacError."""
    x509 = library("x509")
    try:
        certificate = x509.load_pem_x509_certificate(pem_blocks(pem, b"CERTIFICATE")[0])
    except (ValueError, IndexError) as error:
        raise VacError(f"{PROXY_NAME}: holds no certificate; did the factory make it?") from error
    ends = moment_of(certificate, "not_valid_after")
    if ends < now + m.max_wallclock_seconds:
        raise VacError(f"{PROXY_NAME}: ends {utc(ends)}, before this VM may; is the factory, which renews it, running?")
