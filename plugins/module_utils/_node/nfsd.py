# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel's NFS server as it is: versions, sockets, exports, and the files that configure it."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command

# 2049 in hexadecimal, and the state LISTEN, as /proc/net/tcp writes them.
PORT, LISTEN = "0801", "0A"
ANY = {"0.0.0.0", "::"}  # noqa: S104 - compared with, never bound to
EXPORT = re.compile(r"(\S+)\s+(\S+?)\(([^)]*)\)")


@dataclass(frozen=True)
class Serving:
    """What the kernel serves: number of threads, major versions, addresses that listen on port 2049."""

    threads: int
    versions: tuple[str, ...]
    addresses: tuple[str, ...]

    def differs(self, versions: Sequence[str], listen: Sequence[str]) -> bool:
        """Whether it is not what is wanted; an empty *listen* means all addresses."""
        if not self.threads or set(self.versions) != set(versions):
            return True
        if listen:
            return set(self.addresses) != set(listen)
        return not ANY & set(self.addresses)

    def describe(self) -> dict[str, Any]:
        """As part of a module's result."""
        return {"threads": self.threads, "versions": list(self.versions), "addresses": list(self.addresses)}

    def __str__(self) -> str:
        if not self.threads:
            return "nothing"
        return f"NFS {', '.join(self.versions)} on {', '.join(self.addresses) or 'all addresses'}"


def serving(root: str = "/") -> Serving:
    """Read the kernel's own account; all is empty while no server runs."""
    threads = _text(root, "proc/fs/nfsd/threads").strip()
    words = _text(root, "proc/fs/nfsd/versions").split()
    versions = sorted({word[1:].split(".")[0] for word in words if word.startswith("+")})
    if not threads.isdigit() or threads == "0":
        return Serving(0, (), ())
    addresses = {address for name in ("tcp", "tcp6") for address in _listening(_text(root, f"proc/net/{name}"))}
    return Serving(int(threads), tuple(versions), tuple(sorted(addresses)))


def _listening(table: str) -> Iterator[str]:
    """Addresses of the sockets that listen on NFS's port, from the text of /proc/net/tcp or tcp6."""
    for line in table.splitlines()[1:]:
        words = line.split()
        host, _colon, port = words[1].partition(":")
        if port == PORT and words[3] == LISTEN:
            # The kernel prints 32-bit words in its own byte order.
            groups = [bytes.fromhex(host[at : at + 8]) for at in range(0, len(host), 8)]
            packed = b"".join(group[::-1] if sys.byteorder == "little" else group for group in groups)
            yield str(ipaddress.ip_address(packed))


def module_available(root: str, command: Command) -> bool:
    """Whether the running kernel has an NFS server, loaded, built in or to be loaded."""
    if any(os.path.exists(os.path.join(root, path)) for path in ("sys/module/nfsd", "proc/fs/nfsd/threads")):
        return True
    modprobe = command.find("modprobe")
    return modprobe is not None and command.run([modprobe, "--dry-run", "--quiet", "nfsd"], ok=None).ok


def own_addresses(command: Command) -> set[str]:
    """Every address of this node."""
    ip = command.require("ip", "install the package iproute2 (Enterprise Linux: iproute)")
    interfaces = json.loads(command.run([ip, "-json", "address", "show"]).stdout or "[]")
    return {info["local"] for interface in interfaces for info in interface.get("addr_info", []) if "local" in info}


def exports(root: str = "/") -> list[tuple[str, str, str]]:
    """The exports that exist, as (directory, client, options) in the words of exportfs's table."""
    lines = _text(root, "var/lib/nfs/etab").splitlines()
    return [match.groups() for match in map(EXPORT.match, lines) if match]  # type: ignore[misc]


def export_again(command: Command, root: str, wanted: list[tuple[str, str, str]]) -> None:
    """Make those of the *wanted* exports that are no longer there. Raises CommandError."""
    exportfs = command.require("exportfs", "install the NFS server's package")
    present = {(directory, client) for directory, client, _options in exports(root)}
    for directory, client, options in wanted:
        if (directory, client) not in present:
            command.run([exportfs, "-o", options, f"{client}:{directory}"])


def settings_after(path: str) -> Iterator[tuple[str, int, str, str]]:
    """(file, line, key, value) of section nfsd in the files of the same directory that are read after *path*."""
    directory, own = os.path.split(path)
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    for name in names:
        if name.endswith(".conf") and not name.startswith(".") and name > own:
            yield from _section(os.path.join(directory, name))


def _section(path: str) -> Iterator[tuple[str, int, str, str]]:
    section = ""
    for number, raw in enumerate(_text("/", path.lstrip("/")).splitlines(), start=1):
        line = raw.split("#")[0].split(";")[0].strip()
        header = re.match(r"\[\s*([^\]\s]+)", line)
        if header is not None:
            section = header.group(1).lower()
        elif section == "nfsd" and "=" in line:
            key, _equals, value = line.partition("=")
            yield path, number, key.strip().lower(), value.strip().strip('"')


def is_yes(value: str) -> bool:
    """A truth value as nfs.conf(5) writes it."""
    return value.lower() in {"1", "t", "true", "y", "yes", "on"}


def _text(root: str, path: str) -> str:
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""
