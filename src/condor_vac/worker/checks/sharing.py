# SPDX-License-Identifier: GPL-3.0-or-later
"""What VMs get from the node: NFS on their network only, leases through sudo, and images to boot from."""

from __future__ import annotations

import os
import pwd
import re
import stat
from collections.abc import Iterator

from condor_vac import RUN_DIRECTORY
from condor_vac.base import tools
from condor_vac.base.errors import VacError
from condor_vac.base.findings import Finding
from condor_vac.base.shared import LEASE_PROGRAM, one_line
from condor_vac.image import store as image_store
from condor_vac.worker import network as addresses
from condor_vac.worker import troubles
from condor_vac.worker.checks.node import CONVERGE, TIMEOUT_SECONDS, Check, Node, replaceable, unit_findings
from condor_vac.worker.lease.store import Store

_ANY = {"0.0.0.0", "*", "[::]", "::"}  # noqa: S104 - compared with, never bound to


def nfs_service(node: Node) -> list[Finding]:
    """The NFS server runs now and after a reboot, with rpcbind where version 3 needs it."""
    if "nfs" not in node.settings.sharing:
        return []
    found = unit_findings(node, "nfs-server.service")
    if "3" in node.settings.nfs_versions:
        found += unit_findings(node, "rpcbind.socket")
    return found


def nfs_serving(node: Node) -> list[Finding]:
    """The kernel serves the versions that VMs need, on the VMs' network and nowhere else."""
    if "nfs" not in node.settings.sharing:
        return []
    words = node.text("/proc/fs/nfsd/versions").split()
    served = {word[1:].partition(".")[0] for word in words if word.startswith("+")}
    missing = sorted({version.partition(".")[0] for version in node.settings.nfs_versions} - served)
    if missing:
        return [Finding(f"the kernel does not serve NFS version {' and '.join(missing)}", CONVERGE)]
    gateway = addresses.gateway(node.settings.subnet)
    output = tools.run(["ss", "-H", "-l", "-n", "-t", "sport", "=", ":2049"], timeout=TIMEOUT_SECONDS)
    listening = {line.split()[3].rpartition(":")[0] for line in output.splitlines() if len(line.split()) > 3}
    if gateway not in listening and not listening & _ANY:
        return [Finding(f"nothing serves NFS at {gateway}", "systemctl restart nfs-server")]
    others = sorted(listening - {gateway})
    if others:
        return [Finding(f"NFS is served at {', '.join(others)} as well, to others than the VMs", CONVERGE)]
    return []


def http_service(node: Node) -> list[Finding]:
    """The VMs' web server and its sockets are there now and after a reboot."""
    if "http" not in node.settings.sharing:
        return []
    return unit_findings(node, "vac_http.socket") + unit_findings(node, "vac_http.service")


def watched(node: Node) -> list[Finding]:
    """What vac_watch could not do in its last run, and the damaged leases that it put aside."""
    store = Store(node.path(RUN_DIRECTORY))
    remedy = "journalctl -u vac_watch.service has more"
    found = [Finding(one_line(line, 300), remedy) for line in troubles.read(store.run_directory)]
    aside = sorted(os.listdir(store.aside)) if os.path.isdir(store.aside) else []
    what = "was no lease any more; its VM was ended"
    return found + [
        Finding(f"{store.aside}/{name}: {what}", "look at the disk and memory, then remove it") for name in aside
    ]


def sudo(node: Node) -> list[Finding]:
    """Each owner of VM jobs may run vac_lease as root, without a password, and nothing else."""
    found = []
    for owner in node.settings.owners:
        try:
            pwd.getpwnam(owner)
        except KeyError:
            found.append(Finding(f"there is no user {owner}, who owns VM jobs", CONVERGE))
            continue
        output = tools.run(["sudo", "-n", "-ll", "-U", owner], timeout=TIMEOUT_SECONDS)
        rules = list(permissions(output))
        if not any(command == LEASE_PROGRAM for _users, command in rules):
            found.append(Finding(f"sudo does not let {owner} run {LEASE_PROGRAM}", CONVERGE))
        for place, command in rules:
            if command != LEASE_PROGRAM:
                what = f"sudo lets {owner} run {command} as well ({place})"
                found.append(Finding(what, f"remove that rule; if this collection wrote it, {CONVERGE}"))
    return found or _sudo_works(node)


def _sudo_works(node: Node) -> list[Finding]:
    """A harmless request as the first owner, the way that the hooks go."""
    owner = node.settings.owners[0]
    argv = ["runuser", "-u", owner, "--", "sudo", "-n", LEASE_PROGRAM, "list"]
    try:
        tools.run(argv, timeout=TIMEOUT_SECONDS)
    except tools.ToolError as error:
        return [Finding(f"vac_lease does not run for {owner}: {error}", f"look for requiretty; {CONVERGE}")]
    return []


def permissions(text: str) -> Iterator[tuple[str, str]]:
    """(where the rule is, command) of each command in what ``sudo -ll`` printed."""
    place, commands = "sudoers", False
    for line in text.splitlines():
        entry = re.match(r"(?:LDAP Role|SSSD Role|Sudoers entry):\s*(.*)$", line.strip())
        if entry:
            place, commands = entry.group(1) or "sudoers", False
        elif line.strip() == "Commands:":
            commands = True
        elif commands and line[:1] in {"\t", " "} and line.strip():
            yield place, line.strip()


def images(node: Node) -> list[Finding]:
    """The image directory is root's, and every user's VM can read what is in it."""
    directory = node.path(node.settings.image_dir)
    if not os.path.isdir(directory):
        return [Finding(f"there is no image directory {node.settings.image_dir}", CONVERGE)]
    why = replaceable(directory, node.owner)
    if why:
        return [Finding(f"VM images can be replaced: {why}", "chown root and chmod go-w it")]
    versions = os.path.join(directory, image_store.VERSIONS)
    found = _modes(directory) + (_modes(versions) if os.path.isdir(versions) else [])
    if not os.stat(directory).st_mode & stat.S_IXOTH:
        found.append(Finding(f"only root can enter {node.settings.image_dir}", "chmod 0755 it"))
    return found


def _modes(directory: str) -> list[Finding]:
    """What is wrong with the modes of the images in a directory; a name with a dot first is none."""
    found = []
    for name in sorted(name for name in os.listdir(directory) if not name.startswith(".")):
        status = os.lstat(os.path.join(directory, name))
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISREG(status.st_mode) and (mode & 0o022 or not mode & stat.S_IROTH):
            what = f"image {name[:80]!r} has mode {mode:04o}: VMs must be able to read it and only root to write it"
            found.append(Finding(what, "chmod 0644 it"))
    return found


def execute(node: Node) -> list[Finding]:
    """HTCondor's EXECUTE is the directory below which the hooks let anything be shared."""
    where = node.knobs.get("execute", "")
    if where != node.settings.execute:
        what = f"HTCondor's EXECUTE is {where}, and leases are only for {node.settings.execute}"
        return [Finding(what, "set worker_execute to HTCondor's EXECUTE")]
    if not os.path.isdir(node.path(where)):
        raise VacError(f"{where}: is not a directory; create it as HTCondor's package does")
    return []


CHECKS = (
    Check("nfs", "NFS server", nfs_service),
    Check("nfs", "what is served", nfs_serving),
    Check("http", "web server", http_service),
    Check("nfs", "VMs watched", watched),
    Check("sudoers", "sudo", sudo),
    Check("images", "images", images),
    Check("images", "sandboxes", execute),
)
