# SPDX-License-Identifier: GPL-3.0-or-later
"""The NFS server against files and tools as Debian 13 (Linux 6.12, nfs-utils 2.8) has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._node import nfsd
from ansible_collections.vacuum.htcondor.plugins.modules import nfs_server

from tests.unit.plugins.harness import Answer, Plugin, Tools, four_calls, run

TCP = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
# 192.168.86.1:53 and 0.0.0.0:22 listen; a client is connected to port 2049.
OTHERS = (
    "   0: 0156A8C0:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 6780 1 0 100 0 0 10 5\n"
    "   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3112 1 0 100 0 0 10 0\n"
    "   2: 0100007F:0801 0100007F:02FD 01 00000000:00000000 00:00000000 00000000     0        0 3113 1 0 100 0 0 10 0\n"
)
NFS = "   6: {}:0801 {}:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3699 1 0 100 0 0 10 0\n"
ETAB = (
    "/x/slot1/joboutputs\t192.168.86.10(rw,sync,wdelay,hide,nocrossmnt,secure,root_squash,all_squash,"
    "subtree_check,secure_locks,acl,no_pnfs,fsid=5d0e1f4c,anonuid=901,anongid=901,sec=sys,rw,secure,root_squash,all_squash)\n"
    "/x/slot1/jobfeatures\t192.168.86.10(ro,sync,all_squash,anonuid=901,anongid=901,sec=sys)\n"
)


def hexadecimal(address: str) -> str:
    """As /proc/net/tcp prints an address on a little-endian machine."""
    return "".join(f"{int(part):02X}" for part in reversed(address.split(".")))


class Node:
    """systemd, exportfs and the kernel's server, which reads the files when it starts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.plugin = Plugin(nfs_server, root=str(root), owner=None)
        self.units = {unit: ["loaded", "active", "enabled"] for unit in ("nfs-server.service", "rpcbind.socket")}
        self.addresses = ["127.0.0.1", "192.168.86.1", "10.0.0.7"]
        self.kernel_has_nfs = True
        self.obeys = True
        self.serve(["3", "4"], ["0.0.0.0"])

    def put(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def serve(self, versions: list[str], addresses: list[str]) -> None:
        signs = {number: "+" if number in versions else "-" for number in ("3", "4")}
        words = [f"{signs[name[0]]}{name}" for name in ("3", "4", "4.1", "4.2")]
        self.put("proc/fs/nfsd/threads", "16\n" if versions else "0\n")
        self.put("proc/fs/nfsd/versions", " ".join(words) + "\n")
        sockets = "".join(NFS.format(hexadecimal(address), "00000000") for address in addresses)
        self.put("proc/net/tcp", TCP + OTHERS + sockets)
        self.put("proc/net/tcp6", TCP + (NFS.format("0" * 32, "0" * 32) if "0.0.0.0" in addresses else ""))

    def __call__(self, argv: list[str], _stdin: str | None) -> Answer:
        program = argv[0].rsplit("/", 1)[1]
        answer: Answer = getattr(self, program)(*argv[1:])
        return answer

    def ip(self, *_words: str) -> Answer:
        return 0, json.dumps([{"ifname": "x", "addr_info": [{"local": text} for text in self.addresses]}]), ""

    def modprobe(self, *words: str) -> Answer:
        assert words == ("--dry-run", "--quiet", "nfsd")
        return (0, "", "") if self.kernel_has_nfs else (1, "", "")

    def systemctl(self, verb: str, *words: str) -> Answer:
        unit = words[-1] if words else ""
        if verb == "show":
            state = self.units.get(unit, ["not-found", "inactive", ""])
            pairs = zip(("LoadState", "ActiveState", "UnitFileState"), state)
            return 0, "".join(f"{key}={value}\n" for key, value in pairs), ""
        if verb == "enable":
            self.units[unit][2] = "enabled"
        if verb == "restart" or "--now" in words:
            self.units[unit][1] = "active"
        if verb == "restart":
            self.put("var/lib/nfs/etab", "")
            text = "".join(path.read_text() for path in sorted((self.root / "etc/nfs.conf.d").glob("*.conf")))
            settings = dict(line.split("=") for line in text.splitlines() if "=" in line)
            versions = [number for number in ("3", "4") if settings.get(f"vers{number}", "y") == "y"]
            if self.obeys:
                self.serve(versions, settings.get("host", "0.0.0.0").split(","))
        return 0, "", ""

    def exportfs(self, option: str, options: str, target: str) -> Answer:
        assert option == "-o"
        client, _colon, directory = target.partition(":")
        with (self.root / "var/lib/nfs/etab").open("a") as stream:
            stream.write(f"{directory}\t{client}({options})\n")
        return 0, "", ""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    (tmp_path / "etc/nfs.conf.d").mkdir(parents=True)
    return Node(tmp_path)


@pytest.mark.parametrize(
    ("options", "serving"),
    [
        ({"listen": ["192.168.86.1"]}, nfsd.Serving(16, ("3", "4"), ("192.168.86.1",))),
        (
            {"listen": ["192.168.86.1", "10.0.0.7"], "versions": ["4"]},
            nfsd.Serving(16, ("4",), ("10.0.0.7", "192.168.86.1")),
        ),
        ({"versions": ["3"]}, nfsd.Serving(16, ("3",), ("0.0.0.0", "::"))),
    ],
)
def test_check_apply_check_apply(node: Node, options: dict[str, Any], serving: nfsd.Serving) -> None:
    results = four_calls(node.plugin, options, Tools(node))
    assert nfsd.serving(str(node.root)) == serving
    assert results[2]["serving"] == serving.describe()
    assert (node.root / nfs_server.DROP_IN).exists() == bool(options.get("listen"))
    assert "restart nfs-server.service" in results[1]["actions"]


def test_a_node_that_is_right_but_for_the_files_keeps_its_server_only_if_nothing_changes(node: Node) -> None:
    run(node.plugin, {}, tools=Tools(node))
    assert run(node.plugin, {}, tools=Tools(node))["actions"] == []


def test_check_mode_changes_nothing(node: Node) -> None:
    tools = Tools(node)
    assert run(node.plugin, {"listen": ["192.168.86.1"]}, check=True, tools=tools)["changed"]
    assert {call[1] for call in tools.calls if call[0].endswith("systemctl")} == {"show"}
    assert list((node.root / "etc/nfs.conf.d").iterdir()) == []


@pytest.mark.parametrize("drift", ["stopped", "all addresses", "other versions", "disabled", "no rpcbind"])
def test_drift_is_repaired(node: Node, drift: str) -> None:
    given = {"listen": ["192.168.86.1"]}
    run(node.plugin, given, tools=Tools(node))
    if drift == "stopped":
        node.serve([], [])
    elif drift == "all addresses":
        node.serve(["3", "4"], ["0.0.0.0"])
    elif drift == "other versions":
        node.serve(["4"], ["192.168.86.1"])
    elif drift == "disabled":
        node.units["nfs-server.service"][2] = "disabled"
    else:
        node.units["rpcbind.socket"][1] = "inactive"
    four_calls(node.plugin, given, Tools(node))
    assert nfsd.serving(str(node.root)) == nfsd.Serving(16, ("3", "4"), ("192.168.86.1",))


def test_exports_survive_the_restart(node: Node) -> None:
    node.put("var/lib/nfs/etab", ETAB)
    result = run(node.plugin, {"versions": ["3"]}, tools=Tools(node))
    assert result["actions"] == ["restart nfs-server.service", "make 2 exports again"]
    assert (node.root / "var/lib/nfs/etab").read_text() == ETAB


def test_nfs_4_alone_needs_no_rpcbind(node: Node) -> None:
    del node.units["rpcbind.socket"]
    assert run(node.plugin, {"versions": ["4"]}, tools=Tools(node))["changed"]
    failed = run(node.plugin, {"versions": ["3", "4"]}, tools=Tools(node))
    assert failed["failed"]
    assert "rpcbind" in failed["remedy"]


def test_a_missing_package(node: Node) -> None:
    del node.units["nfs-server.service"]
    result = run(node.plugin, {}, tools=Tools(node))
    assert result["failed"]
    assert "nfs-kernel-server" in result["remedy"]


def test_a_kernel_without_a_server(node: Node) -> None:
    for path in ("proc/fs/nfsd/threads", "proc/fs/nfsd/versions"):
        (node.root / path).unlink()
    node.kernel_has_nfs = False
    result = run(node.plugin, {}, tools=Tools(node))
    assert result["failed"]
    assert "module nfsd" in result["msg"]
    assert list((node.root / "etc/nfs.conf.d").iterdir()) == []


def test_an_address_that_is_not_there_yet(node: Node) -> None:
    node.addresses.remove("192.168.86.1")
    given = {"listen": ["192.168.86.1"]}
    assert run(node.plugin, given, check=True, tools=Tools(node))["changed"]
    result = run(node.plugin, given, tools=Tools(node))
    assert result["failed"]
    assert "192.168.86.1" in result["msg"]
    assert "libvirt_network" in result["remedy"]


@pytest.mark.parametrize(
    ("name", "text", "refused"),
    [
        ("local.conf", "[nfsd]\nvers3=n\n", True),
        ("local.conf", "[nfsd]\n# old\nhost = 10.0.0.7\n", True),
        ("local.conf", "[ nfsd ]\nvers3 = yes\n", False),
        ("local.conf", "[mountd]\nvers3=n\n", False),
        ("a.conf", "[nfsd]\nvers3=n\n", False),
        ("local.txt", "[nfsd]\nvers3=n\n", False),
    ],
)
def test_a_file_that_would_override_is_named(node: Node, name: str, text: str, refused: bool) -> None:
    node.put(f"etc/nfs.conf.d/{name}", text)
    result = run(node.plugin, {"listen": ["192.168.86.1"]}, check=True, tools=Tools(node))
    assert bool(result.get("failed")) == refused
    if refused:
        line = len(text.splitlines())
        assert f"{name}:{line} sets" in result["msg"]


def test_a_server_that_does_not_obey(node: Node) -> None:
    node.obeys = False
    result = run(node.plugin, {"listen": ["192.168.86.1"]}, tools=Tools(node))
    assert result["failed"]
    assert "the kernel serves NFS 3, 4 on 0.0.0.0, ::" in result["msg"]


def test_absent(node: Node) -> None:
    run(node.plugin, {"listen": ["192.168.86.1"], "versions": ["4"]}, tools=Tools(node))
    results = four_calls(node.plugin, {"state": "absent"}, Tools(node))
    assert results[1]["actions"] == ["daemon-reload", "restart nfs-server.service"]
    assert nfsd.serving(str(node.root)).versions == ("3", "4")


def test_addresses_are_checked(node: Node) -> None:
    result = run(node.plugin, {"listen": ["vac0"]}, tools=Tools(node))
    assert result["failed"]
    assert result["msg"].startswith("listen")


def test_ipv6_sockets_are_read(node: Node) -> None:
    # fd00::1, in words of the machine's byte order.
    node.put("proc/net/tcp6", TCP + NFS.format("000000FD000000000000000001000000", "0" * 32))
    node.put("proc/net/tcp", TCP)
    assert nfsd.serving(str(node.root)).addresses == ("fd00::1",)
