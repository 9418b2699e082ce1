# SPDX-License-Identifier: GPL-3.0-or-later
"""One sudo rule: the file, what it refuses, and the rules of other files for the same users."""

from __future__ import annotations

import os
import stat
import types
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.modules import sudoers_rule

from tests.unit.plugins.harness import Answer, Plugin, Tools, four_calls, run

LEASE = "/usr/local/libexec/vac_lease"
DEBIAN = (
    "# sudoers of Debian 13, without its comments\n"
    "Defaults\tenv_reset\n"
    'Defaults\tsecure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"\n'
    "root\tALL=(ALL:ALL) ALL\n"
    "%sudo\tALL=(ALL:ALL) ALL\n"
    "@includedir /etc/sudoers.d\n"
)
# uid, gid and groups of the accounts of the node.
ACCOUNTS = {"slot1": (901, 901, [901, 99]), "slot2": (902, 902, [902]), "condor": (64, 64, [64])}
GROUPS = {901: "slot1", 902: "slot2", 64: "condor", 99: "vms"}


def visudo(argv: list[str], _stdin: str | None) -> Answer:
    """Accepts a file unless a line begins with the word bad; answers as visudo 1.9.16p2 does."""
    assert argv[:2] == ["/usr/bin/visudo", "--check"]
    path = argv[2].partition("=")[2]
    if "bad" in Path(path).read_text():
        return 1, "", f"{path}:2:5: syntax error\nbad line\n    ^~~~\n"
    return 0, f"{path}: parsed OK\n", ""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "etc/sudoers.d").mkdir(parents=True)
    (tmp_path / "etc/sudoers").write_text(DEBIAN)
    (tmp_path / "etc/sudoers.d/README").write_text("# nothing\n")

    def getpwnam(name: str) -> Any:
        return types.SimpleNamespace(pw_uid=ACCOUNTS[name][0], pw_gid=ACCOUNTS[name][1])

    monkeypatch.setattr(sudoers_rule.pwd, "getpwnam", getpwnam)
    monkeypatch.setattr(sudoers_rule.os, "getgrouplist", lambda name, _gid: ACCOUNTS[name][2])
    monkeypatch.setattr(sudoers_rule.grp, "getgrgid", lambda gid: types.SimpleNamespace(gr_name=GROUPS[gid]))
    return tmp_path


def at(root: Path) -> Plugin:
    return Plugin(sudoers_rule, root=str(root), owner=None)


def rule(root: Path, **options: Any) -> dict[str, Any]:
    given = {"name": "condor_vac", "users": ["slot1"], "commands": [LEASE], **options}
    return run(at(root), given, tools=Tools(visudo))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"name": "condor_vac", "users": ["slot1", "slot2"], "commands": [LEASE]},
            f"slot1, slot2 ALL = (root) NOPASSWD: {LEASE}",
        ),
        (
            {
                "name": "x-1",
                "groups": ["vms"],
                "users": ["a.b+c"],
                "runas": "condor",
                "nopasswd": False,
                "commands": ["/bin/a b,c d=e:f", '/bin/z ""'],
            },
            'a.b+c, %vms ALL = (condor) PASSWD: /bin/a b\\,c d\\=e\\:f, /bin/z ""',
        ),
    ],
)
def test_check_apply_check_apply(root: Path, options: dict[str, Any], line: str) -> None:
    results = four_calls(at(root), options, Tools(visudo))
    path = root / "etc/sudoers.d" / options["name"]
    assert results[1]["file"] == str(path)
    assert path.read_text().splitlines()[1:] == [line]
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    assert [entry.name for entry in (root / "etc/sudoers.d").iterdir() if entry.name.startswith(".")] == []


def test_a_widened_or_writable_file_is_repaired(root: Path) -> None:
    rule(root)
    path = root / "etc/sudoers.d/condor_vac"
    good = path.read_text()
    path.chmod(0o660)
    assert [rule(root)["changed"] for _ in range(2)] == [True, False]
    path.chmod(0o640)
    path.write_text(good + "slot1 ALL = NOPASSWD: ALL\n")
    result = rule(root)
    assert result["changed"]
    assert result["conflicts"] == []
    assert path.read_text() == good


