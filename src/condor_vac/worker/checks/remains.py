# SPDX-License-Identifier: GPL-3.0-or-later
"""What a crash or an attack leaves on a node: leases, exports, directories and VMs that do not belong together.

vac_watch removes most of it within a minute; what stays for longer is for an administrator to see.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat

from condor_vac import RUN_DIRECTORY
from condor_vac.base.errors import VacError
from condor_vac.base.findings import Finding
from condor_vac.base.shared import LEASE_PROGRAM, one_line
from condor_vac.worker import libvirt
from condor_vac.worker.checks.node import CONVERGE, TIMEOUT_SECONDS, Check, Node, replaceable
from condor_vac.worker.lease import nfs_exports
from condor_vac.worker.lease.store import DOMAIN_PATTERN, Lease, Store, boottime, is_uuid

# From its lease to its VM's start HTCondor has this long (JOB_START of the prepare hook and vm-gahp), and more.
STARTING_SECONDS = 1800
SUDOERS = "/etc/sudoers.d/condor_vac"
_LEASES = f"{RUN_DIRECTORY}/leases"
_HTTP = f"{RUN_DIRECTORY}/http"
_WATCH = "journalctl -u vac_watch says why it was not removed"
_MOST = 20


def leases(node: Node) -> tuple[list[Lease], list[Finding]]:
    """The leases that can be read, and a finding for each file that is none."""
    store = Store(node.path(RUN_DIRECTORY))
    good, bad = [], []
    for name in _listed(node, _LEASES):
        path = f"{_LEASES}/{name}"
        why = ""
        try:
            lease = store.by_uuid(name[: -len(".json")]) if is_uuid(name[: -len(".json")]) else None
            if lease is not None and not _has_types(lease):
                why = "not a lease: a value of the wrong type"
            elif lease is not None:
                good.append(lease)
            elif os.path.lexists(node.path(path)) and not name.startswith("."):
                why = "not a lease"
        except (VacError, RecursionError, AttributeError) as error:
            why = str(error).removeprefix(f"{node.path(path)}: ")
        if not why and os.path.lexists(node.path(path)):
            why = replaceable(node.path(path), node.owner)
        if why:
            bad.append(Finding(f"{path}: {one_line(why, 200)}", "remove it when no VM of it runs (virsh list)"))
    return good, bad


def _has_types(lease: Lease) -> bool:
    """Whether what is asked of a lease here can be asked."""
    texts = (lease.uuid, lease.domain, lease.sandbox, lease.address, lease.sharing, lease.joboutputs)
    directories = (lease.machinefeatures, lease.jobfeatures)
    return all(isinstance(text, str) for text in (*texts, *directories)) and isinstance(
        lease.created_boottime, (int, float)
    )


def lease_files(node: Node) -> list[Finding]:
    """Each file of the leases is one, and is root's; each lease has a VM, or had one or will have one soon."""
    good, found = leases(node)
    running = libvirt.active(TIMEOUT_SECONDS)
    for lease in good:
        age = boottime() - lease.created_boottime
        if lease.domain not in running and not lease.saved and not 0 <= age < STARTING_SECONDS:
            what = f"the lease {lease.uuid} of {lease.domain} has no VM"
            found.append(Finding(what, f"{_WATCH}; if its job is gone, remove {_LEASES}/{lease.uuid}.json"))
    return found


def vms(node: Node) -> list[Finding]:
    """Each VM that HTCondor started here has a lease; VMs of other names (OWNER_JOB) are the site's own."""
    known = {lease.domain for lease in leases(node)[0]}
    ours = tuple(f"{owner}_" for owner in node.settings.owners)
    return [
        Finding(f"VM {name} runs without a lease", f"if it is not needed: virsh destroy {name}")
        for name in sorted(libvirt.active(TIMEOUT_SECONDS))
        if name not in known and name.startswith(ours) and re.fullmatch(DOMAIN_PATTERN, name)
    ]


def exports(node: Node) -> list[Finding]:
    """Each lease whose VM runs has its exports, and nothing else is exported to VMs' addresses."""
    good = leases(node)[0]
    if "nfs" not in node.settings.sharing:
        return []
    running, exported = libvirt.active(TIMEOUT_SECONDS), nfs_exports.current()
    found = []
    for lease in good:
        missing = set(lease.exports()) - exported
        if lease.domain in running and missing:
            what = f"VM {lease.domain} has lost {len(missing)} of its NFS exports"
            found.append(Finding(what, "end the VM (condor_rm its job); new ones get theirs"))
    wanted = {export for lease in good for export in lease.exports()}
    subnet = ipaddress.ip_network(node.settings.subnet, strict=False)
    for stray in sorted(exported - wanted):
        if ipaddress.ip_address(stray.address) in subnet:
            remedy = f"exportfs -u {stray.address}:{stray.directory}; {_WATCH}"
            found.append(Finding(f"{stray.directory} is exported to {stray.address}, and no lease has it", remedy))
    return found[:_MOST]


def http_directories(node: Node) -> list[Finding]:
    """nginx shows directories to the addresses of leases, and nothing but directories that root made."""
    wanted = {lease.address for lease in leases(node)[0] if lease.by_http}
    found = []
    for name in _listed(node, _HTTP):
        path = f"{_HTTP}/{name}"
        if not stat.S_ISDIR(os.lstat(node.path(path)).st_mode):
            found.append(Finding(f"{path} is no directory, and nginx may serve it", f"remove it; {CONVERGE}"))
        elif name not in wanted:
            remedy = f"umount -l {path}/*; rmdir {path}/* {path}; {_WATCH}"
            found.append(Finding(f"nginx shows {path}, and no lease has this address", remedy))
        elif why := replaceable(node.path(path), node.owner):
            found.append(Finding(why, f"chown root and chmod go-w it; {CONVERGE}"))
    return found[:_MOST]


def sudoers_file(node: Node) -> list[Finding]:
    """The file that lets owners run vac_lease says that, and nothing else, and only root can change it."""
    path = node.path(SUDOERS)
    if not os.path.lexists(path):
        return []
    if os.path.islink(path):
        return [Finding(f"{SUDOERS} is a link, and not the file that the role wrote", f"remove it; {CONVERGE}")]
    why = replaceable(path, node.owner)
    found = [Finding(f"{why}: a user who can write it can become root", CONVERGE)] if why else []
    names = "|".join(map(re.escape, node.settings.owners))
    rule = rf"(?:(?:{names})(?:\s*,\s*)?)+\s+ALL\s*=\s*\(root\)\s*NOPASSWD:\s*{re.escape(LEASE_PROGRAM)}"
    lines = node.text(SUDOERS).replace("\\\n", " ").splitlines()
    for line in (line.strip() for line in lines):
        # An #include is no comment.
        if line and not re.fullmatch(rule, line) and not re.match(r"#(?!include|\d)", line):
            found.append(Finding(f"{SUDOERS} has another rule: {one_line(line, 200)}", CONVERGE))
    return found[:_MOST]


def _listed(node: Node, directory: str) -> list[str]:
    """The names in a directory, sorted; none where it is not there. Raises VacError."""
    try:
        return sorted(os.listdir(node.path(directory)))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise VacError(f"{directory}: {error.strerror}") from error


CHECKS = (
    Check("nfs", "leases", lease_files),
    Check("nfs", "VMs", vms),
    Check("nfs", "exports", exports),
    Check("http", "directories", http_directories),
    Check("sudoers", "sudo's file", sudoers_file),
)
