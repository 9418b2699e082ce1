# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian images of the lab, built by mmdebstrap and kept by the content of their recipe.

An image is a tree (``root``), which containers have below them, and its kernel; a machine's disk is made of the tree
when the first machine wants it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from . import cloud, host
from .paths import SOURCE, LabError, as_root, cache_dir, locked
from .progress import Progress, tail

MACHINE_KINDS = ("bare", "prepared", "sid")
KINDS = (*MACHINE_KINDS, "cloud")
_DISK = "40G"
_DEFAULT_MIRROR = "http://deb.debian.org/debian"

# For every tree of Debian packages that the lab makes.
MMDEBSTRAP = (
    "--verbose", "--mode=root", "--format=directory",
    "--aptopt=Acquire::Languages \"none\"", "--aptopt=Acquire::Retries \"3\"",
    "--aptopt=APT::Install-Recommends \"false\"",
)  # fmt: skip
# dpkg reads its excludes from the image itself later on; while it is built they are options.
_MMDEBSTRAP = (
    *MMDEBSTRAP, "--variant=minbase", "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)  # fmt: skip
# A mirror's copy of sid may be older than its Release file allows; the signature still counts.
_SID = ('--aptopt=Acquire::Check-Valid-Until "false"',)
# What runs a build in a mount and process namespace of its own: when it ends, however it ends, the kernel takes every
# process and mount of it along. unshare itself ignores SIGTERM, and sudo passes no SIGKILL on: hence the shell.
ALONE = (
    "sh", "-c", '"$@" & child=$!; trap "kill -KILL $child" TERM INT HUP; wait $child', "sh",
    "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
)  # fmt: skip
# Few inodes and none reserved: the disk holds a small system and large sparse files.
_MKFS = ("-q", "-F", "-L", "lab", "-m", "0", "-i", "65536")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is in an image."""

    kind: str
    suite: str
    packages: tuple[str, ...]
    sources: tuple[str, ...]
    overlay: str

    def key(self) -> str:
        """Return the digest under which the image is kept."""
        content = [self.kind, self.suite, sorted(self.packages), self.sources, self.overlay, _MMDEBSTRAP, _MKFS, _DISK]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Image:
    """A built image: its directory holds root and vmlinuz; that of a cloud image holds disk.qcow2 instead."""

    name: str

    @property
    def directory(self) -> Path:
        """Where the image's files are."""
        return images_dir() / self.name

    @property
    def root(self) -> Path:
        """The tree, which containers only read."""
        return self.directory / "root"

    @property
    def disk(self) -> Path:
        """The raw disk, which machines only read; ``build_disk`` makes it."""
        return self.directory / "disk.raw"

    @property
    def kernel(self) -> Path:
        """The kernel that boots the disk without an initrd."""
        return self.directory / "vmlinuz"


def images_dir() -> Path:
    """Return the directory of images."""
    return cache_dir() / "images"


def package_lists(path: Path = SOURCE / "packages.yml") -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Return each kind's suite and its complete list of packages."""
    data: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    bare, cloud = tuple(data["bare"]), tuple(data["cloud"])
    prepared = (*bare, *data["prepared"])
    return data["suites"], {"bare": bare, "prepared": prepared, "sid": prepared, "cloud": cloud}


def mirrors(targets: Iterable[str], suite: str) -> tuple[str, ...]:
    """Return apt source lines for `suite` from the Debian mirrors that the host uses.

    `targets` are lines of apt-get indextargets: ORIGIN|LABEL|COMPONENT|REPO_URI. A host that uses
    no Debian mirror (another distribution) gets Debian's own.
    """
    archive, security = _DEFAULT_MIRROR, None
    for target in targets:
        origin, label, component, uri = (*target.split("|"), "", "", "", "")[:4]
        if origin != "Debian" or component != "main":
            continue
        if label == "Debian-Security":
            security = uri.rstrip("/")
        elif label == "Debian":
            archive = uri.rstrip("/")
    if suite == "sid":
        return (f"deb {archive} sid main",)
    lines = [f"deb {archive} {suite} main", f"deb {archive} {suite}-updates main"]
    return tuple([*lines, f"deb {security} {suite}-security main"] if security else lines)


def host_targets() -> list[str]:
    """Return what apt on this host fetches package lists from, in the form that `mirrors` reads."""
    if host.find_program("apt-get") is None:
        return []
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)", "Identifier: Packages"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return listing.stdout.splitlines()


def tree_digest(paths: Iterable[Path]) -> str:
    """Return a digest of the names and contents of files and of everything in directories."""
    digest = hashlib.sha256()
    for top in paths:
        files = sorted(path for path in top.rglob("*") if path.is_file()) if top.is_dir() else [top]
        for path in files:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(top.parent)} {content}\n".encode())
    return digest.hexdigest()


def recipe(kind: str) -> Recipe:
    """Return how the image of this kind is built on this host."""
    suites, lists = package_lists()
    overlay = tree_digest(cloud.SOURCES if kind == "cloud" else [SOURCE / "rootfs", SOURCE / "customize.sh"])
    return Recipe(kind, suites[kind], lists[kind], mirrors(host_targets(), suites[kind]), overlay)