@pytest.mark.parametrize("check", [True, False])
def test_what_visudo_refuses_replaces_nothing(root: Path, check: bool) -> None:
    rule(root)
    path = root / "etc/sudoers.d/condor_vac"
    before = path.read_text()
    given = {"name": "condor_vac", "users": ["slot1"], "commands": ["/opt/bad"]}
    result = run(at(root), given, check=check, tools=Tools(visudo))
    assert result["failed"]
    assert f"{path}:2:5: syntax error" in result["msg"]
    assert path.read_text() == before


# file, its text, then what is found for slot1 (uid 901, member of vms) and vac_lease.
ELSEWHERE = [
    ("a", "slot1 ALL=(root) NOPASSWD: /usr/sbin/exportfs *\n", "widens"),
    ("a", "# old\nslot2, slot1 ALL=/bin/sh\n", "widens"),
    ("a", "%vms ALL=(ALL) ALL\n", "widens"),
    ("a", "%#99 ALL=(ALL) NOPASSWD: /bin/ls\n", "widens"),
    ("a", "#901 ALL=(ALL) NOPASSWD: /bin/ls\n", "widens"),
    ("a", f"slot1 ALL=(ALL) NOPASSWD: {LEASE}\n", "widens"),
    ("a", "ALL ALL=(condor) /bin/true\n", "widens"),
    ("a", "User_Alias V = slot1, slot2\nCmnd_Alias NFS = \\\n /usr/sbin/exportfs\nV ALL = NFS\n", "widens"),
    ("zz", f"slot1 ALL=(root) PASSWD: {LEASE}\n", "contradicts"),
    ("zz", "slot1 ALL=(root) NOPASSWD: !/usr/local/libexec/\n", "contradicts"),
    ("zz", "Cmnd_Alias L = " + LEASE + "\nslot1 ALL=(root) !L\n", "contradicts"),
    ("zz", "ALL ALL=(ALL) ALL\n", "contradicts"),
    ("a", "Defaults requiretty\n", "needs a terminal"),
    ("zz", "Defaults:%vms requiretty\n", "needs a terminal"),
    ("zz", "User_Alias V = slot2, slot1\nV ALL=(ALL) ALL\n", "contradicts"),
    ("zz", "User_Alias V = ALL, !slot1\n!V ALL=(ALL) ALL\n", "contradicts"),
    ("zz", f"Cmnd_Alias L = /bin/ls, {LEASE}\nslot1 ALL=(root) NOPASSWD: !L\n", "contradicts"),
    ("a", "Cmnd_Alias L = !/bin/sh, /bin/ls\nslot1 ALL=(root) NOPASSWD: !L\n", "widens"),
    ("a", 'Defaults:slot1 badpass_message="not # now", requiretty\n', "needs a terminal"),
    ("a", "Defaults badpass_message=not\\#now, requiretty\n", "needs a terminal"),
    ("a", 'Defaults badpass_message="now" # , requiretty\n', ""),
    ("zz", "User_Alias V = slot2, slot1\nALL, !V ALL=(ALL) ALL\n", ""),
    ("zz", "User_Alias V = ALL, !slot2\n!V ALL=(ALL) ALL\n", ""),
    ("zz", f"Cmnd_Alias L = !{LEASE}\nslot1 ALL=(root) NOPASSWD: !L\n", ""),
    ("zz", f"slot1 ALL=(root) NOPASSWD: !!{LEASE}\n", ""),
    ("a", f"slot1 ALL=(root) NOPASSWD: {LEASE}\n", ""),
    ("a", f"slot1 ALL=(root) PASSWD: {LEASE}\n", ""),
    ("a", "slot2 ALL=(ALL) NOPASSWD: ALL\n", ""),
    ("a", "ALL, !slot1 ALL=(ALL) NOPASSWD: ALL\n", ""),
    ("a", "# slot1 ALL=(ALL) NOPASSWD: ALL\n", ""),
    ("a.bak", "slot1 ALL=(ALL) NOPASSWD: ALL\n", ""),
    ("a~", "slot1 ALL=(ALL) NOPASSWD: ALL\n", ""),
    ("a", "Defaults requiretty\nDefaults:slot1 !requiretty\n", ""),
    ("a", "Defaults:slot2 requiretty\n", ""),
]


