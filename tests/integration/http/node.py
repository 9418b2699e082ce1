# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker node's HTTP sharing without a VM: real nginx, real leases, real mounts, in namespaces of its own.

In a private network the loopback device has the node's addresses and those of the VMs, so that curl can ask as any
VM. /run is a private one. nginx comes from Debian's package, unpacked and not installed: installing it would start
a web server. Needs root; ``missing()`` names what this machine lacks.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import jinja2
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
CACHE = CHECKOUT / ".cache" / "nginx-tree"
TEMPLATES = CHECKOUT / "roles" / "worker" / "templates"
VARS = CHECKOUT / "roles" / "worker" / "vars" / "main.yml"
TOOLS = ("unshare", "nsenter", "ip", "curl", "apt-get", "dpkg-deb", "setpriv")
UID, GID = 12345, 12346
# A user that every Debian has plays nginx's own.
HTTP_USER = "daemon"
MAX_BODY_MB = 2
# PUTs of one VM that are received at the same time.
PUTS_OF_A_VM = 4
METADATA, MJF = "http://169.254.169.254", "http://169.254.169.253"

START = """
set -e
mount -t tmpfs -o mode=755 tmpfs /run
@DIRECTORIES@
ip link set lo up
for number in 1 $(seq 10 14) 99; do ip address add "192.168.86.$number/24" dev lo; done
@PYTHON@ -c "$ACTIVATE" &
# This process holds the node's namespaces, and ends nginx with itself.
trap 'kill $!; wait; exit' TERM
wait
"""
# What systemd does with vac_http.socket and vac_http.service: sockets first, even before the addresses are there;
# then a network without anything, no privilege, and nginx with the sockets as descriptors 3 and 4.
ACTIVATE = """
import os, socket, subprocess
IP_FREEBIND = 15
for number, address in ((3, "169.254.169.254"), (4, "169.254.169.253")):
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
    listening.bind((address, 80))
    listening.listen(64)
    listening.setblocking(not @NONBLOCKING@)
    os.dup2(listening.detach(), number)
    os.set_inheritable(number, True)
for address in ("169.254.169.254", "169.254.169.253"):
    subprocess.run(["ip", "address", "add", address + "/32", "dev", "lo"], check=True)
command = ["unshare", "-n", "setpriv", "--reuid", "@USER@", "--regid", "@USER@", "--clear-groups", "--no-new-privs",
           "--bounding-set=-all", "@NGINX@", "-e", "stderr", "-c", "@BASE@/nginx.conf",
           "-g", "daemon off; pid @BASE@/nginx/pid;"]
os.umask(0o002)
os.execvpe(command[0], command, {**os.environ, "NGINX": "3:4;"})
"""
LEASE = """
import sys
sys.path.insert(0, "@SOURCE@")
from condor_vac.worker import settings
from condor_vac.worker.programs import lease_helper
known = settings.from_mapping(@SETTINGS@, "test")
settings.load = lambda: known
sys.exit(lease_helper.main())
"""


@dataclass(frozen=True)
class Answer:
    """What curl got: the status, the body and the content type."""

    status: int
    body: str
    type: str


def missing() -> str | None:
    """Why these tests cannot run on this machine, in one line; None if they can."""
    if os.geteuid() != 0:
        return "HTTP sharing without a VM needs root (mount and network namespaces); run the tests as root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not found: {', '.join(absent)}" if absent else None


def nginx() -> Path:
    """The program, from the package of this Debian, fetched once for all who ask at the same time."""
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with open(CACHE.with_name(f".{CACHE.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not CACHE.exists():
            _fetch(CACHE.with_name(f"{CACHE.name}.partial")).rename(CACHE)
    return CACHE / "usr" / "sbin" / "nginx"


def _fetch(partial: Path) -> Path:
    """The package's files in this directory, which begins anew."""
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "nginx"], cwd=partial, check=True)
    (package,) = partial.glob("nginx_*.deb")
    subprocess.run(["dpkg-deb", "-x", str(package), str(partial)], check=True)
    package.unlink()
    partial.chmod(0o755)
    return partial


def written(name: str) -> str:
    """A file as the role writes it from its template, for a node whose web server is in BASE and is USER's."""
    values = yaml.safe_load(VARS.read_text("utf-8"))
    values = {key: value for key, value in values.items() if isinstance(value, str) and "{{" not in value}
    values.update(worker_http_user="@USER@", worker_http_max_body_mb=MAX_BODY_MB, ansible_managed="test")
    made = jinja2.Environment(keep_trailing_newline=True, autoescape=False)  # noqa: S701 - no HTML
    made.filters["dirname"] = os.path.dirname
    text: str = made.from_string((TEMPLATES / name).read_text("utf-8")).render(**values)
    return text.replace("/var/lib/vac_http", "@BASE@/nginx")


def directories() -> str:
    """The commands that make what systemd-tmpfiles makes at the start of a node."""
    lines = [line.split() for line in written("vac_http.tmpfiles.j2").splitlines() if not line.startswith("#")]
    assert all(len(words) == 6 and (words[0], words[5]) == ("d", "-") for words in lines), lines
    return "\n".join(f"install -d -m {mode} -o {user} -g {group} {path}" for _d, path, mode, user, group, _age in lines)


