# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool in a box as the scenarios with VM jobs of their own use it."""

from __future__ import annotations

import base64
import json
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import testinfra

HERE = Path(__file__).resolve().parent
AGENT = HERE.parents[2] / "tests/experiment/guest/agent.user_data"
PLACE = "/var/lib/condor_vac/tests"
TOOL = "/usr/local/lib/vm_jobs.py"
DIRECTORIES = ("machinefeatures", "jobfeatures", "joboutputs")
# A host of its own on the VMs' bridge, with an address that the network may give a VM and has given none.
STRANGER_ADDRESS = "192.168.86.250"
STRANGER = (
    "ip netns add stranger && ip link add stranger0 type veth peer name eth0 netns stranger"
    f" && ip link set stranger0 master vac0 up && ip -n stranger address add {STRANGER_ADDRESS}/24 dev eth0"
    " && ip -n stranger link set eth0 up && ip -n stranger route add default via 192.168.86.1 && sleep 1"
)
IDLE = 1
RUNNING = 2
COMPLETED = 4
HELD = 5
# A look keeps a container busy for half a second and an emulated machine for several: between two of them it works for
# twice as long at least.
LOOK_SECONDS = 2.0
# Every part of the node answers within this time, unless a test keeps it from doing so.
ANSWER_SECONDS = 300


class Box:
    """The machine, by testinfra; jobs of a test are in clusters of their own, beside the factory's."""

    def __init__(self, host: Any) -> None:
        self.host = host
        self.tool = TOOL
        self.put(TOOL, (HERE / "vm_jobs.py").read_bytes())

    def run(self, script: str) -> str:
        """Standard output of a shell script, which must succeed."""
        done = self.host.run(script)
        assert done.rc == 0, f"{script}: {done.stderr or done.stdout}"
        return str(done.stdout).strip()

    def put(self, path: str, data: bytes) -> None:
        """Write a file."""
        text = base64.b64encode(data).decode()
        done = self.host.run(f"mkdir -p {path.rpartition('/')[0]} && echo {text} | base64 -d > {path}")
        assert done.rc == 0, done.stderr

    def submit(self, name: str, count: int = 1, user_data: bytes | None = None, **changes: Any) -> str:
        """Submit VM jobs; returns the cluster. ``changes``: options, machinetype, commands (vm_jobs.py)."""
        self.put(f"{PLACE}/{name}/user_data", AGENT.read_bytes() if user_data is None else user_data)
        words = shlex.join(["python3", TOOL, "submit", name, str(count), json.dumps(changes)])
        done = self.host.run(words)
        assert done.rc == 0, done.stderr
        return str(done.stdout).strip()

    def add_task(self, queue: str, seconds: int, number: int = 1, *, light: bool = False) -> str:
        """Add tasks to an experiment's queue on the box; returns the queue's address for VMs."""
        self.run(f"taskqueue add http://127.0.0.1:8080/{queue} {number} {seconds}{' --light' if light else ''}")
        return self.queue(queue)

    def queue(self, queue: str) -> str:
        """The address, for VMs, of an experiment's queue on the box."""
        address = self.run('ip -4 -o addr show scope global | awk \'!/vac0/ { sub("/.*", "", $4); print $4; exit }\'')
        return f"http://{address}:8080/{queue}"

    def http_status(self, url: str) -> str:
        """What the VMs' web server answers an address of the VMs' network that no VM has; empty if nothing."""
        host, _, path = url.removeprefix("http://").partition("/")
        code = (
            f"import http.client; c = http.client.HTTPConnection('{host}', timeout=10);"
            f" c.request('GET', '/{path}'); print(c.getresponse().status)"
        )
        return str(self.as_stranger(f"python3 -c {shlex.quote(code)}").stdout).strip()

    def as_stranger(self, command: str) -> Any:
        """What a command ended with on a host of the VMs' network that is no VM."""
        self.run(STRANGER)
        try:
            return self.host.run(f"ip netns exec stranger timeout 600 {command}")
        finally:
            self.run("ip netns del stranger")

    def look(self) -> dict[str, Any]:
        """What can be seen of the node now (vm_jobs.py); ``unknown`` names what cannot."""
        done = self.host.run(f"python3 {TOOL} state")
        assert done.rc == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def state(self) -> dict[str, Any]:
        """What the node holds, when every part of it answers."""
        return self.until("libvirt, HTCondor and the leases answer", lambda _: True, ANSWER_SECONDS)

    def until(self, what: str, wanted: Callable[[dict[str, Any]], object], seconds: float = 300) -> dict[str, Any]:
        """Look until nothing of the state is unknown and ``wanted`` is true of it; fails with the last one."""
        deadline = time.monotonic() + seconds
        while True:
            began = time.monotonic()
            found = self.look()
            if not found["unknown"] and wanted(found):
                return found
            if time.monotonic() > deadline:
                log = self.host.run("journalctl -n 40 -o cat -t condor_vac -u vac_watch -u libvirtd -u condor").stdout
                pytest.fail(f"{what}: not within {seconds:g} s: {json.dumps(found, indent=1)}\n{log}")
            time.sleep(max(LOOK_SECONDS, 2 * (time.monotonic() - began)))

    def watch(self, seconds: float = 1200) -> None:
        """Have vac_watch run until everything has answered it: on a busy host a starter may be late."""
        self.until("a whole run of vac_watch", lambda _: self.host.run("systemctl start vac_watch").rc == 0, seconds)

    def condor_version(self) -> tuple[int, ...]:
        """HTCondor's version, such as (25, 14, 1)."""
        return tuple(int(number) for number in self.run("condor_version").split()[1].split("."))

    def make_room(self, vms: int) -> None:
        """Have room for so many VMs at once, whatever the machine has: they are small, and mostly wait."""
        self.put("/etc/condor/config.d/90-room.config", f"NUM_CPUS = {vms}\nMEMORY = {vms * 512}\n".encode())
        self.run("systemctl restart condor")
        deadline = time.monotonic() + ANSWER_SECONDS
        while self.host.run("condor_status -constraint PartitionableSlot -af TotalSlotCpus").stdout.strip() != str(vms):
            assert time.monotonic() < deadline, f"HTCondor does not offer {vms} processors"
            time.sleep(LOOK_SECONDS)

    def clear(self, seconds: float = 300) -> None:
        """Hold the factory and end all VMs; wait until nothing of them is left on the node."""
        self.host.run("condor_hold -constraint 'JobUniverse == 7 && JobStatus != 5'")
        self.host.run("condor_rm -constraint 'JobUniverse == 13'")
        self.until("all VMs are gone", lambda now: not now["leases"] and nothing_leaked(now), seconds)

    def remove(self, *clusters: str) -> None:
        """Take the jobs away and wait until nothing of them is left on the node."""
        for cluster in clusters:
            self.host.run(f"condor_rm {cluster}")
        self.until("removed VMs are gone", lambda now: not of_clusters(now, *clusters) and nothing_leaked(now))
        self.host.run(f"rm -rf {PLACE}")


