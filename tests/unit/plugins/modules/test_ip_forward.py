# SPDX-License-Identifier: GPL-3.0-or-later
"""Forwarding now and after the boot. What wins at boot was observed with systemd-sysctl 257 (debug log)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._node import sysctl
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import sysctl_path
from ansible_collections.vacuum.htcondor.plugins.modules import ip_forward

from tests.unit.plugins.harness import Plugin, four_calls, run

SWITCH = "net/ipv4/ip_forward"
V4 = {SWITCH: "0", "net/ipv4/conf/all/forwarding": "0", "net/ipv4/conf/default/forwarding": "0"}
NOBODY = sysctl.Assignment("no file", 0, SWITCH, "unset")
V6 = {"net/ipv6/conf/all/forwarding": "0", "net/ipv6/conf/default/forwarding": "0"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's /etc and /proc/sys with forwarding off."""
    for directory in ("etc/sysctl.d", "run/sysctl.d", "usr/lib/sysctl.d", "usr/local/lib/sysctl.d"):
        (tmp_path / directory).mkdir(parents=True)
    for key, value in {**V4, **V6}.items():
        put(tmp_path, f"proc/sys/{key}", value + "\n")
    return tmp_path


def at(root: Path) -> Plugin:
    return Plugin(ip_forward, root=str(root), owner=None)


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def effective(root: Path, key: str) -> sysctl.Assignment:
    """The assignment that sets *key* at boot: the last by name, else the last glob; NOBODY where no file does."""
    matching = [entry for entry in sysctl.boot_assignments(str(root)) if entry.applies_to(key)]
    return ([entry for entry in matching if not entry.is_glob()] or matching or [NOBODY])[-1]


def values(root: Path, keys: dict[str, str]) -> set[str]:
    return {(root / "proc/sys" / key).read_text().strip() for key in keys}


@pytest.mark.parametrize(("family", "keys"), [("ipv4", V4), ("ipv6", V6)])
def test_check_apply_check_apply(root: Path, family: str, keys: dict[str, str]) -> None:
    results = four_calls(at(root), {"family": family})
    assert values(root, keys) == {"1"}
    assert values(root, {**V4, **V6}.keys() - keys.keys()) == {"0"}  # type: ignore[arg-type]
    path = Path(results[0]["file"])
    assert path.name == f"zz-condor_vac-{family}.conf"
    settings = sysctl.parse(path.read_text(), str(path))
    assert {entry.key: entry.value for entry in settings} == dict.fromkeys(keys, "1")
    assert results[1]["keys"] == {key: {"before": "0", "after": "1"} for key in keys}


def test_check_mode_touches_nothing(root: Path) -> None:
    assert run(at(root), {}, check=True)["changed"]
    assert values(root, V4) == {"0"}
    assert list((root / "etc/sysctl.d").iterdir()) == []


@pytest.mark.parametrize("drift", ["file", "switch", "new interfaces"])
def test_each_part_is_repaired_alone(root: Path, drift: str) -> None:
    run(at(root), {})
    if drift == "file":
        (root / "etc/sysctl.d/zz-condor_vac-ipv4.conf").write_text("net.ipv4.ip_forward = 0\n")
    else:
        put(root, f"proc/sys/{SWITCH if drift == 'switch' else 'net/ipv4/conf/default/forwarding'}", "0\n")
    assert [run(at(root), {})["changed"] for _ in range(2)] == [True, False]
    assert values(root, V4) == {"1"}


SPELLINGS = ["net.ipv4.ip_forward = 0", "net/ipv4/*_forward=0", "-net.ipv4.ip_forward"]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", ["99-hardening.conf", "zz-a.conf", "zz-condor.conf", "aa.conf"])
def test_an_earlier_file_is_overridden_and_named(root: Path, spelling: str, name: str) -> None:
    put(root, f"etc/sysctl.d/{name}", f"# site\n{spelling}\n")
    result = run(at(root), {})
    assert result["conflicts"] == []
    assert [(entry["path"], entry["line"]) for entry in result["overridden"]] == [
        (str(root / "etc/sysctl.d" / name), 2)
    ]


