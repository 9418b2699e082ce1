# SPDX-License-Identifier: GPL-3.0-or-later
"""A user data template that an experiment publishes at a URL, read again before VMs start.

HTCondor transfers a VM's input files when the VM starts, not when it is submitted. So the factory keeps the
file that is transferred up to date while VMs are to be submitted or wait: each VM begins with what was at the
URL not longer than a cycle before, one request serves all VMs of a machinetype, and worker nodes need no way
to the experiment's server. Vac asks for each VM instead (vacutils.py, createUserData).
"""

from __future__ import annotations

import os

from condor_vac.base import cached_fetch, http_proxy_file, public_hosts, urls
from condor_vac.base.errors import VacError
from condor_vac.base.fetch import Access, Limits
from condor_vac.base.x509 import grid_ca
from condor_vac.model import user_data
from condor_vac.model.machinetype import TEMPLATE_COPY, Machinetype

# The module machinetype writes NAME.http_proxy beside NAME.json.
PROXY_SUFFIX = ".http_proxy"
LIMITS = Limits(bytes=user_data.TEMPLATE_LIMIT, seconds=30, idle_seconds=10)


def refresh(m: Machinetype, directory: str, proxy_file: str | None = None) -> list[str]:
    """Bring the copy in the state directory up to date, if ``user_data`` is a URL; sentences for the log.

    ``proxy_file`` holds the site's HTTP proxy, if there is one. Raises VacError when there is nothing that the site
    would let a VM start with.
    """
    if not urls.is_url(m.user_data):
        return []
    path = os.path.join(directory, TEMPLATE_COPY)
    keep = m.user_data_last_good_seconds
    try:
        proxy = http_proxy_file.load_if_there(proxy_file) if proxy_file else None
        of_pipe = m.pipe_urls.get("user_data")
        private_hosts = None if of_pipe is None else public_hosts.named(of_pipe)
        access, check = Access(grid_ca(), proxy, private_hosts), user_data.check_template
        copy = cached_fetch.latest(m.user_data, path, LIMITS, keep_seconds=keep, check=check, access=access)
    except VacError as error:
        raise VacError(f"user_data: {error}") from error
    if copy.problem is None:
        return []
    return [f"user_data: using the copy of {copy.age:.0f} s ago (at most {keep} s): {copy.problem}"]


def proxy_file(machinetype_file: str) -> str:
    """Where a machinetype's HTTP proxy is: beside its file, so that no VM job takes it along."""
    return os.path.splitext(machinetype_file)[0] + PROXY_SUFFIX
