# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the lab that runs as root inside the lab's namespaces; the standard library only.

``inside.py record FILE WORD...`` writes its own process id and start to FILE, then becomes the command WORD...;
``inside.py hold`` prepares the namespaces it is in and stays as their first process, with which all of them end;
``inside.py boot | kill`` are one step for a container; ``probe`` and ``sweep`` have namespaces of their own. Each reads
what it is to do from standard input, as JSON (see the functions). Mounts, links and processes made here are gone with
the holder; only the cgroups have to be removed (``sweep``).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
BRIDGE = "lab0"
SWEEP_SECONDS = 600  # for what hangs
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
REBOOT = 133  # what systemd-nspawn --keep-unit exits with where the container wants to boot again


def run(*argv: str) -> None:
    """Run a command; its complaint goes to standard error. Raises CalledProcessError."""
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def record(path: str, *command: str) -> None:
    """Write {"pid", "started"} of this process to the file, then become the command: it is recorded before it is."""
    status = Path("/proc/self/stat").read_text("utf-8")
    started = (
        f"{Path('/proc/sys/kernel/random/boot_id').read_text('utf-8').strip()}/{status.rpartition(')')[2].split()[19]}"
    )
    new = Path(f"{path}.new")
    new.write_text(json.dumps({"pid": os.getpid(), "started": started}), "utf-8")
    new.chmod(0o644)
    new.replace(path)
    os.execvp(command[0], command)  # noqa: S606 - it becomes the requested program


def hold(spec: dict[str, Any]) -> None:
    """Prepare the lab's namespaces, then stay.

    ``spec``: cgroup (a name), address (of the bridge, with prefix), ready (a file that then holds the cgroup's path).
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as the first process it inherits others' children
    cgroup = own_cgroup(spec["cgroup"])
    for words in (["link", "set", "lo", "up"], ["link", "add", BRIDGE, "type", "bridge", "forward_delay", "0"]):
        run("ip", *words)
    run("ip", "address", "add", spec["address"], "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    Path(spec["ready"]).write_text(str(cgroup), "utf-8")
    while True:
        signal.pause()


def own_cgroup(name: str) -> Path:
    """Mount what nspawn needs of its own (/run, one cgroup v2 tree), and be in a new cgroup of that name; its path."""
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    run("mount", "-t", "cgroup2", "cgroup2", str(CGROUPS))
    place = parent_cgroup() / name
    enter(place / "holder")
    return place


def end_with_parent() -> None:
    """Have this process killed when its parent ends, which is the process that the lab has recorded (prctl(2))."""
    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0 or os.getppid() != 0:
        sys.exit("the parent has ended")


def parent_cgroup() -> Path:
    """The cgroup of this process in the v2 hierarchy: its root, or a delegated scope where systemd rules."""
    for line in Path("/proc/self/cgroup").read_text("utf-8").splitlines():
        if line.startswith("0::/"):
            return CGROUPS / line[4:]
    return CGROUPS


def enter(place: Path) -> None:
    """Be in that cgroup, made if it is not there."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "cgroup.procs").write_text(str(os.getpid()), "utf-8")


