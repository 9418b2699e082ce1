# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# Made from src/condor_vac/base/shared.py by python -m tests.shared_file: change that file, not this one.
"""Names, paths, numbers and rules of text that the programs of the pool and the Ansible plugins share.

The plugins have a copy, ``plugins/module_utils/_shared.py``, because they run where ``condor_vac`` is not installed:
``python -m tests.shared_file`` writes it, a unit test compares. Standard library only, and little of that: a VM waits
for programs that import this.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping


class Universe:
    """HTCondor's numbers of universes, JobUniverse of an ad."""

    VANILLA = 5
    SCHEDULER = 7
    VM = 13


class JobStatus:
    """HTCondor's numbers of a job's states, JobStatus of an ad."""

    IDLE = 1
    RUNNING = 2
    REMOVED = 3
    COMPLETED = 4
    HELD = 5
    TRANSFERRING = 6
    SUSPENDED = 7


# JobStatus → the word for it.
STATUS_WORDS: Mapping[int, str] = {
    JobStatus.IDLE: "idle",
    JobStatus.RUNNING: "running",
    JobStatus.REMOVED: "removed",
    JobStatus.COMPLETED: "completed",
    JobStatus.HELD: "held",
    JobStatus.TRANSFERRING: "transferring",
    JobStatus.SUSPENDED: "suspended",
}

# A node's planned shutdown in its slots' ads (Unix s): vac_watch writes it, the requirements of VMs' jobs read it.
SHUTDOWN_ATTRIBUTE = "VacShutdownTime"
# The names of a node's images in its slots' ads, with commas between them, also by vac_watch.
IMAGES_ATTRIBUTE = "VacImages"
# How many checks of the node's last condor_vac doctor had findings, if any had, in its slots' ads; also by vac_watch.
FINDINGS_ATTRIBUTE = "VacFindings"
# What HTCondor reads as a truth value in its configuration, in lower case (string_is_boolean_param in
# condor_utils/condor_config.cpp).
CONDOR_TRUE = frozenset({"true", "t", "yes", "y", "1"})
CONDOR_FALSE = frozenset({"false", "f", "no", "n", "0"})

# What the module programs installs: the programs, the directory of their trees, and SHA-256 of each program by path.
CLI = "/usr/local/bin/condor_vac"
FACTORY_PROGRAM = "/usr/local/libexec/vac_factory"
PREPARE_HOOK = "/usr/local/libexec/vac_prepare_hook"
EXIT_HOOK = "/usr/local/libexec/vac_exit_hook"
XML_SCRIPT = "/usr/local/libexec/libvirt_cernvm_script"
LEASE_PROGRAM = "/usr/local/libexec/vac_lease"
WATCH_PROGRAM = "/usr/local/libexec/vac_watch"
LIBVIRT_HOOK = "/etc/libvirt/hooks/qemu.d/condor_vac"
TREES = "/usr/local/lib/condor_vac"
ENTRY_POINTS_RECORD = f"{TREES}/entry_points.json"
# The tree in use, a link below TREES, and a tree's own record.
CURRENT_TREE = "current"
MANIFEST = "manifest.json"

# What the module node_files wrote: SHA-256 by path.
FILES_RECORD = "/etc/condor_vac/files.json"
MACHINETYPES_DIRECTORY = "/etc/condor_vac/machinetypes"
# Of factories on the access point, each in a directory of its machinetype's name.
STATE_DIRECTORY = "/var/lib/condor_vac"
IMAGE_DIRECTORY = "/var/lib/condor_vac/images"

# A machinetype is a part of file names, accounting groups and attributes of ads.
MACHINETYPE_NAME = r"[a-z0-9-]{1,64}"
MACHINETYPE_NAME_REMEDY = "must be 1 to 64 lower-case letters, digits and -"

# A VM's memory in MiB where nothing is set: Vac's default of mb_per_processor (vac.conf(5)).
MEMORY_MB_PER_PROCESSOR = 2048

# An image's digest in the inventory.
IMAGE_CHECKSUM = r"(?:sha256:)?([0-9a-fA-F]{64})"
IMAGE_CHECKSUM_REMEDY = "must be sha256: and 64 hexadecimal digits"

# Each part is a part of the configuration variables that hold the group's quota (GROUP_QUOTA_DYNAMIC_<group>), where
# HTCondor takes no - (ISIDCHAR in config.cpp).
ACCOUNTING_GROUP = r"[A-Za-z0-9_]+([.][A-Za-z0-9_]+)*"
ACCOUNTING_GROUP_REMEDY = "must be a group name such as group_atlas.prod: letters, digits and _, with . for subgroups"