@pytest.mark.parametrize(("name", "text", "kind"), ELSEWHERE)
def test_rules_in_other_files_are_found(root: Path, name: str, text: str, kind: str) -> None:
    (root / "etc/sudoers.d" / name).write_text(text)
    found = rule(root)["conflicts"]
    assert [entry["kind"] for entry in found] == ([kind] if kind else [])
    assert [entry["path"] for entry in found] == ([f"/etc/sudoers.d/{name}"] if kind else [])


def test_the_line_of_a_continued_rule_is_where_it_begins(root: Path) -> None:
    (root / "etc/sudoers.d/a").write_text("\n# x\nslot1 \\\n ALL = \\\n /bin/sh, /bin/true\n")
    found = rule(root)["conflicts"]
    assert [entry["line"] for entry in found] == [3, 3]
    assert found[1]["text"] == "slot1 may run (root) /bin/true"


def test_conflicts_fail_before_anything_changes(root: Path) -> None:
    (root / "etc/sudoers.d/a").write_text("slot1 ALL=(ALL) NOPASSWD: ALL\n")
    result = rule(root, conflicts="fail")
    assert result["failed"]
    assert "/etc/sudoers.d/a:1 widens" in result["msg"]
    assert not (root / "etc/sudoers.d/condor_vac").exists()


def test_a_directory_that_sudo_does_not_read_is_reported(root: Path) -> None:
    (root / "etc/sudoers").write_text("root ALL=(ALL) ALL\n")
    assert [entry["kind"] for entry in rule(root)["conflicts"]] == ["not read"]


def test_later_lines_of_the_main_file_count_as_later(root: Path) -> None:
    (root / "etc/sudoers").write_text(DEBIAN + "slot1 ALL = !/usr/local/libexec/vac_lease\n")
    rule(root)
    assert [(entry["path"], entry["kind"]) for entry in rule(root)["conflicts"]] == [("/etc/sudoers", "contradicts")]


@pytest.mark.parametrize(("part", "mode"), [("vac_lease", 0o777), ("vac_lease", 0o775), (".", 0o777)])
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sudo runs only programs of root")
def test_a_program_that_others_can_replace_is_refused(root: Path, part: str, mode: int) -> None:
    program = root / LEASE.lstrip("/")
    program.parent.mkdir(parents=True)
    program.write_text("")
    program.chmod(0o755)
    assert rule(root)["changed"]
    (program.parent / part).chmod(mode)
    result = rule(root)
    assert result["failed"]
    assert "chmod go-w" in result["remedy"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"name": "a.b"}, "name"),
        ({"name": "../x"}, "name"),
        ({"users": []}, "users"),
        ({"commands": []}, "commands"),
        ({"users": ["ALL"]}, "ALL"),
        ({"users": ["VMS"]}, "VMS"),
        ({"users": ["a b"]}, "a b"),
        ({"users": ["a\nroot ALL=ALL"]}, "account"),
        ({"users": ["!a"]}, "!a"),
        ({"groups": ["%x"]}, "%x"),
        ({"runas": "ALL"}, "ALL"),
        ({"commands": ["exportfs"]}, "commands"),
        ({"commands": ["ALL"]}, "commands"),
        ({"commands": ["/bin/a *"]}, "commands"),
        ({"commands": ["/bin/a\nslot1 ALL=ALL"]}, "commands"),
        ({"commands": ["/bin/a !b"]}, "commands"),
        ({"commands": ["!/bin/a"]}, "commands"),
        ({"commands": ['/bin/a b ""']}, "commands"),
    ],
)
def test_bad_options_are_named(root: Path, options: dict[str, Any], word: str) -> None:
    result = rule(root, **options)
    assert result["failed"]
    assert word in result["msg"]
    assert result["remedy"]


def test_absent(root: Path) -> None:
    rule(root)
    four_calls(at(root), {"name": "condor_vac", "state": "absent"}, Tools(visudo))
    assert not (root / "etc/sudoers.d/condor_vac").exists()


def test_no_visudo(root: Path) -> None:
    given = {"name": "x", "users": ["slot1"], "commands": [LEASE]}
    result = run(at(root), given, tools=Tools(visudo, missing=["visudo"]))
    assert result["failed"]
    assert "install the package sudo" in result["remedy"]
