# SPDX-License-Identifier: GPL-3.0-or-later
"""One node with two VMs for all tests of HTTP sharing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from condor_vac.worker.vm import context
from condor_vac.worker.vm.guest_script import Guest
from tests.integration.http.node import GID, HTTP_USER, UID, HttpNode, missing

KEY = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== admin@site\n"
USER_DATA = b"From nobody\nContent-Type: multipart/mixed\r\n\r\n\xff\xfe of vm "


@dataclass(frozen=True)
class Vm:
    """One VM of the node: where its requests come from, and its directories."""

    node: HttpNode
    address: str
    uuid: str
    sandbox: Path

    def get(self, url: str, *options: str) -> Any:
        return self.node.curl(self.address, url, *options)


def start(node: HttpNode, number: int, sharing: str = "http") -> tuple[Vm, dict[str, Any]]:
    """A VM with features and metadata as the prepare hook writes them."""
    granted = node.acquire(number, sharing)
    vm = Vm(node, granted["address"], granted["uuid"], Path(granted["sandbox"]))
    guest = Guest(
        vm.uuid, granted["hostname"], granted["mac"], granted["gateway"], sharing, "/m", "/j", "/o",
        root_public_key=KEY,
    )  # fmt: skip
    made = context.metadata(guest, "atlas", "space.example", USER_DATA + str(number).encode())
    for name, data in made.items():
        write(vm.sandbox / "metadata" / name, data, 0o640)
    write(vm.sandbox / "machinefeatures" / "total_cpu", b"2")
    write(vm.sandbox / "jobfeatures" / "job_id", vm.uuid.encode())
    return vm, granted


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """A file of the job's user, with the group that its directory passes on."""
    path.write_bytes(data)
    os.chown(path, UID, -1)
    path.chmod(mode)


@pytest.fixture(scope="session")
def node() -> Iterator[HttpNode]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    with HttpNode() as made:
        yield made


@pytest.fixture(scope="session")
def vm(node: HttpNode) -> Vm:
    return start(node, 1)[0]


@pytest.fixture(scope="session")
def other(node: HttpNode, vm: Vm) -> Vm:
    found = start(node, 2)[0]
    assert found.address != vm.address
    return found


__all__ = ["GID", "HTTP_USER", "UID"]
