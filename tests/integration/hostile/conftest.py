# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker node whose programs run as real processes of real users, for attempts to misuse them.

exportfs, virsh and the starter are stand-ins that write down what they are asked; sudo is one that knows its
caller from the kernel. What needs the real ones is tried by the molecule scenario ``hostile``.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.collection import own
from tests.unit.condor_vac.worker.conftest import GID, OTHER, UID, Node, node

__all__ = ["OTHER", "node"]

PROGRAM = str(Path(__file__).with_name("program.py"))
SUDO = """#!/usr/bin/python3
import socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect("@BASE@/sudo.sock")
link.sendall(" ".join(sys.argv[1:]).encode() + b"\\n" + sys.stdin.buffer.read())
link.shutdown(socket.SHUT_WR)
answer = b""
while chunk := link.recv(65536):
    answer += chunk
status, out, err = answer.split(b"\\0", 2)
sys.stdout.buffer.write(out)
sys.stderr.buffer.write(err)
sys.exit(int(status))
"""
ATLAS = {
    "name": "atlas",
    "owner": "vac",
    "kind": "cernvm",
    "image": "/images/boot.iso",
    "user_data": "/etc/user_data",
    "cvmfs_cache_gb": 1,
    "scratch_gb": 1,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Acting as two users needs root; pytest passes every test of the session, whichever directory it is in."""
    if os.getuid() != 0:
        for item in own(items, __file__):
            item.add_marker(pytest.mark.skip(reason="needs root: acts as several users"))


class Hostile:
    """The node and the ways to run its programs."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.base = node.base

    def command(self, module: str, *arguments: str, uid: int = 0) -> list[str]:
        return [sys.executable, PROGRAM, str(self.base), str(uid), str(GID if uid else 0), module, *arguments]

    def run(
        self,
        module: str,
        *arguments: str,
        stdin: bytes = b"",
        uid: int = 0,
        cwd: str = "/",
        environment: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one program to its end, as root or as another user."""
        return subprocess.run(
            self.command(module, *arguments, uid=uid),
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "ALICE": str(OTHER), **(environment or {})},
        )

    def lease(
        self, action: str, request: object, uid: int = UID, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """vac_lease as sudo would run it for this user; ``environment`` is more of it."""
        given = {"SUDO_UID": str(uid), "SUDO_GID": str(GID), **(environment or {})}
        return self.run(
            "condor_vac.worker.programs.lease_helper", action, stdin=json.dumps(request).encode(), environment=given
        )

    def prepare(self, ad: str, sandbox: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        """The prepare hook as the starter runs it."""
        found = {"_CONDOR_SCRATCH_DIR": sandbox, "_CONDOR_CHIRP_CONFIG": f"{sandbox}/.chirp.config", **environment}
        cwd = sandbox if os.path.isdir(sandbox) else "/"
        return self.run(
            "condor_vac.worker.programs.prepare_hook", stdin=ad.encode(), uid=UID, cwd=cwd, environment=found
        )

    def ended(self, domain: str, reason: str = "shutdown") -> subprocess.CompletedProcess[bytes]:
        """libvirt's hook at the end of a VM."""
        return self.run("condor_vac.worker.programs.libvirt_hook", domain, "release", "end", reason)

    def leases(self) -> list[dict[str, Any]]:
        directory = Path(self.node.store.directory)
        return [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]


class _Sudo(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    hostile: Hostile


class _Call(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        """One call: the command on the first line, then its standard input. Only vac_lease is allowed."""
        server = self.server
        assert isinstance(server, _Sudo)
        credentials = self.request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, uid, gid = struct.unpack("3i", credentials)
        words = self.rfile.readline().decode().split()
        if words[:2] != ["-n", "/usr/local/libexec/vac_lease"]:
            self.wfile.write(b"1\0\0sudo: not allowed")
            return
        environment = {"SUDO_UID": str(uid), "SUDO_GID": str(gid)}
        done = server.hostile.run(
            "condor_vac.worker.programs.lease_helper", *words[2:], stdin=self.rfile.read(), environment=environment
        )
        self.wfile.write(b"%d\0%s\0%s" % (done.returncode, done.stdout, done.stderr))


@pytest.fixture
def hostile(node: Node) -> Iterator[Hostile]:
    """The node, ready for programs of several users."""
    found = Hostile(node)
    (node.base / "worker.json").write_text(
        # Where the tests run there need be no KVM.
        json.dumps({"execute": str(node.execute), "image_dir": f"{node.base}/images", "emulation": True})
    )
    (node.base / "images" / "boot.iso").write_bytes(b"\0" * 2048)
    sudo = node.base / "bin" / "sudo"
    sudo.write_text(SUDO.replace("@BASE@", str(node.base)))
    sudo.chmod(0o755)
    server = _Sudo(f"{node.base}/sudo.sock", _Call)
    server.hostile = found
    (node.base / "sudo.sock").chmod(0o777)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


def machinetype_job(hostile: Hostile, number: int = 1, **changes: Any) -> str:
    """A sandbox with a machinetype's input files; returns its path."""
    sandbox = hostile.node.sandbox(number)
    described = {**ATLAS, "image": f"{hostile.base}/images/boot.iso", **changes}
    files = {"atlas.json": json.dumps(described), "user_data": "#!/bin/sh\n"}
    for name, text in files.items():
        path = Path(sandbox, name)
        path.write_text(text)
        os.chown(path, UID, GID)
    return sandbox
