# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VM's context ISO holds, and what its shell does when a VM runs it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.base.errors import UsageError, VacError
from condor_vac.worker.vm import context, guest_script
from condor_vac.worker.vm.guest_script import Guest

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0 operator@example.org"
GUEST = Guest(
    uuid="8f7b1f0e-3c57-4c53-9a51-0a6f3d1e2b4c",
    hostname="vm-10.vac.internal",
    mac="52:54:00:76:56:0a",
    gateway="192.168.86.1",
    sharing="nfs",
    machinefeatures="/var/lib/condor/execute/dir_1/machinefeatures",
    jobfeatures="/var/lib/condor/execute/dir_1/jobfeatures",
    joboutputs="/var/lib/condor/execute/dir_1/joboutputs",
    nfs_versions=("3", "4.2"),
    root_public_key=f"# of the site\n{KEY}\r\n".encode(),
)
SHELLS = [shell for shell in ("sh", "bash", "dash") if shutil.which(shell)]


class Machine:
    """A directory that stands for a guest's root: what a script does to /etc and by mount ends up there."""

    def __init__(self, root: Path, mount_status: str = "0") -> None:
        self.root = root
        tools = root / "bin"
        tools.mkdir()
        (root / "etc").mkdir()
        (root / "mounts").touch()
        self._tool("hostname", 'echo "$1" > "$ROOT/name"')
        self._tool("sleep", "true")
        self._tool(
            "mount",
            'echo "$@" >> "$ROOT/mount.log"',
            f'case "$4" in {mount_status}) echo "$5 $6 nfs $4" >> "$ROOT/mounts" ;; *) exit 32 ;; esac',
        )
        self._tool("umount", 'echo "$@" >> "$ROOT/umount.log"', 'grep -v " $1 " "$ROOT/mounts" > "$ROOT/m"',
                   'mv "$ROOT/m" "$ROOT/mounts"')  # fmt: skip

    def _tool(self, name: str, *lines: str) -> None:
        path = self.root / "bin" / name
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)

    def run(self, shell: str, script: bytes, *commands: str) -> subprocess.CompletedProcess[str]:
        """Source ``script`` as guests do, with "start", then run the commands."""
        path = self.root / "script"
        path.write_bytes(self.inside(script))
        line = "\n".join(["set -- start", f'. "{path}"', *commands])
        environment = {"PATH": f"{self.root}/bin:/usr/bin:/bin", "ROOT": str(self.root)}
        return subprocess.run([shell, "-euc", line], env=environment, capture_output=True, text=True, check=False)

    def inside(self, script: bytes) -> bytes:
        if str(self.root).encode() in script:  # a file that such a script left
            return script
        moved = script.replace(b"/etc/", f"{self.root}/etc/".encode())
        return moved.replace(b"/proc/mounts", f"{self.root}/mounts".encode())

    def log(self, name: str) -> list[str]:
        path = self.root / name
        return path.read_text().replace(str(self.root), "").splitlines() if path.exists() else []


def test_context_sh_is_what_amiconfig_and_the_boot_loader_source(tmp_path: Path) -> None:
    user_data = bytes(range(256)) * 40
    files = context.files("cernvm", GUEST, user_data)
    assert set(files) == {"context.sh", "prolog.sh", "root.pub"}
    assert files["root.pub"] == f"{KEY}\n".encode()
    script = tmp_path / "context.sh"
    script.write_bytes(files["context.sh"])
    print_all = 'echo "$ROOT_PUBKEY|$ONE_CONTEXT_PATH|$MACHINEFEATURES|$JOBFEATURES|$JOBOUTPUTS|$EC2_USER_DATA"'
    done = subprocess.run(["sh", "-c", f'. "{script}"; {print_all}'], capture_output=True, text=True, check=True)
    *values, encoded = done.stdout.rstrip("\n").split("|")
    assert values == [
        "root.pub",
        "/var/lib/amiconfig",
        "/etc/machinefeatures",
        "/etc/jobfeatures",
        "/etc/joboutputs",
    ]
    assert base64.b64decode(encoded) == user_data
    assert all(line.count(b"=") >= 1 for line in files["context.sh"].splitlines())


def test_without_a_key_context_sh_names_none() -> None:
    files = context.files("cernvm", GUEST._replace(root_public_key=None), b"")
    assert b"ROOT_PUBKEY" not in files["context.sh"]
    assert "root.pub" not in files


@pytest.mark.parametrize("shell", SHELLS)
def test_prolog_leaves_a_cernvm_d_script_that_mounts_and_unmounts(shell: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path, "*nfsvers=3*")
    prolog = context.files("cernvm", GUEST, b"")["prolog.sh"]
    done = machine.run(shell, prolog, "command -v cernvm_start cernvm_stop")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "name").read_text() == "vm-10.vac.internal\n"
    assert machine.log("mount.log") == []
    left = (tmp_path / "etc/cernvm/cernvm.d/S50vac.sh").read_bytes()
    assert machine.run(shell, left, "cernvm_start", "cernvm_start").returncode == 0
    execute = "192.168.86.1:/var/lib/condor/execute/dir_1"
    assert machine.log("mount.log") == [
        f"-t nfs -o ro,nfsvers=3,nolock,retry=0 {execute}/machinefeatures /etc/machinefeatures",
        f"-t nfs -o ro,nfsvers=3,nolock,retry=0 {execute}/jobfeatures /etc/jobfeatures",
        f"-t nfs -o rw,nfsvers=3,nolock,retry=0 {execute}/joboutputs /etc/joboutputs",
    ]
    (tmp_path / "etc/joboutputs/vm-pilot.log").touch()
    assert (tmp_path / "etc/machineoutputs/vm-pilot.log").exists()
    assert machine.run(shell, left, "cernvm_stop", "cernvm_stop").returncode == 0
    assert machine.log("umount.log") == ["/etc/joboutputs", "/etc/jobfeatures", "/etc/machinefeatures"]