@pytest.mark.parametrize("name", ["zz-hardening.conf", "zzz.conf", "zzzzz-off.conf"])
@pytest.mark.parametrize("directory", ["etc/sysctl.d", "usr/lib/sysctl.d", "run/sysctl.d"])
def test_a_later_file_is_outranked(root: Path, name: str, directory: str) -> None:
    run(at(root), {})
    put(root, f"{directory}/{name}", "net.ipv4.conf.default.forwarding = 0\n")
    result = run(at(root), {})
    assert result["changed"]
    assert Path(result["file"]).name > name
    assert result["conflicts"] == []
    assert [entry["path"] for entry in result["overridden"]] == [str(root / directory / name)]
    assert [path.name for path in (root / "etc/sysctl.d").glob("*-condor_vac-*")] == [Path(result["file"]).name]
    winner = effective(root, "net/ipv4/conf/default/forwarding")
    assert winner.path == result["file"]
    assert not run(at(root), {})["changed"]


def test_a_file_that_nothing_outranks_is_a_conflict(root: Path) -> None:
    put(root, "etc/sysctl.d/~last.conf", "net.ipv4.ip_forward=0")
    result = run(at(root), {})
    assert [entry["path"] for entry in result["conflicts"]] == [str(root / "etc/sysctl.d/~last.conf")]
    failed = run(at(root), {"conflicts": "fail"})
    assert failed["failed"]
    assert "~last.conf:1" in failed["msg"]
    assert failed["conflicts"] == result["conflicts"]


def test_fail_changes_nothing(root: Path) -> None:
    put(root, "etc/sysctl.conf", "net.ipv4.ip_forward=0\n")
    assert run(at(root), {"conflicts": "fail"})["failed"]
    assert values(root, V4) == {"0"}
    assert list((root / "etc/sysctl.d").iterdir()) == []


def test_sysctl_conf_counts_by_its_link(root: Path) -> None:
    put(root, "etc/sysctl.conf", "net.ipv4.ip_forward=0\n")
    assert [entry["reader"] for entry in run(at(root), {})["conflicts"]] == ["sysctl --system"]
    (root / "etc/sysctl.d/99-sysctl.conf").symlink_to("../sysctl.conf")
    result = run(at(root), {})
    assert result["conflicts"] == []
    assert [entry["path"] for entry in result["overridden"]] == [str(root / "etc/sysctl.d/99-sysctl.conf")]


@pytest.mark.parametrize(
    ("paths", "reader"),
    [
        (
            {"etc/ufw/ufw.conf": "ENABLED=yes\n", "etc/ufw/sysctl.conf": "net/ipv4/ip_forward=0\n"},
            "ufw",
        ),
        (
            {
                "etc/ufw/ufw.conf": "ENABLED=yes\n",
                "etc/default/ufw": "IPT_SYSCTL=/etc/other.conf\n",
                "etc/other.conf": "net/ipv4/conf/all/forwarding=0\n",
            },
            "ufw",
        ),
        (
            {
                "etc/tuned/active_profile": "hard\n",
                "etc/tuned/hard/tuned.conf": "[main]\nsummary=x\n[sysctl]\nnet.ipv4.ip_forward=0\n",
            },
            "tuned",
        ),
    ],
)
def test_services_that_switch_it_off_are_named(root: Path, paths: dict[str, str], reader: str) -> None:
    for path, text in paths.items():
        put(root, path, text)
    conflicts = run(at(root), {})["conflicts"]
    assert [entry["reader"] for entry in conflicts] == [reader]
    assert conflicts[0]["line"] >= 1


def test_a_disabled_ufw_is_not_a_conflict(root: Path) -> None:
    put(root, "etc/ufw/ufw.conf", "ENABLED=no\n")
    put(root, "etc/ufw/sysctl.conf", "net/ipv4/ip_forward=0\n")
    assert run(at(root), {})["conflicts"] == []


def test_interfaces_are_set_by_name(root: Path) -> None:
    put(root, "etc/sysctl.d/50-cis.conf", "net.ipv4.conf.*.forwarding = 0\n")
    put(root, "proc/sys/net/ipv4/conf/vac0/forwarding", "0\n")
    results = four_calls(at(root), {"interfaces": ["vac0", "vac1.7"]})
    assert (root / "proc/sys/net/ipv4/conf/vac0/forwarding").read_text().strip() == "1"
    for name in ("vac0", "vac1.7"):
        winner = effective(root, f"net/ipv4/conf/{name}/forwarding")
        assert winner.path == results[0]["file"]