class HttpNode:
    """The node while the context lasts."""

    enter: tuple[str, ...] = ("unshare", "-mn", "--propagation", "private")

    def __init__(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="vac-http-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> HttpNode:
        self.base.chmod(0o755)
        for name in ("execute", "nginx"):
            (self.base / name).mkdir()
        shutil.chown(self.base / "nginx", HTTP_USER, HTTP_USER)
        (self.base / "nginx.conf").write_text(self._filled(written("vac_http.conf.j2")))
        log = (self.base / "log").open("wb")
        with log:
            self._process = subprocess.Popen(
                [*self.enter, "sh", "-c", self._filled(START)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "ACTIVATE": self._filled(ACTIVATE)},
            )
        self._wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)
        shutil.rmtree(self.base, ignore_errors=True)

    def _filled(self, text: str) -> str:
        described = {"execute": f"{self.base}/execute", "sharing": ["nfs", "http"], "http_group": HTTP_USER}
        values = {
            "@DIRECTORIES@": directories(),
            "@BASE@": str(self.base),
            "@NGINX@": str(nginx()),
            "@USER@": HTTP_USER,
            "@PYTHON@": sys.executable,
            "@SOURCE@": str(CHECKOUT / "src"),
            "@SETTINGS@": json.dumps(described),
            # systemd clears or sets it as the service says (systemd.service(5)).
            "@NONBLOCKING@": str("NonBlocking=true" in written("vac_http.service.j2").splitlines()),
        }
        for word, value in values.items():
            text = text.replace(word, value)
        return text

    def _wait(self) -> None:
        for _ in range(200):
            assert self._process is not None
            assert self._process.poll() is None, (self.base / "log").read_text()
            # In the host's own network another machine may answer at that address.
            if self._apart() and self.inside("curl", "-s", "-m", "5", MJF).returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError(f"nginx does not answer: {(self.base / 'log').read_text()}")

    def _apart(self) -> bool:
        """Whether the process has its own namespaces yet."""
        assert self._process is not None
        return all(
            os.readlink(f"/proc/{self._process.pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")
            for name in ("mnt", "net")
        )

    def inside(
        self, *argv: str, stdin: str = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command in the node's namespaces."""
        assert self._process is not None
        return subprocess.run(
            ["nsenter", "-t", str(self._process.pid), "-m", "-n", "--", *argv],
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={"PATH": os.environ["PATH"], **(env or {})},
        )

    def popen(self, *argv: str) -> subprocess.Popen[str]:
        """A program that runs in the node's namespaces until its standard input ends."""
        assert self._process is not None
        return subprocess.Popen(
            ["nsenter", "-t", str(self._process.pid), "-m", "-n", "--", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def curl(self, address: str, url: str, *options: str) -> Answer:
        """Ask as the VM with this address."""
        out = "\n%{http_code} %{content_type}"
        done = self.inside("curl", "-sS", "-m", "20", "--path-as-is", "--interface", address, "-w", out, *options, url)
        body, _, last = done.stdout.rpartition("\n")
        status, _, kind = last.partition(" ")
        return Answer(int(status or 0), body, kind)

    def acquire(self, number: int, sharing: str = "http") -> dict[str, Any]:
        """A lease for the VM of a new job; root's own program grants it."""
        sandbox = self.base / "execute" / f"dir_{number}"
        sandbox.mkdir(mode=0o755)
        os.chown(sandbox, UID, GID)
        request = {
            "sandbox": str(sandbox),
            "domain": f"vac_lab_{number}.0",
            "machinetype": "atlas",
            "sharing": sharing,
            "fizzle_seconds": 600,
            "max_wallclock_seconds": 86400,
            "heartbeat_seconds": 0,
            "evidence_cpu_fraction": 0.3,
        }
        granted: dict[str, Any] = json.loads(self._lease("acquire", request))
        return granted

    def release(self, granted: dict[str, Any]) -> None:
        """What the hook does at the VM's end, without libvirt's word on what runs."""
        self._lease("release", {"uuid": granted["uuid"]})

    def _lease(self, action: str, request: dict[str, Any]) -> str:
        program = self._filled(LEASE)
        if action == "release":
            without_libvirt = "from condor_vac.worker import libvirt\nlibvirt.active = dict\nsys.exit("
            program = program.replace("sys.exit(", without_libvirt)
        program = program.replace(
            "from condor_vac.worker.programs import lease_helper",
            "from condor_vac.worker.lease import grant, http_share\nhttp_share.NODE_NAMESPACE = '/proc/self/ns/mnt'\n"
            "grant.user_name = lambda _uid: 'vac'\n"
            "from condor_vac.worker.programs import lease_helper",
        )
        done = self.inside(
            sys.executable, "-c", program, action,
            stdin=json.dumps(request), env={"SUDO_UID": str(UID), "SUDO_GID": str(GID)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout
