# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor on what attacks and crashes leave, and on what breaks VM universe without a word; it changes nothing."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.shared import LEASE_PROGRAM
from condor_vac.cli import doctor
from condor_vac.worker.checks.node import Check, Node, Once
from condor_vac.worker.checks.table import CHECKS
from condor_vac.worker.lease.store import Lease, boottime
from tests.unit.condor_vac.cli.pretended_node import OWNER, Pretended, findings
from tests.unit.damage import MADE, UNREADABLE, unreadable, wrong_types

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow

UUIDS = [f"{number:08d}-1111-2222-3333-444444444444" for number in range(9)]
LEASES = "/run/condor_vac/leases"
HTTP = "/run/condor_vac/http"
DAY = 86400
PLACES = ("/var/lib/condor_vac/images", "/var/lib/condor/execute")


def lease(node: Pretended, number: int, **changes: Any) -> Path:
    """A lease of a VM whose start is some hours ago."""
    sandbox, made = f"/var/lib/condor/execute/dir_{number}", boottime() - 7200
    keys: dict[str, Any] = {**dict.fromkeys(Lease._fields, "/x"), **Lease._field_defaults, **dict.fromkeys(NUMBERS, 1)}
    keys.update(
        uuid=UUIDS[number], domain=f"{OWNER}_{number}.0", sandbox=sandbox, address=f"192.168.86.{10 + number}",
        sharing="both", created=0, created_boottime=made, started=0, started_boottime=made, ended=None, images=[],
        ended_boottime=None, saved=False, **{name: f"{sandbox}/{name}" for name in DIRECTORIES},
    )  # fmt: skip
    return node.write(f"{LEASES}/{UUIDS[number]}.json", json.dumps({**keys, **changes}))


NUMBERS = ("uid", "gid", "fizzle_seconds", "max_wallclock_seconds", "heartbeat_seconds", "evidence_cpu_fraction")
DIRECTORIES = ("machinefeatures", "jobfeatures", "joboutputs")


def running(node: Pretended, *numbers: int, exports: tuple[int, ...] | None = None, more: str = "") -> None:
    domains = "".join(f"Domain: '{OWNER}_{number}.0'\n  state.state=1\n" for number in numbers)
    node.answers["domstats"] = (0, domains + more)
    lines = [
        f"/var/lib/condor/execute/dir_{number}/{name}  192.168.86.{10 + number}(rw)\n"
        for number in (numbers if exports is None else exports)
        for name in DIRECTORIES
    ]
    node.answers["exportfs"] = (0, "".join(lines))


@pytest.fixture(name="busy")
def _busy(node: Pretended) -> Pretended:
    """A node with two VMs, as it should be."""
    for number in (1, 2):
        lease(node, number)
        (node.base / f"{HTTP}/192.168.86.{10 + number}".lstrip("/")).mkdir(parents=True)
    running(node, 1, 2)
    node.write("/etc/sudoers.d/condor_vac", f"# x\n{OWNER} ALL = (root) NOPASSWD: {LEASE_PROGRAM}\n")
    node.write("/etc/condor/tokens.d/pool", token(time.time() + 400 * DAY), 0o600)
    node.slot.update(MyCurrentTime=1_000_000, LastHeardFrom=1_000_002)
    return node


def token(end: object) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256"}, {"sub": "x", "exp": end}, {})]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "\n"


def test_a_good_node_with_vms_has_no_findings(busy: Pretended) -> None:
    assert findings(busy) == {}


def foreign(node: Pretended) -> None:
    lease(node, 1).chmod(0o666)