# A user as whom HTCondor can run jobs. No @: HTCondor takes what follows it for a domain
# (Authentication::split_canonical_name), so that the jobs of a@b would run as another user, a. No name of digits alone
# and none that begins with - or . or +: other programs take these for a uid, an option, a hidden file or a netgroup.
# No name of capitals alone, which sudo takes for an alias, and ALL for everybody: sudo lets owners run vac_lease.
# Capitals, a . or a + inside, and more than useradd's 32 characters come from directories such as LDAP.
USER_NAME = r"(?![A-Z][A-Z0-9_]*$)[0-9]{0,31}[A-Za-z_][A-Za-z0-9_.+-]{0,63}"
USER_NAME_REMEDY = "must be a user name: letters, digits and _ . + -, not digits or capitals alone, and without @DOMAIN"

# libvirt's network and filter, its bridge (IFNAMSIZ leaves 15 characters), and the domain of the VMs' host names.
LIBVIRT_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
INTERFACE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}"
DNS_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
DNS_DOMAIN = rf"{DNS_LABEL}([.]{DNS_LABEL})*"

# The VMs' network: the numbers of VMs' addresses in it, and the part of its MACs before the address's last two bytes
# (52:54:00 is the prefix of QEMU and libvirt, 76 the letter v).
SUBNET = "192.168.86.0/24"
DOMAIN = "vac.internal"
FIRST_NUMBER = 10
LAST_NUMBER = 250
MAC_PREFIX = "52:54:00:76"

# linux/kvm.h, _IO(0xAE, …).
KVM_DEVICE = "/dev/kvm"
KVM_CREATE_VM = 0xAE01
KVM_CREATE_VCPU = 0xAE41


def image_name(source: str) -> str:
    """The file name of an image from a path or URL: the last part of its path, with _ for what a name cannot hold.

    What follows a ? or # in a URL is no part of it.
    """
    path = source.partition("?")[0].partition("#")[0] if "://" in source else source
    name = "".join(
        char if char.isascii() and (char.isalnum() or char in "._+@=-") else "_" for char in path.rpartition("/")[2]
    )
    return name.lstrip(".") or "image"


def printable(text: str) -> str:
    """The text with U+FFFD for each character that is not printable, such as one that would change a terminal's state.

    For what a guest, a job's user or another program wrote, before it goes into a log, an ad or onto a terminal.
    """
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def one_line(text: str, limit: int | None = None, *, end: bool = False) -> str:
    """Such a text as one printable line: white space and line ends as one blank.

    Of more than ``limit`` characters the beginning is left, or the ``end``; "…" is where it was cut.
    """
    line = printable(" ".join(text.split()))
    if limit is None or len(line) <= limit:
        return line
    return f"…{line[len(line) - limit + 1 :]}" if end else f"{line[: limit - 1]}…"


def vm_mac(address: bytes) -> str:
    """The MAC of the VM with this IPv4 address (its four bytes)."""
    return f"{MAC_PREFIX}:{address[2]:02x}:{address[3]:02x}"


def sysctl_path(key: str) -> str:
    """The path below /proc/sys of a sysctl key, with either separator: that which comes first is the separator."""
    dotted = next((char for char in key if char in "/."), "/") == "."
    path = key.translate(str.maketrans("./", "/.")) if dotted else key
    return "/".join(part for part in path.split("/") if part not in {"", "."})


def submit_text(commands: Mapping[str, str]) -> str:
    """The submit description of one job, as condor_submit reads it; the commands are checked already."""
    return "".join(f"{key} = {value}\n" for key, value in commands.items()) + "queue\n"


def runs_since_before(unit: Mapping[str, str], path: str) -> bool:
    """Whether a unit runs that was started before a file got its present content, so that it may not know it.

    ``unit`` has systemd's ActiveState and InactiveExitTimestampMonotonic, in microseconds of CLOCK_MONOTONIC. The time
    of the file is its change (ctime), which nobody sets. One that is still to come is of a wrong clock.
    """
    started = unit.get("InactiveExitTimestampMonotonic", "")
    if unit.get("ActiveState") != "active" or not started.isdigit() or started == "0":
        return False
    try:
        changed = os.stat(path).st_ctime
    except OSError:
        return False
    now = time.time()
    return now - (time.monotonic() - int(started) / 1e6) < changed <= now
