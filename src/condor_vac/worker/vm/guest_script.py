# SPDX-License-Identifier: GPL-3.0-or-later
"""The shell that a VM runs when it starts: its host name, where its features and outputs are, and NFS mounts.

CernVM 3 and 4 run ``prolog.sh start`` from the context ISO and then, as the service cernvm, the functions
``cernvm_start`` and ``cernvm_stop`` of each file in /etc/cernvm/cernvm.d; a file without them counts as
failed (cernvm-config, etc/init.d/cernvm). cloud-init runs a script in vendor-data before the user's scripts.
Everything here is POSIX shell, since guests have bash, dash or busybox.
"""

from __future__ import annotations

import shlex
from typing import NamedTuple

from condor_vac.base.errors import VacError

MJF_URL = "http://169.254.169.253"
NAMES = ("machinefeatures", "jobfeatures", "joboutputs")

_END = "VAC_END"

_FUNCTIONS = """\
vac_mount() {
    grep -q " $2 nfs" /proc/mounts && return 0
    mkdir -p "$2" || return 1
    for vac_try in 1 2 3 4 5; do
        for vac_options in @OPTIONS@; do
            mount -t nfs -o "$3,$vac_options,retry=0" @SERVER@:"$1" "$2" && return 0
        done
        sleep 3
    done
    echo "condor_vac: cannot mount $2" >&2
    return 1
}

cernvm_start() {
    vac_status=0
@MOUNTS@
    # HTCondorVMs' name for the outputs, which older user data still writes to.
    [ -e /etc/machineoutputs ] || ln -s joboutputs /etc/machineoutputs || vac_status=1
    return "$vac_status"
}

cernvm_stop() {
    vac_status=0
    for vac_point in /etc/joboutputs /etc/jobfeatures /etc/machinefeatures; do
        grep -q " $vac_point nfs" /proc/mounts || continue
        umount "$vac_point" || umount -l "$vac_point" || vac_status=1
    done
    return "$vac_status"
}
"""

_NO_MOUNTS = """\
cernvm_start() {
    true
}

cernvm_stop() {
    true
}
"""


class Guest(NamedTuple):
    """What a VM must know of its lease and settings.

    ``machinefeatures``, ``jobfeatures``, ``joboutputs`` are directories of the host, ``gateway`` its address
    on the VM's network; ``sharing`` is nfs, http or both; ``root_public_key`` holds authorized_keys lines.
    """

    uuid: str
    hostname: str
    mac: str
    gateway: str
    sharing: str
    machinefeatures: str
    jobfeatures: str
    joboutputs: str
    nfs_versions: tuple[str, ...] = ("3", "4")
    root_public_key: bytes | None = None


def places(sharing: str) -> dict[str, str]:
    """machinefeatures, jobfeatures and joboutputs as the VM sees them: directories, or URLs without mounts.

    Where both are shared the directories count, which every consumer can read (pilot3 reads nothing else).
    """
    base = MJF_URL if sharing == "http" else "/etc"
    return {name: f"{base}/{name}" for name in NAMES}


def urls(sharing: str) -> dict[str, str]:
    """The same for user data's ``..._url``: http wherever the VM can reach it, else the directories.

    Outputs then are a ``file:`` URL, since the templates of GridPP and LHCb (DIRACGrid/Pilot) send them by
    ``curl --upload-file``. Features are a path: consumers know them by the leading slash (HSF-TN-2016-02).
    """
    if sharing == "nfs":
        return {**places(sharing), "joboutputs": "file:///etc/joboutputs"}
    return {name: f"{MJF_URL}/{name}" for name in NAMES}


def prolog(guest: Guest) -> bytes:
    """prolog.sh for CernVM: leaves its functions for the service cernvm, and has them itself when sourced."""
    functions = _functions(guest)
    return (
        "#!/bin/sh\n# Written by condor_vac for this VM alone.\n"
        'if [ "${1:-}" = start ]; then\n'
        f"{_host_name_and_profile(guest)}"
        "mkdir -p /etc/cernvm/cernvm.d\n"
        f"cat > /etc/cernvm/cernvm.d/S50vac.sh <<'{_END}'\n{functions}{_END}\n"
        "chmod 755 /etc/cernvm/cernvm.d/S50vac.sh\n"
        "fi\n\n"
        f"{functions}"
    ).encode()


def vendor_script(guest: Guest) -> bytes:
    """vendor-data for cloud-init: the same, done at once."""
    return (
        "#!/bin/sh\n# Written by condor_vac for this VM alone.\n"
        f"{_functions(guest)}\n"
        f"{_host_name_and_profile(guest)}"
        "cernvm_start\n"
    ).encode()


def _functions(guest: Guest) -> str:
    if guest.sharing == "http":
        return _NO_MOUNTS
    points = places(guest.sharing)
    mounts = [
        f"    vac_mount {_quoted(getattr(guest, name))} {points[name]} {mode} || vac_status=1"
        for name, mode in zip(NAMES, ("ro", "ro", "rw"))
    ]
    # Version 3 locks through a daemon of its own that a guest need not run.
    options = " ".join(
        _quoted(f"nfsvers={version},nolock" if version == "3" else f"nfsvers={version}")
        for version in guest.nfs_versions
    )
    return (
        _FUNCTIONS.replace("@OPTIONS@", options)
        .replace("@SERVER@", _quoted(guest.gateway))
        .replace("@MOUNTS@", "\n".join(mounts))
    )


def _host_name_and_profile(guest: Guest) -> str:
    variables = " ".join(f"{name.upper()}={_quoted(place)}" for name, place in places(guest.sharing).items())
    return (
        f"hostname {_quoted(guest.hostname)} || true\n"
        "mkdir -p /etc/profile.d\n"
        f"cat > /etc/profile.d/condor_vac.sh <<'{_END}'\nexport {variables}\n{_END}\n"
    )


def _quoted(value: str) -> str:
    """The value as one word of shell. Raises VacError for what would end a line, and so a here-document."""
    if not value or not value.isprintable():
        raise VacError(f"context: {value[:80]!a} is not one line of printable text; check the lease")
    return shlex.quote(value)