FAULTS: dict[str, tuple[Callable[[Pretended], object], str, str]] = {
    "a lease without VM": (lambda n: lease(n, 3), "nfs/leases", f"the lease {UUIDS[3]} of {OWNER}_3.0 has no VM"),
    "a lease from the future": (
        lambda n: lease(n, 3, created_boottime=boottime() + DAY), "nfs/leases", f"{OWNER}_3.0 has no VM",
    ),
    "a file that is no lease": (lambda n: n.write(f"{LEASES}/x\x1b.json", "{}"), "nfs/leases", "not a lease"),
    "a lease that others can write": (foreign, "nfs/leases", "world-writable (mode 0666)"),
    "a damaged lease that vac_watch put aside": (
        lambda n: n.write(f"/run/condor_vac/damaged/{UUIDS[3]}.json", "{"), "nfs/VMs watched", f"{UUIDS[3]}.json: was",
    ),
    "a VM that vac_watch could not look at": (
        lambda n: n.write("/run/condor_vac/troubles.json", json.dumps(["vac_lab_1.0: no\x1b answer", 7])),
        "nfs/VMs watched", "vac_lab_1.0: no",
    ),
    "a VM without lease": (
        lambda n: running(n, 1, 2, 7, exports=(1, 2)), "nfs/VMs", f"VM {OWNER}_7.0 runs without a lease",
    ),
    "a stray export": (
        lambda n: running(n, 1, 2, exports=(1, 2, 5)), "nfs/exports",
        "/var/lib/condor/execute/dir_5/joboutputs is exported to 192.168.86.15, and no lease has it",
    ),
    "a lost export": (lambda n: running(n, 1, 2, exports=(1,)), "nfs/exports", f"VM {OWNER}_2.0 has lost 3 of its NFS"),
    "a stray directory of nginx": (
        lambda n: (n.base / f"{HTTP}/192.168.86.77".lstrip("/")).mkdir(), "http/directories",
        f"nginx shows {HTTP}/192.168.86.77, and no lease has this address",
    ),
    "a link in nginx's directory": (
        lambda n: (n.base / f"{HTTP}/192.168.86.78".lstrip("/")).symlink_to("/etc"), "http/directories",
        f"{HTTP}/192.168.86.78 is no directory, and nginx may serve it",
    ),
    "a directory of nginx that others can write": (
        lambda n: (n.base / f"{HTTP}/192.168.86.11".lstrip("/")).chmod(0o777), "http/directories", "world-writable",
    ),
    "a rule for another user": (
        lambda n: n.write("/etc/sudoers.d/condor_vac", "mallory ALL = (root) NOPASSWD: /usr/local/libexec/vac_lease\n"),
        "sudoers/sudo's file", "has another rule: mallory ALL",
    ),
    "a rule for more": (
        lambda n: n.write("/etc/sudoers.d/condor_vac", f"{OWNER} ALL = (root) NOPASSWD: {LEASE_PROGRAM}, ALL"),
        "sudoers/sudo's file", "has another rule",
    ),
    "an include": (
        lambda n: n.write("/etc/sudoers.d/condor_vac", "#include /tmp/x\n"), "sudoers/sudo's file", "#include /tmp/x",
    ),
    "a sudoers file that others can write": (
        lambda n: n.write("/etc/sudoers.d/condor_vac", "# x\n", 0o666), "sudoers/sudo's file", "can become root",
    ),
    "a program of another mode": (
        lambda n: (n.base / "usr/local/lib/condor_vac/current/condor_vac/__init__.py").chmod(0o666), "hooks/programs",
        "writable by others than root",
    ),
    "hidden mounts": (
        lambda n: n.knobs.update(LVM_HIDE_MOUNT="True", STARTD_ENFORCE_DISK_LIMITS="true"), "condor/hidden mounts",
        "HTCondor then advertises HasVM = False",
    ),
    "a token that expires": (
        lambda n: n.write("/etc/condor/tokens.d/pool", token(time.time() + 10 * DAY)), "condor/tokens",
        "the token /etc/condor/tokens.d/pool expires in 10 days, at 20",
    ),
    "a token that has expired": (
        lambda n: n.write("/etc/condor/tokens.d/pool", token(1000)), "condor/tokens", "pool has expired",
    ),
    "a token that is none": (
        lambda n: n.write("/etc/condor/tokens.d/pool", "secret.secret\n"), "condor/tokens", "not a JSON Web Token",
    ),
    "an empty token": (
        lambda n: n.write("/etc/condor/tokens.d/pool", "\n"), "condor/tokens", "there is no token in it",
    ),
    "a server of images that is away": (
        lambda n: n.write(
            "/var/lib/condor_vac/images/.versions/.refresh.json", '{"cernvm.iso": [1700000000, "no answer"]}'
        ),
        "images/servers", "the image cernvm.iso could not be refreshed since 2023-11-14T22:13:20Z: no answer",
    ),
    "a clock behind": (
        lambda n: n.slot.update(MyCurrentTime=1_000_000, LastHeardFrom=1_000_300), "checks/clock",
        "this node's clock was 300 s behind the central manager's",
    ),
    "a clock ahead": (
        lambda n: n.slot.update(MyCurrentTime=1_000_090, LastHeardFrom=1_000_000), "checks/clock", "90 s ahead of",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_each_remnant_is_named_where_it_is_with_a_remedy_and_nothing_else(busy: Pretended, name: str) -> None:
    make, where, text = FAULTS[name]
    make(busy)
    before = tree(busy.base)
    report = doctor.examine(Node(str(busy.base)), [check for check in CHECKS if check.name != "KVM"])
    found = {f"{entry['step']}/{entry['check']}": entry["findings"] for entry in report["checks"] if not entry["ok"]}
    assert list(found) == [where], found
    assert any(text in item["what"] for item in found[where]), found
    assert all(item["remedy"] and item["what"].isprintable() for item in found[where])
    assert "secret" not in json.dumps(report)
    assert tree(busy.base) == before, "the doctor changed something"


def tree(top: Path) -> dict[str, tuple[int, int, int]]:
    found = {path: path.lstat() for path in sorted(top.rglob("*"))}
    return {str(path): (status.st_mode, status.st_mtime_ns, status.st_size) for path, status in found.items()}


NO_FAULTS: dict[str, Callable[[Pretended], object]] = {
    "a VM of the site's own": lambda n: running(n, 1, 2, more="Domain: 'ubuntu_22.04'\n  state.state=1\n"),
    "a lease whose VM starts": lambda n: lease(n, 3, created_boottime=boottime() - 60),
    "a lease of a suspended VM": lambda n: lease(n, 3, saved=True),
    "exports of the site's own": lambda n: n.answers.update(
        {"exportfs": (0, n.table()["exportfs"][1] + "/srv  10.0.0.7(rw)\n/srv  *(ro)\n")}
    ),
    "mounts hidden where the job allows it": lambda n: n.knobs.update(
        LVM_HIDE_MOUNT="Auto", STARTD_ENFORCE_DISK_LIMITS="True"
    ),
    "hidden mounts without volumes": lambda n: n.knobs.update(LVM_HIDE_MOUNT="True"),
    "a token without an end": lambda n: n.write("/etc/condor/tokens.d/pool", token(None)),
    "a file that HTCondor takes for no token": lambda n: n.write("/etc/condor/tokens.d/.old", "x"),
    "no tokens": lambda n: (n.base / "etc/condor/tokens.d/pool").unlink(),
    "a collector that says nothing of times": lambda n: (n.slot.pop("MyCurrentTime"), n.slot.pop("LastHeardFrom")),
    "a clock within a minute": lambda n: n.slot.update(MyCurrentTime=1_000_060, LastHeardFrom=1_000_000),
}


@pytest.mark.parametrize("name", NO_FAULTS)
def test_what_is_no_fault_is_not_named(busy: Pretended, name: str) -> None:
    NO_FAULTS[name](busy)
    assert findings(busy) == {}


@pytest.mark.parametrize(
    ("room", "found"),
    [
        ((1 << 40, 1 << 20), []),
        ((1 << 40, None), []),
        ((100 << 20, 1 << 20), [f"{place} has 100 MiB left" for place in PLACES]),
        ((1 << 40, 3), [f"{place} has room for 3 more" for place in PLACES]),
    ],
)  # fmt: skip
def test_full_disks(
    busy: Pretended, monkeypatch: pytest.MonkeyPatch, room: tuple[int, int | None], found: list[str]
) -> None:
    monkeypatch.setattr(Node, "room", lambda _node, _directory: room)
    texts = findings(busy).get("images/room", [])
    assert len(texts) == len(found)
    assert all(text.startswith(beginning) for text, beginning in zip(texts, found))


def test_certificates(busy: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    busy.write("/etc/condor/host.pem", "a certificate")
    busy.knobs["AUTH_SSL_SERVER_CERTFILE"] = "/etc/condor/host.pem, /etc/condor/none.pem"
    for days, text in ((100, ""), (20, "host.pem expires in 20 days"), (-1, "host.pem has expired")):
        end = time.strftime("notAfter=%b %d %H:%M:%S %Y GMT\n", time.gmtime(time.time() + days * DAY + 60))
        busy.answers["openssl"] = (0, end)
        texts = findings(busy).get("condor/certificates", [])
        assert len(texts) == bool(text)
        assert text in "".join(texts)
    busy.answers["openssl"] = (1, "unable to load certificate")
    assert "no certificate can be read" in findings(busy)["condor/certificates"][0]


# Each file of a node that the doctor reads, and the checks that may find fault with it.
FILES = {
    "/etc/condor_vac/worker.json": None,
    "/etc/condor_vac/files.json": {"hooks/files"},
    "/usr/local/lib/condor_vac/entry_points.json": {"hooks/hooks"},
    "/usr/local/lib/condor_vac/current/manifest.json": {"hooks/programs"},
    f"{LEASES}/{UUIDS[1]}.json": {"nfs/leases", "nfs/VMs", "nfs/exports", "http/directories"},
    "/etc/condor/tokens.d/pool": {"condor/tokens"},
    # libvirt's hook has the same name, so that who cannot read the one cannot read the other.
    "/etc/sudoers.d/condor_vac": {"sudoers/sudo's file", "hooks/hooks"},
    "/proc/cpuinfo": {"preflight/processor"},
    "/proc/sys/net/ipv4/ip_forward": {"ip_forward/now"},
    "/proc/fs/nfsd/versions": {"nfs/what is served"},
    "/etc/systemd/system/vac_watch.timer": {"hooks/files"},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*MADE, *UNREADABLE])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_costs_the_checks_that_need_it_and_is_named(
    busy: Pretended, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    path = busy.base / name.lstrip("/")
    if kind in MADE:
        MADE[kind](path)
    with monkeypatch.context() as patch:
        if kind in UNREADABLE:
            unreadable(patch, path, kind)
        found = findings(busy)
    if kind == "from the future":
        assert found == {}
        return
    named = FILES[name]
    assert named is None or set(found) <= named, found
    # Half of what the kernel writes there may mean the same.
    same = kind == "truncated" and name.startswith("/proc/")
    assert found or same or (kind, name) == ("empty", "/etc/sudoers.d/condor_vac")
    assert all(text.isprintable() and len(text) <= 500 for texts in found.values() for text in texts)
    assert not [text for texts in found.values() for text in texts if "Error: " in text], "nobody foresaw it"


# The checks that ask leases and the startd's ad.
ASKING = {
    ("nfs", "leases"), ("nfs", "VMs"), ("nfs", "exports"), ("http", "directories"), ("checks", "pool"),
    ("checks", "clock"), ("checks", "VM universe"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("which", ["slot", "lease"])
def test_a_value_of_another_type_is_a_report(busy: Pretended, which: str) -> None:
    """As a startd, or whoever wrote a lease, may say it."""
    path = busy.base / f"{LEASES}/{UUIDS[1]}.json".lstrip("/")
    original = busy.slot if which == "slot" else json.loads(path.read_text())
    checks = [check for check in CHECKS if (check.step, check.name) in ASKING]
    assert len(checks) == len(ASKING)
    for name, text in wrong_types(original):
        if which == "slot":
            busy.answers["condor_status"] = (0, f"[{text}]")
        else:
            path.write_text(text)
        report = doctor.examine(Node(str(busy.base)), checks)
        found = [item["what"] for entry in report["checks"] for item in entry["findings"]]
        assert not [what for what in found if "Error: " in what], (name, found)
        if which == "lease":
            assert not [what for what in found if f"{OWNER}_2.0" in what], (name, "the other VM", found)


def broken(_node: Node) -> Any:
    raise KeyError("\x1b[31m surprise")


def test_a_check_that_breaks_or_hangs_stops_no_other(busy: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(doctor, "CHECK_SECONDS", 0.2)
    monkeypatch.setattr(doctor, "LEAST_SECONDS", 0.2)

    class Slow(Node):
        @Once
        def knobs(self) -> dict[str, str]:
            ended.wait(60)
            return {}

    def hang(node: Node) -> Any:
        return list(node.knobs)

    checks = [
        Check("hooks", "breaks", broken), Check("hooks", "hangs", hang), Check("hooks", "hangs as well", hang),
        Check("hooks", "good", lambda node: list(node.settings[:0])),
    ]  # fmt: skip
    report = doctor.examine(Slow(str(busy.base)), checks)
    ended.set()
    found = {entry["check"]: [item["what"] for item in entry["findings"]] for entry in report["checks"]}
    assert found["breaks"] == ["cannot be checked: KeyError: '\\x1b[31m surprise'"]
    assert found["hangs"][0].startswith("cannot be checked: it hangs")
    assert found["hangs as well"][0].startswith("cannot be checked: it hangs")
    assert found["good"] == []


def test_what_the_kernel_itself_shows_is_read() -> None:
    assert Node("").text("/proc/sys/kernel/ostype") == "Linux\n"
    assert "processor" in Node("").text("/proc/cpuinfo")