def build(kind: str) -> Image:
    """Return the image of this kind, built now if it is not in the cache."""
    wanted = recipe(kind)
    image = Image(f"{kind}-{wanted.key()}")
    build_once(f"{kind} image", kind, image.name, lambda work: build_script(wanted, work))
    return image


def build_once(what: str, kind: str, name: str, script: Callable[[Path], str]) -> Path:
    """Have a directory of this name, made now by the script for a working directory if it is not there; return it.

    What a build leaves that fails or is killed never has the name; the next one of its `kind` removes it.
    """
    place = images_dir() / name
    if place.is_dir():
        return place
    host.check()
    images_dir().mkdir(parents=True, exist_ok=True)
    with locked(f"image-{kind}"):
        if place.is_dir():
            return place
        remove_leftovers(kind)
        work = Path(tempfile.mkdtemp(dir=images_dir(), prefix=f".{kind}-"))
        try:
            run_build(what, script(work), images_dir() / f"{kind}.log")
            os.chmod(work, 0o755)  # noqa: S103 - other users read the images
            os.replace(work, place)
        finally:
            remove_tree(work)
    return place


def build_script(wanted: Recipe, work: Path) -> str:
    """Return the shell script that makes the image's files in `work`; it runs as root."""
    root = work / "root"
    quoted_root, quoted_work = shlex.quote(str(root)), shlex.quote(str(work))
    hook = f'{shlex.quote(str(SOURCE / "customize.sh"))} {shlex.quote(str(SOURCE / "rootfs"))} "$1"'
    if wanted.kind == "cloud":
        hook = f'{shlex.quote(str(cloud.CUSTOMIZE))} "$1"'
    bootstrap = [
        "mmdebstrap", *_MMDEBSTRAP, *(_SID if wanted.suite == "sid" else ()),
        f"--keyring={host.KEYRING}", f"--customize-hook={hook}",
        f"--include={','.join(wanted.packages)}", wanted.suite, str(root), *wanted.sources,
    ]  # fmt: skip
    return "\n".join([
        "set -eu",
        "export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 INITRD=No",
        shlex.join(bootstrap),
        f"cp {quoted_root}/boot/vmlinuz-* {quoted_work}/vmlinuz",
        *([cloud.disk_script(root, work), f"rm -rf {quoted_root}"] if wanted.kind == "cloud" else []),
        f"printf '%s\\n' {shlex.quote(json.dumps(wanted.__dict__, indent=1))} > {quoted_work}/recipe.json",
        f"find {quoted_work} -maxdepth 1 ! -name root -exec chown {os.getuid()}:{os.getgid()} {{}} +",
    ])  # fmt: skip


def build_disk(image: Image) -> None:
    """Have the image's disk, made now of its tree if it is not there. Raises LabError."""
    with locked("disk"):
        if not image.disk.exists():
            run_build("machines' disk", disk_script(image), images_dir() / "disk.log")


def disk_script(image: Image) -> str:
    """One file system and no partitions: the lab's QEMU is given the kernel beside it."""
    new = str(image.disk.with_suffix(".new"))
    return "\n".join([
        "set -eu",
        "export PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        f"rm -f {shlex.quote(new)}",
        shlex.join(["truncate", "-s", _DISK, new]),
        shlex.join(["mkfs.ext4", *_MKFS, "-d", str(image.root), new]),
        shlex.join(["chown", f"{os.getuid()}:{os.getgid()}", new]),
        shlex.join(["mv", new, str(image.disk)]),
    ])  # fmt: skip


def run_build(what: str, script: str, log: Path) -> None:
    """Run a shell script as root that builds `what`, showing mmdebstrap's progress; raises LabError if it fails."""
    command = [*ALONE, "sh", "-c", script]
    if os.geteuid() != 0:
        subprocess.run(["sudo", "--validate"], check=True)
    command = as_root(*command)
    start = time.monotonic()
    with open(log, "w", encoding="utf-8") as stream, Progress(f"building the {what}") as progress:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                progress.show(tail(log, prefix="I: "))
                time.sleep(0.5)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode != 0:
        raise LabError(f"building the {what} failed, see {log}:\n" + "\n".join(tail(log, 15)))
    progress.done(f"{what} built in {time.monotonic() - start:.0f} s")


def remove_leftovers(kind: str) -> None:
    """Remove what a killed build of this kind left; the caller holds the lock, so none runs."""
    for path in images_dir().glob(f".{kind}-*"):
        remove_tree(path)


def remove_tree(path: Path) -> None:
    """Remove a directory that root may have filled; one that is not there is fine."""
    if path.exists():
        subprocess.run(as_root("rm", "-rf", "--one-file-system", str(path)), check=True)


def prune(in_use: Iterable[str]) -> list[str]:
    """Remove images that no recipe of this checkout makes and no machine uses; return their names."""
    keep = {*in_use, *(f"{kind}-{recipe(kind).key()}" for kind in KINDS)}
    stale = [path for path in images_dir().glob("*-*") if path.is_dir() and path.name not in keep]
    for path in stale:
        remove_tree(path)
    return sorted(path.name for path in stale)
