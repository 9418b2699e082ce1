# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker node in a temporary directory: real files and processes, and stand-ins for the system's tools.

Run as root, jobs belong to another user and privileges are really dropped; run as a user, to that user.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base import tools
from condor_vac.worker import kvm_device, libvirt, settings, shutdown_plan
from condor_vac.worker.lease import console, grant, http_share
from condor_vac.worker.lease import store as lease_store
from condor_vac.worker.lease.requests import AcquireRequest, Caller
from condor_vac.worker.lease.store import Lease, Store
from condor_vac.worker.vm.job_ad import Disk, JobAd
from tests.unit.condor_vac.worker.starter import Starter

ROOT = os.getuid() == 0
UID = 12345 if ROOT else os.getuid()
GID = 12346 if ROOT else os.getgid()
# Another user, whose VMs' names begin otherwise.
OTHER = UID + 100
# nginx's group: another than the user's where that can be.
HTTP_GID = grp.getgrnam("daemon").gr_gid if ROOT else os.getgid()

EXPORTFS = """#!/bin/sh
state=@BASE@/exports; echo "$@" >> @BASE@/exportfs.log
[ -e @BASE@/exportfs.fail ] && grep -qF "$(cat @BASE@/exportfs.fail)" <<END && { echo "cannot export" >&2; exit 1; }
$@
END
case "$1" in
-s) cat "$state";;
-o) d=${3#*:}; a=${3%%:*}; readlink -f "$d" >> @BASE@/exported.real
    grep -vF "$d  $a(" "$state" > "$state.new"; echo "$d  $a($2)" >> "$state.new"
    mv "$state.new" "$state";;
-u) shift; status=0
    for one; do d=${one#*:}; a=${one%%:*}; grep -qF "$d  $a(" "$state" || { echo "Could not find $one" >&2; status=1; }
    grep -vF "$d  $a(" "$state" > "$state.new"; mv "$state.new" "$state"; done; exit $status;;
esac
exit 0
"""
VIRSH = """#!/bin/sh
echo "$@" >> @BASE@/virsh.log
[ -e @BASE@/virsh.fail ] && { cat @BASE@/virsh.fail >&2; exit 1; }
case "$*" in
*domstats*) cat @BASE@/domstats;;
*dumpxml*) cat "@BASE@/dumpxml/${*##* }" 2> /dev/null || { echo "error: Domain not found" >&2; exit 1; };;
esac
exit 0
"""
# Bind mounts are links here: what matters is which directory is shown, and what is left of it.
MOUNT = """#!/bin/sh
echo "$@" >> @BASE@/mount.log
[ -e @BASE@/mount.fail ] && case "$*" in *$(cat @BASE@/mount.fail)) echo "mount: no" >&2; exit 32;; esac
[ "$1 $2" = "-c -o" ] || exit 64
rmdir "$5" && ln -s "$(readlink "$4")" "$5" && echo "1 2 0:1 / $5 $3 - ext4 x rw" >> @BASE@/mountinfo
"""
UMOUNT = """#!/bin/sh
[ -L "$2" ] && rm "$2" && mkdir "$2" || exit 32
grep -vF " $2 " @BASE@/mountinfo > @BASE@/new
mv @BASE@/new @BASE@/mountinfo
"""
IP = """#!/bin/sh
echo "$@" >> @BASE@/ip.log
[ -e @BASE@/ip.fail ] && { cat @BASE@/ip.fail >&2; exit 2; }
case "$3" in
show) printf '0:\\tfrom all lookup local\\n'; cat @BASE@/rules;;
add) printf '%s:\\tfrom all to %s iif %s %s\\n' "$5" "$9" "$7" "${10}" >> @BASE@/rules;;
esac
"""