@pytest.mark.parametrize("name", ["../x", "a b", "", "x" * 16, "a/b"])
def test_what_is_not_an_interface_is_refused(root: Path, name: str) -> None:
    result = run(at(root), {"interfaces": [name]})
    assert result["failed"]
    assert "interfaces" in result["msg"]


def test_absent_removes_the_file_and_leaves_the_kernel_alone(root: Path) -> None:
    run(at(root), {})
    results = four_calls(at(root), {"state": "absent"})
    assert not Path(results[0]["file"]).exists()
    assert values(root, V4) == {"1"}


# Observed on Debian 13 (systemd 257): files below etc/sysctl.d unless named with a directory, and what won.
ON, OFF = "net.ipv4.ip_forward = 1\n", "net/ipv4/ip_forward=0\n"
OBSERVED: list[tuple[dict[str, str], str | None]] = [
    ({"50-a.conf": ON, "60-b.conf": OFF}, "0"),
    ({"60-a.conf": ON, "70.conf": "net.ipv4.*_forward = 0\n"}, "1"),
    ({"60-a.conf": ON, "70.conf": "-net.ipv4.ip_forward\n"}, None),
    ({"60.conf": ON, "run/sysctl.d/60.conf": OFF}, "1"),
    ({"run/sysctl.d/6.conf": ON, "usr/local/lib/sysctl.d/6.conf": OFF}, "1"),
    ({"60-a.conf": ON, "etc/sysctl.conf": OFF}, "1"),
    ({"60-a.conf": ON, "aa.conf": "net.ipv4.ip_forward=0"}, "0"),
    ({"zz.conf": ON, "~a.conf": OFF}, "0"),
    ({"zz.conf": ON, ".h.conf": OFF}, "1"),
    ({"zz.conf": ON, "zzz.conf~": OFF}, "1"),
    ({"zz.conf": "; c\n# c\n - net.ipv4.ip_forward = 1\n"}, "1"),
    ({"zz.conf": "net.ipv4.ip_forward = 1 # on\n"}, "1 # on"),
    ({"zz.conf": "/net//ipv4/./ip_forward=1\n"}, "1"),
    ({"zz.conf": "/proc/sys/net/ipv4/ip_forward=1\n"}, "unset"),
]


@pytest.mark.parametrize(("paths", "expected"), OBSERVED)
def test_who_wins_at_boot(root: Path, paths: dict[str, str], expected: str | None) -> None:
    for path, text in paths.items():
        put(root, path if "/" in path else f"etc/sysctl.d/{path}", text)
    assert effective(root, SWITCH).value == expected


@pytest.mark.parametrize(
    ("on", "spellings"),
    [(True, ["1", "2", "1 # on", "0x1", "-1", "0010"]), (False, ["0", "00", "0x0", "yes", "", "1x", "on"])],
)
def test_values_as_the_kernel_reads_them(on: bool, spellings: list[str]) -> None:
    answers = {value: sysctl.Assignment("f", 1, SWITCH, value).switches_on() for value in spellings}
    assert answers == dict.fromkeys(spellings, on)


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("net.ipv4.conf.all.forwarding", "net/ipv4/conf/all/forwarding"),
        ("net/ipv4/conf/eth0.5/forwarding", "net/ipv4/conf/eth0.5/forwarding"),
        ("net.ipv4.conf.eth0/5.forwarding", "net/ipv4/conf/eth0.5/forwarding"),
    ],
)
def test_both_spellings(written: str, key: str) -> None:
    assert sysctl_path(written) == key


def test_a_missing_kernel_switch_is_explained(root: Path) -> None:
    (root / "proc/sys/net/ipv6/conf/all/forwarding").unlink()
    result: dict[str, Any] = run(at(root), {"family": "ipv6"})
    assert result["failed"]
    assert "net/ipv6/conf/all/forwarding" in result["msg"]
    assert result["remedy"]