def test_a_version_that_fails_gives_way_to_the_next(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "*nfsvers=4.2*")
    done = machine.run("sh", context.files("cernvm", GUEST, b"")["prolog.sh"], "cernvm_start")
    assert done.returncode == 0
    assert [line.split()[3] for line in machine.log("mount.log")][:2] == [
        "ro,nfsvers=3,nolock,retry=0",
        "ro,nfsvers=4.2,retry=0",
    ]


def test_a_mount_that_never_works_is_reported(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "none")
    done = machine.run("sh", context.files("cernvm", GUEST, b"")["prolog.sh"], "cernvm_start || echo failed")
    assert done.stdout == "failed\n"
    assert [line.rpartition(" ")[2].rpartition("/")[2] for line in done.stderr.splitlines()] == [
        "machinefeatures",
        "jobfeatures",
        "joboutputs",
    ]


@pytest.mark.parametrize(("sharing", "base"), [("nfs", "/etc"), ("both", "/etc"), ("http", "http://169.254.169.253")])
@pytest.mark.parametrize("kind", ["cernvm", "cloud-init"])
def test_login_shells_know_where_features_are(kind: str, sharing: str, base: str, tmp_path: Path) -> None:
    guest = GUEST._replace(sharing=sharing)
    machine = Machine(tmp_path, "*")
    script = context.files(kind, guest, b"")["prolog.sh" if kind == "cernvm" else "vendor-data"]
    assert machine.run("sh", script).returncode == 0
    profile = (tmp_path / "etc/profile.d/condor_vac.sh").read_bytes()
    done = machine.run("sh", profile, "sh -c 'echo \"$MACHINEFEATURES $JOBFEATURES $JOBOUTPUTS\"'")
    expected = f"{base}/machinefeatures {base}/jobfeatures {base}/joboutputs\n"
    assert done.stdout.replace(str(tmp_path), "") == expected
    mounted = bool(machine.log("mount.log"))
    assert mounted == (kind == "cloud-init" and sharing != "http")


def test_cloud_init_gets_the_files_of_nocloud() -> None:
    user_data = b"From nobody Mon\r\nContent-Type: multipart/mixed\r\n\xff"
    files = context.files("cloud-init", GUEST, user_data)
    assert set(files) == {"user-data", "meta-data", "network-config", "vendor-data"}
    assert files["user-data"] == user_data
    assert json.loads(files["meta-data"]) == {
        "instance-id": GUEST.uuid,
        "local-hostname": GUEST.hostname,
        "public-keys": [KEY],
        "machinefeatures": "/etc/machinefeatures",
        "jobfeatures": "/etc/jobfeatures",
        "joboutputs": "/etc/joboutputs",
    }
    interface = json.loads(files["network-config"])["ethernets"]["vac0"]
    assert interface == {"match": {"macaddress": GUEST.mac}, "dhcp4": True}
    assert files["vendor-data"].startswith(b"#!/bin/sh\n")


def test_user_data_urls_are_directories_only_where_there_is_no_http() -> None:
    assert guest_script.urls("nfs") == {
        "machinefeatures": "/etc/machinefeatures",
        "jobfeatures": "/etc/jobfeatures",
        "joboutputs": "file:///etc/joboutputs",
    }
    for sharing in ("http", "both"):
        assert guest_script.urls(sharing) == {
            "machinefeatures": "http://169.254.169.253/machinefeatures",
            "jobfeatures": "http://169.254.169.253/jobfeatures",
            "joboutputs": "http://169.254.169.253/joboutputs",
        }


HOSTILE = st.text(min_size=1, max_size=30)


@given(HOSTILE)
def test_no_value_leaves_its_quotes(value: str) -> None:
    guest = GUEST._replace(hostname=value, joboutputs=f"/{value}", gateway=value)
    try:
        script = context.files("cernvm", guest, b"")["prolog.sh"]
    except VacError:
        assert not value.isprintable()
        return
    probe = 'hostname() { printf %s "$1"; }\nmkdir() { :; }\ncat() { :; }\nchmod() { :; }\nset -- start\n'
    harmless = script.replace(b"> /etc/", b"> /dev/null # ")
    done = subprocess.run(["sh", "-c", probe.encode() + harmless], capture_output=True, check=True)
    assert done.stdout == value.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"# only a comment\n",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNza\n-----END OPENSSH PRIVATE KEY-----\n",
        b'command="rm -rf /" ssh-rsa AAAA x\n',
        b"ssh-rsa AAAA good\nnot a key\n",
        b"ssh-rsa \xff\xfe\n",
        b"ssh-rsa AAAA x\n" * 10000,
    ],
)
def test_only_public_keys_go_to_a_vm(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"^root public key: not "):
        context.files("cernvm", GUEST._replace(root_public_key=data), b"")
    with pytest.raises(UsageError, match=r"^key\.pub: not "):
        context.check_public_key(data, "key.pub")