CONDOR_WHO = """#!/bin/sh
echo "$@" >> @BASE@/condor_who.log
printf 'MASTER = "Alive"\\nSTARTD_Addr = "<192.0.2.1:9618>"\\n'
"""
CONDOR_STATUS = """#!/bin/sh
cat @BASE@/slots
"""
CONDOR_UPDATE_MACHINE_AD = """#!/bin/sh
[ -e @BASE@/condor_update_machine_ad.fail ] && { echo "Unable to update machine ad" >&2; exit 1; }
cat "$1" >> @BASE@/condor_update_machine_ad.log
"""


def pretended_name(uid: int) -> str:
    """The names of the users who own jobs here."""
    return "alice" if uid == OTHER else "vac"


@dataclass
class Node:
    """The pretended node: its directories, its store and what its tools were asked."""

    base: Path
    settings: settings.Settings
    store: Store
    starter: Starter
    # Why KVM does not work here.
    kvm_trouble: kvm_device.Trouble | None = None

    @property
    def execute(self) -> Path:
        return self.base / "execute"

    def sandbox(self, number: int = 1, uid: int = UID, below: str = "") -> str:
        """A sandbox that belongs to the user, as the starter makes one."""
        path = self.execute / f"dir_{number}" / below
        path.mkdir(parents=True)
        for each in (self.execute / f"dir_{number}", path):
            os.chown(each, uid, GID if uid == UID else -1)
            each.chmod(0o755)
        (path / ".chirp.config").write_text(self.starter.config)
        return str(path)

    def request(self, **changes: Any) -> dict[str, Any]:
        """A request for a lease; without a ``sandbox``, one is made."""
        asked = {
            "domain": "vac_lab_7.0",
            "machinetype": "atlas",
            "fizzle_seconds": 600,
            "max_wallclock_seconds": 86400,
            "heartbeat_seconds": 0,
            "evidence_cpu_fraction": 0.3,
            "sharing": "nfs",
            **changes,
        }
        return asked if "sandbox" in asked else {"sandbox": self.sandbox(), **asked}

    def acquire(self, **changes: Any) -> Lease:
        return grant.acquire(AcquireRequest(**self.request(**changes)), Caller(UID, GID), self.settings, self.store)

    def change(self, found: Lease, **values: Any) -> Lease:
        """Save the lease with other values."""
        changed = found._replace(**values)
        self.store.save(changed)
        return changed

    def exported(self) -> list[str]:
        return (self.base / "exports").read_text().splitlines()

    def fail(self, tool: str, text: str = "") -> None:
        (self.base / f"{tool}.fail").write_text(text)

    def mend(self, tool: str) -> None:
        (self.base / f"{tool}.fail").unlink()

    def recorded(self) -> dict[str, str]:
        """What was set in the job's ad."""
        return dict(self.starter.asked)

    def called(self, tool: str) -> list[str]:
        log = self.base / f"{tool}.log"
        return log.read_text().splitlines() if log.exists() else []

    def run_domains(self, *found: libvirt.Domain) -> None:
        """What virsh lists as running."""
        blocks = [
            f"Domain: '{item.name}'\n  state.state={item.state}\n  state.reason=1\n"
            f"  vcpu.current={item.processors}\n  vcpu.maximum={item.processors}\n"
            f"  vcpu.0.state=1\n  vcpu.0.time={int(item.cpu_seconds * 1e9)}\n  vcpu.0.wait=0\n"
            for item in found
        ]
        (self.base / "domstats").write_text("\n".join(blocks))

    def describe_domain(self, name: str, uuid: str, serial: str) -> None:
        """What virsh dumpxml prints for a domain that logs its console to the file ``serial``."""
        text = f"<domain><uuid>{uuid}</uuid><devices><serial type='file'><source path='{serial}'/></serial>"
        (self.base / "dumpxml" / name).write_text(f"{text}</devices></domain>")

    def output(self, found: Lease, name: str, data: bytes) -> None:
        """What the guest writes by NFS."""
        Path(found.joboutputs, name).write_bytes(data)
        os.chown(Path(found.joboutputs, name), UID, GID)