@pytest.fixture(scope="session")
def box() -> Box:
    """The pool in a box of the scenario; its conftest takes this in."""
    uri = f"ansible://worker_node?ansible_inventory={os.environ['MOLECULE_INVENTORY_FILE']}"
    return Box(testinfra.get_hosts([uri])[0])


@pytest.fixture(scope="session", autouse=True)
def alone(box: Box) -> None:
    """The factory holds still, until a run of the roles releases it, and its VMs are gone; for who takes this in."""
    box.clear()


def of_clusters(state: dict[str, Any], *clusters: str) -> list[dict[str, Any]]:
    """The leases of the jobs in these clusters."""
    return [one for one in state["leases"] if cluster_of(one) in clusters]


def job_of(lease: dict[str, Any]) -> str:
    """The id of the lease's job, CLUSTER.PROC."""
    return str(lease["domain"]).rpartition("_")[2]


def cluster_of(lease: dict[str, Any]) -> str:
    """The cluster of the lease's job."""
    return job_of(lease).partition(".")[0]


def leaks(state: dict[str, Any]) -> list[str]:
    """What the node holds that belongs to no VM."""
    leases = state["leases"]
    shared = {(f"{one['sandbox']}/{name}", one["address"]) for one in leases for name in DIRECTORIES}
    uuids = {one["uuid"] for one in leases}
    found = [f"lease without a sandbox: {one['domain']}" for one in leases if not one["sandbox_there"]]
    found += [f"domain without a lease: {name}" for name in state["domains"] if name not in _names(leases)]
    found += [f"export without a lease: {item}" for item in state["exports"] if tuple(item) not in shared]
    addresses = {one["address"] for one in leases}
    found += [f"shared by HTTP without a lease: {item}" for item in state["shares"] if item not in addresses]
    found += [f"console without a lease: {name}" for name in state["consoles"] if name[4:40] not in uuids]
    return found


def nothing_leaked(state: dict[str, Any]) -> bool:
    """Whether everything on the node belongs to a VM."""
    return not leaks(state)


def working(lease: dict[str, Any], state: dict[str, Any]) -> bool:
    """Whether the VM of the lease runs, with everything it was given, and has written its heartbeat."""
    if lease["domain"] not in state["domains"] or lease["heartbeat"] is None:
        return False
    exported = [item for item in state["exports"] if item[0].startswith(f"{lease['sandbox']}/")]
    by_nfs = lease["sharing"] == "http" or len(exported) == len(DIRECTORIES)
    by_http = lease["sharing"] == "nfs" or set(DIRECTORIES) < set(state["shares"].get(lease["address"], ()))
    return by_nfs and by_http


def _names(leases: list[dict[str, Any]]) -> set[str]:
    return {one["domain"] for one in leases}