def boot(spec: dict[str, Any]) -> None:
    """Run a container until it is off, and again where it wants to boot again.

    ``spec``: cgroup (absolute), merged (its root), overlay (mount options) or None if it is mounted, files (path in the
    container to text), argv (of systemd-nspawn), link (its name on the bridge), kvm (a copy of the host's device to
    make there) or None.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_with_parent()
    enter(Path(spec["cgroup"]))
    merged = Path(spec["merged"])
    if not os.path.ismount(merged):
        run("mount", "-t", "overlay", "-o", spec["overlay"], "overlay", str(merged))
    write_files(merged, spec["files"])
    if spec["kvm"] and not os.path.exists(spec["kvm"]):
        os.mknod(spec["kvm"], stat.S_IFCHR | 0o666, os.stat("/dev/kvm").st_rdev)
    # The kernel takes a killed container's network apart later: its link may still be there.
    subprocess.run(["ip", "link", "delete", spec["link"]], check=False, stdin=subprocess.DEVNULL, capture_output=True)
    while (code := subprocess.run(spec["argv"], check=False, stdin=subprocess.DEVNULL).returncode) == REBOOT:
        pass
    print(f"systemd-nspawn ended with {code}", file=sys.stderr)


def write_files(root: Path, files: dict[str, str]) -> None:
    """Write files of a container that is off: nothing of it runs that could put a link in their place."""
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()
        path.write_text(text, "utf-8")
        path.chmod(0o600 if name.startswith("/root/") else 0o644)


def kill(spec: dict[str, Any]) -> None:
    """Kill every process below a cgroup at once (a power cut), wait until all are gone, and remove it.

    ``spec``: cgroup (absolute), seconds, merged (unmounted, if given). Raises TimeoutError.
    """
    place = Path(spec["cgroup"])
    deadline = time.monotonic() + spec["seconds"]
    while place.is_dir():
        if "populated 1" in (place / "cgroup.events").read_text("utf-8"):
            (place / "cgroup.kill").write_text("1", "utf-8")
        elif remove(place):
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes below {place} do not end even by SIGKILL")
        time.sleep(0.02)
    if spec.get("merged") and os.path.ismount(spec["merged"]):
        run("umount", "--lazy", spec["merged"])


def sweep(spec: dict[str, Any]) -> None:
    """Remove the cgroups that a lab left, those of its killed probes with them.

    ``spec``: cgroup (how their names begin). Raises OSError if processes stay in them.
    """
    run("mount", "-t", "cgroup2", "cgroup2", str(CGROUPS))
    deadline = time.monotonic() + SWEEP_SECONDS
    for place in parent_cgroup().glob(f"{spec['cgroup']}*"):
        while place.is_dir() and not remove(place):
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes are left in the cgroup {place}")
            time.sleep(0.05)


def remove(place: Path) -> bool:
    """Remove a tree of cgroups without processes; returns whether it could be done."""
    for directory, _, _ in os.walk(place, topdown=False):
        try:
            os.rmdir(directory)
        except OSError as error:
            if error.errno not in {errno.EBUSY, errno.ENOENT}:
                raise
            return False
    return True


def probe(spec: dict[str, Any]) -> None:
    """Run a shell in a container made of the host's /usr, on an overlay.

    ``spec``: cgroup (a name), place (an empty directory).
    """
    cgroup = own_cgroup(spec["cgroup"])
    place = Path(spec["place"])
    for name in ("lower/etc", "lower/usr", "up", "work", "merged"):
        (place / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        if Path("/", name).is_symlink():
            (place / "lower" / name).symlink_to(f"usr/{name}")
    (place / "lower/etc/os-release").write_text("ID=probe\n", "utf-8")
    run("mount", "-t", "overlay", "-o", overlay(place, [place / "lower"]), "overlay", str(place / "merged"))
    run("mount", "--bind", "/usr", str(place / "merged/usr"))
    enter(cgroup / "node")
    test = "test -c /dev/net/tun && ls /sys/fs/cgroup/cgroup.procs && ls -d /sys/class/net/host0"
    run(*nspawn("probe", place / "merged"), "--network-veth", "/bin/sh", "-c", test)


def overlay(place: Path, lower: list[Path]) -> str:
    """The mount options of an overlay whose own files are in ``place``; it need not outlive the host (``volatile``)."""
    layers = ":".join(str(path) for path in lower)
    return f"lowerdir={layers},upperdir={place}/up,workdir={place}/work,volatile"


def nspawn(name: str, root: Path) -> list[str]:
    """The words of every systemd-nspawn of the lab: nothing of the host's services, settings or network."""
    return [
        "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--settings=no", f"--machine={name}",
        f"--directory={root}", "--bind=/dev/net/tun", "--console=pipe", "--resolv-conf=off", "--timezone=off",
        "--link-journal=no",
    ]  # fmt: skip


STEPS = {"hold": hold, "boot": boot, "kill": kill, "probe": probe, "sweep": sweep}


def main(arguments: list[str]) -> int:
    """Do the step; 0 good, 1 failed with one line on standard error."""
    try:
        if arguments[0] == "record":
            record(*arguments[1:])
        STEPS[arguments[0]](json.loads(sys.stdin.read()))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