@contextlib.contextmanager
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node as the fixture ``node`` gives it."""
    # Not tmp_path: its parents are closed to the user that privileges are dropped to.
    base = Path(tempfile.mkdtemp(prefix="vac-node-"))
    base.chmod(0o755)
    for name, mode in (
        ("execute", 0o755),
        ("bin", 0o755),
        ("images", 0o755),
        ("console", 0o755),
        ("open", 0o777),
        ("dumpxml", 0o755),
    ):
        (base / name).mkdir()
        (base / name).chmod(mode)
    scripts = {"exportfs": EXPORTFS, "virsh": VIRSH, "mount": MOUNT, "umount": UMOUNT, "condor_who": CONDOR_WHO}
    scripts["ip"] = IP
    scripts |= {"condor_status": CONDOR_STATUS, "condor_update_machine_ad": CONDOR_UPDATE_MACHINE_AD}
    for name, text in scripts.items():
        path = base / "bin" / name
        path.write_text(text.replace("@BASE@", str(base)))
        path.chmod(path.stat().st_mode | stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    (base / "exports").write_text("")
    (base / "rules").write_text("")
    (base / "domstats").write_text("")
    (base / "slots").write_text('[{"PartitionableSlot": true, "HasVM": true}]')
    (base / "mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/vda rw\n")
    monkeypatch.setattr(http_share, "DIRECTORY", f"{base}/http")
    monkeypatch.setattr(http_share, "MOUNTINFO", f"{base}/mountinfo")
    monkeypatch.setattr(http_share, "NODE_NAMESPACE", "/proc/self/ns/mnt")
    monkeypatch.setattr(tools, "SYSTEM_PATH", f"{base}/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    directory = f"{base}/console"
    monkeypatch.setattr(lease_store, "CONSOLE_DIRECTORY", directory)
    monkeypatch.setattr(console.path, "__defaults__", (directory,))
    monkeypatch.setattr(console.orphans, "__defaults__", (directory,))
    described = {
        "execute": f"{base}/execute",
        "image_dir": f"{base}/images",
        "sharing": ["nfs", "http"],
        "http_group": grp.getgrgid(HTTP_GID).gr_name,
    }
    made = settings.from_mapping(described, "test")
    (base / "worker.json").write_text(json.dumps(described))
    monkeypatch.setattr(settings, "PATH", f"{base}/worker.json")
    monkeypatch.setattr(settings, "load", lambda: made)
    monkeypatch.setattr(grant, "user_name", pretended_name)
    monkeypatch.setattr(shutdown_plan, "RUN_DIRECTORY", f"{base}/run")
    if not ROOT:
        # What root's programs give to root's group is the user's own then.
        chown = os.chown
        monkeypatch.setattr(os, "chown", lambda path, uid, gid: chown(path, uid, GID if gid == 0 else gid))
    starter = Starter()
    node = Node(base, made, Store(f"{base}/run"), starter)
    monkeypatch.setattr(kvm_device, "trouble", lambda: node.kvm_trouble)
    yield node
    starter.stop()
    shutil.rmtree(base)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    with pretended(monkeypatch) as made:
        yield made


@pytest.fixture
def job() -> JobAd:
    """A VM job as the prepare hook leaves it, with HTCondorVMs' disks."""
    return JobAd(
        cluster=7,
        proc=0,
        owner="vac",
        user="vac@lab",
        domain="vac_lab_7.0",
        processors=2,
        memory_mb=2048,
        request_cpus=2,
        cpus_provisioned=2,
        vcpus=2,
        disks=(Disk("cernvm.iso", "hda", False, "raw"), Disk("scratch.raw", "vda", True, "raw")),
        networking=True,
        mac=None,
        vnc=False,
        working_dir=None,
        user_data="user_data",
        public_key=None,
        space=None,
        machinetype=None,
        machinetype_file=None,
        want_io_proxy=True,
        no_output_vm=False,
    )


def lease_files(node: Node) -> list[Any]:
    """The lease files as JSON."""
    directory = Path(node.store.directory)
    return [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]


class Time:
    """CLOCK_BOOTTIME as the test wants it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    fake = Time()
    monkeypatch.setattr(lease_store, "boottime", fake)
    return fake
