# SPDX-License-Identifier: GPL-3.0-or-later
"""HTCondor at native speed without any virtual machine: a pool's daemons in a Debian root directory.

``root("trixie")`` builds the directory once (mmdebstrap, cached under ``.cache/chroot``). ``Pool`` runs
condor_master in it inside private mount, network, host-name and process-id namespaces, as pid 1's child: its
ports are its own, what it writes into the root directory is its own (an overlay), nothing stays mounted on the
host, and ending the namespace's first process ends every daemon and every job. Needs root; ``missing()`` names what
this machine lacks.

As a command: ``python -m tests.integration.chroot trixie COMMAND...`` runs one command in such a pool.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from tests.lab import images

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / ".cache" / "chroot"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = ("condor", "python3", "procps", "util-linux")
RECIPE = (
    "--variant=minbase",
    "--mode=root",
    f"--include={','.join(PACKAGES)}",
    '--aptopt=APT::Install-Recommends "false"',
    # A mirror that keeps a snapshot of a moving suite serves a Release file older than its validity.
    '--aptopt=Acquire::Check-Valid-Until "false"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
)
TOOLS = ("mmdebstrap", "unshare", "nsenter", "mount", "chroot", "ip")
OWNER = "vac"
OWNER_ID = 4200

CONDOR_CONFIG = """
CONDOR_HOST = 127.0.0.1
COLLECTOR_HOST = 127.0.0.1
NETWORK_INTERFACE = 127.0.0.1
FULL_HOSTNAME = ap.vac.test
NO_DNS = true
DEFAULT_DOMAIN_NAME = vac.test
ENABLE_IPV6 = false
UID_DOMAIN = vac.test
FILESYSTEM_DOMAIN = vac.test
LOCAL_DIR = /pool
LOCAL_CONFIG_DIR = /pool/config.d
RUN = $(LOCAL_DIR)/run
LOG = $(LOCAL_DIR)/log
SPOOL = $(LOCAL_DIR)/spool
EXECUTE = $(LOCAL_DIR)/execute
LOCK = $(LOCAL_DIR)/lock
DAEMON_SOCKET_DIR = $(LOCAL_DIR)/lock/daemon_sock
RELEASE_DIR = /usr
BIN = /usr/bin
SBIN = /usr/sbin
LIBEXEC = /usr/libexec/condor
LIB = /usr/lib/x86_64-linux-gnu/condor
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = FS
SEC_CLIENT_AUTHENTICATION_METHODS = FS
SEC_READ_AUTHENTICATION = OPTIONAL
ALLOW_READ = *
ALLOW_WRITE = *
ALLOW_DAEMON = root@*, condor@*, condor_pool@*
ALLOW_ADMINISTRATOR = root@*, condor@*
ALLOW_NEGOTIATOR = root@*, condor@*
QUEUE_SUPER_USERS = root, condor
USER_JOB_WRAPPER =
UPDATE_INTERVAL = 5
SCHEDD_INTERVAL = 5
PERIODIC_EXPR_INTERVAL = 2
MAX_PERIODIC_EXPR_INTERVAL = 4
MASTER_BACKOFF_CONSTANT = 1
MASTER_BACKOFF_FACTOR = 1.1
START_SCHEDULER_UNIVERSE = True
"""

# What is written into "$root" then is kept beside it, in memory, and gone with the mount namespace: no test finds what
# another one left. It is a mount of its own, as the starter needs its root to be to give each job its own mounts.
OWN_ROOT = """
mkdir -p "$local/over"
mount -t tmpfs tmpfs "$local/over"
mkdir "$local/over/upper" "$local/over/work"
mount -t overlay -o "lowerdir=$root,upperdir=$local/over/upper,workdir=$local/over/work" overlay "$root"
"""

# The first process of the namespaces: mounts, loopback, then the master; as pid 1 it also reaps orphans.
START = f"""
set -e
root=$1 local=$2 checkout=$3
{OWN_ROOT}
mkdir -p "$root/pool" "$root/checkout" "$root/run" "$root/proc" "$root/dev"
mount --bind "$local" "$root/pool"
mount --bind "$checkout" "$root/checkout"
mount -o remount,bind,ro "$root/checkout"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/run/lock"
mount --bind "$local/hosts" "$root/etc/hosts"
mkdir -p "$root/usr/local" "$root/etc/condor_vac" "$root/var/lib/condor_vac"
mount --bind "$local/usr_local" "$root/usr/local"
mount --bind "$local/etc" "$root/etc/condor_vac"
mount --bind "$local/var" "$root/var/lib/condor_vac"
mount --bind "$local/condor_config" "$root/etc/condor/condor_config"
hostname ap.vac.test
ip link set lo up
chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin CONDOR_CONFIG=/pool/condor_config condor_master -f &
wait
"""


ENTRY = """#!/usr/bin/python3
import sys
sys.path.insert(0, "/checkout/src")
sys.dont_write_bytecode = True
from condor_vac.{module} import main
sys.exit(main({arguments}))
"""


class ChrootError(Exception):
    """The root directory or the pool in it could not be made; the message has the reason."""


def missing() -> str | None:
    """Why a pool cannot run on this machine, in one line; None if it can."""
    if os.geteuid() != 0:
        return "a native HTCondor pool needs root (mount and network namespaces); run the tests as root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"not found: {', '.join(absent)}; apt-get install mmdebstrap util-linux mount iproute2"
    probe = subprocess.run(["unshare", "-mnupf", "true"], capture_output=True, text=True, check=False)
    return f"unshare fails here: {probe.stderr.strip()}" if probe.returncode else None


def root(suite: str) -> Path:
    """The root directory of a Debian suite with HTCondor, built if it is not cached. Raises ChrootError."""
    digest = hashlib.sha256("\0".join((*RECIPE, OWNER, str(OWNER_ID))).encode()).hexdigest()[:12]
    path = CACHE / f"{suite}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f".{suite}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_dir():
            _build(suite, path)
    return path


def _build(suite: str, path: Path) -> None:
    partial = path.with_name(f"{path.name}.partial")
    images.remove_tree(partial)
    print(f"building {path.name} (once, half a minute to two minutes)", file=sys.stderr)
    done = subprocess.run(
        [*images.ALONE, "nice", "mmdebstrap", *RECIPE, suite, str(partial), MIRROR],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ChrootError(f"mmdebstrap {suite} failed: {done.stderr[-2000:]}")
    add = ["chroot", str(partial), "useradd", "-u", str(OWNER_ID), "-m", OWNER]
    subprocess.run(add, check=True, capture_output=True)
    partial.rename(path)


class Pool:
    """A running pool (collector, negotiator, schedd) in a root directory of ``suite``; a context manager.

    ``local`` is its directory on the host, ``/pool`` inside: configuration, spool, logs. The checkout is
    ``/checkout`` inside, read-only. ``local``'s ``etc``, ``var`` and ``usr_local`` are /etc/condor_vac,
    /var/lib/condor_vac and /usr/local inside, where condor_vac and vac_factory are as on a site's access point.
    """

    def __init__(self, suite: str = "trixie", config: str = "") -> None:
        self.suite = suite
        self.root = root(suite)
        self.local = Path(tempfile.mkdtemp(prefix="condor_vac_pool."))
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0

    def __enter__(self) -> Pool:
        self._prepare()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.local, ignore_errors=True)

    def _prepare(self) -> None:
        self.local.chmod(0o755)
        for name in ("log", "spool", "execute", "run", "lock", "lock/daemon_sock"):
            (self.local / name).mkdir()
        condor = next(
            line.split(":")
            for line in (self.root / "etc/passwd").read_text().splitlines()
            if line.startswith("condor:")
        )
        for name in ("log", "spool", "execute", "run", "lock", "lock/daemon_sock"):
            os.chown(self.local / name, int(condor[2]), int(condor[3]))
        (self.local / "vac").mkdir()
        os.chown(self.local / "vac", OWNER_ID, OWNER_ID)
        for name in ("usr_local/bin", "usr_local/libexec", "usr_local/lib/condor_vac", "etc/machinetypes", "var"):
            (self.local / name).mkdir(parents=True)
        self._install()
        (self.local / "hosts").write_text("127.0.0.1 ap.vac.test ap localhost\n")
        (self.local / "config.d").mkdir()
        (self.local / "condor_config").write_text(CONDOR_CONFIG + self._config)

    def _install(self) -> None:
        """The programs where a site has them, run from the checkout."""
        for path, module, arguments in (
            ("bin/condor_vac", "cli.dispatch", "sys.argv[1:]"),
            ("libexec/vac_factory", "cli.factory", ""),
        ):
            entry = self.local / "usr_local" / path
            entry.write_text(ENTRY.format(module=module, arguments=arguments))
            entry.chmod(0o755)
        (self.local / "usr_local/lib/condor_vac/current").symlink_to("tree-1")

    def start(self) -> None:
        """Start the daemons and wait until the schedd answers. Raises ChrootError."""
        log = open(self.local / "console", "ab")  # noqa: SIM115 - the child keeps it
        arguments = ["unshare", "-mnupf", "--kill-child", "--propagation", "private", "sh", "-c", START, "sh"]
        with log:
            self._process = subprocess.Popen(
                [*arguments, str(self.root), str(self.local), str(CHECKOUT)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._first = self._child(self._process.pid)
        self.wait_for_schedd()

    def _child(self, parent: int) -> int:
        path = Path(f"/proc/{parent}/task/{parent}/children")
        for _ in range(200):
            children = path.read_text().split() if path.exists() else []
            if children:
                return int(children[0])
            time.sleep(0.02)
        raise ChrootError(f"the pool did not start: {(self.local / 'console').read_text()[-2000:]}")

    def answers(self) -> bool:
        """Whether the schedd does, to condor_q."""
        return self.run("condor_q", "-totals", check=False).returncode == 0

    def repair(self) -> None:
        """Start the pool anew where a failed test has left its schedd down; no other test is to fail of that."""
        if not self.answers():
            self.stop()
            self.start()

    def wait_for_schedd(self, seconds: float = 180) -> None:
        """Wait until condor_q answers; raises ChrootError with the daemons' last words."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.answers():
                return
            time.sleep(0.2)
        words = [path.read_text(errors="replace")[-1500:] for path in (self.local / "log").glob("*Log")]
        raise ChrootError("the schedd does not answer:\n" + "\n".join([(self.local / "console").read_text(), *words]))

    def stop(self) -> None:
        """End every process of the pool, by the one that holds their namespace."""
        if self._process is None:
            return
        if self._process.poll() is None:
            os.kill(self._first, signal.SIGKILL)
            self._process.wait(timeout=30)
        self._process = None

    def inside(self, *command: str, user: str = "root", env: dict[str, str] | None = None) -> list[str]:
        """The argument list that runs ``command`` inside the pool as ``user``, with its own environment."""
        words = {
            "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "CONDOR_CONFIG": "/pool/condor_config",
            **(env or {}),
        }
        enter = ["nsenter", "-t", str(self._first), "-m", "-n", "-u", "-p", "--", "chroot"]
        if user != "root":
            enter += [f"--userspec={user}"]
        return [*enter, str(self.root), "env", "-i", *(f"{k}={v}" for k, v in words.items()), *command]

    def beside(self) -> list[str]:
        """The words before a command of this machine that make it run in the pool's network."""
        return ["nsenter", "-t", str(self._first), "-n", "--"]

    def advertise(self, machine: str, **attributes: str) -> None:
        """Put a slot into the collector, as a startd would."""
        ad = {
            "MyType": '"Machine"', "TargetType": '"Job"', "Name": f'"slot1@{machine}"', "Machine": f'"{machine}"',
            "MyAddress": '"<127.0.0.1:1>"', "StartdIpAddr": '"<127.0.0.1:1>"', "State": '"Unclaimed"',
            "Activity": '"Idle"', "Cpus": "8", "Memory": "65536", "Disk": "100000000", "TotalMemory": "65536",
            "Arch": '"X86_64"', "HasFileTransfer": "True", "Requirements": "True", "PartitionableSlot": "True",
            "SlotID": "1", "EnteredCurrentState": str(int(time.time())), **attributes,
        }  # fmt: skip
        text = "".join(f"{key} = {value}\n" for key, value in ad.items())
        self.run("condor_advertise", "UPDATE_STARTD_AD", input=text)

    def run(
        self, *command: str, user: str = "root", check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the pool; with ``check`` a failure raises ChrootError with its output."""
        done = subprocess.run(
            self.inside(*command, user=user), capture_output=True, text=True, input=input, check=False
        )
        if check and done.returncode:
            raise ChrootError(
                f"{' '.join(command)}: exit {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
            )
        return done


def main() -> int:
    """Run one command in a fresh pool."""
    reason = missing()
    if reason:
        print(reason, file=sys.stderr)
        return 2
    with Pool(sys.argv[1]) as pool:
        return subprocess.call(pool.inside(*sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
