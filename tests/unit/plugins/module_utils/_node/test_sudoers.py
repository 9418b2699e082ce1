# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of sudoers files is what sudo's own cvtsudoers reads of them."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._node import sudoers
from hypothesis import assume, given, settings
from hypothesis import strategies as st


def test_the_grammar_is_read_as_cvtsudoers_reads_it(tmp_path: Path) -> None:
    (tmp_path / "complex").write_text(
        "root\tALL=(ALL:ALL) ALL\n"
        "VMS H = (SVC) NOPASSWD: NFS, PASSWD: /bin/ls /a\\,b, !/bin/rm : there = /bin/date\n"
        "%vac , slot3 ALL = NOPASSWD:SETENV: sha224:d7910e1967342b4605cb73a550944044c631c90b6e1cbe3e4ae7c3ff"
        ' /usr/bin/id "", NOEXEC: /bin/vi # both\n'
        "OPS ALL = CWD=/tmp NOPASSWD: /bin/a x\\:y\\=z\n"
        "!slot9, ALL ALL = (:grp) /bin/g\n"
        "#1000 ALL = TIMEOUT=5m /usr/local/bin/\n"
        '"a b" ALL = /bin/q\n'
    )
    found = sudoers.read("/complex", str(tmp_path))
    assert [(p.line, p.users, p.runas, p.nopasswd, p.command) for p in found.permissions] == [
        (1, ("root",), "ALL", False, "ALL"),
        (2, ("VMS",), "SVC", True, "NFS"),
        (2, ("VMS",), "SVC", False, "/bin/ls /a\\,b"),
        (2, ("VMS",), "SVC", False, "!/bin/rm"),
        (2, ("VMS",), "", False, "/bin/date"),
        (3, ("%vac", "slot3"), "", True, '/usr/bin/id ""'),
        (3, ("%vac", "slot3"), "", True, "/bin/vi"),
        (4, ("OPS",), "", True, "/bin/a x\\:y\\=z"),
        (5, ("!slot9", "ALL"), "", False, "/bin/g"),
        (6, ("#1000",), "", False, "/usr/local/bin/"),
        (7, ("a b",), "", False, "/bin/q"),
    ]


# users as cvtsudoers names their kinds, whom they run as, whether without a password, and the command; ! denies.
Rule = tuple[list[str], list[str], bool, str]
KINDS = {"username": "", "userid": "#", "usergroup": "%", "usergid": "%#", "command": ""}


def words(items: list[dict[str, Any]]) -> list[str]:
    """cvtsudoers' list as sudoers has it."""
    return [
        f"{'!' if item.get('negated') else ''}{KINDS[kind]}{item[kind]}"
        for item in items
        for kind in KINDS
        if kind in item
    ]


def by_cvtsudoers(text: str) -> list[Rule] | None:
    """The rules with all aliases expanded; None for what sudo refuses."""
    done = subprocess.run(["cvtsudoers", "-e", "-f", "json"], input=text, capture_output=True, text=True, check=False)
    if done.returncode or done.stderr:
        return None
    return [
        (words(spec["User_List"]), words(part.get("runasusers", [])), authenticate is False, command)
        for spec in json.loads(done.stdout or "{}").get("User_Specs", [])
        for part in spec["Cmnd_Specs"]
        for authenticate in [{k: v for each in part.get("Options", []) for k, v in each.items()}.get("authenticate")]
        for command in words(part["Commands"])
    ]


def by_us(text: str) -> list[Rule]:
    """The same, by the module."""
    with tempfile.TemporaryDirectory() as root:
        Path(root, "sudoers").write_text(text)
        found = sudoers.read("/sudoers", root)
    return [
        (
            list(found.expand(rule.users)),
            list(found.expand((rule.runas,))) if rule.runas else [],
            rule.nopasswd,
            re.sub(r"\\(.)", r"\1", command),
        )
        for rule in found.permissions
        for command in found.expand((rule.command,))
    ]


@pytest.mark.parametrize(
    "text",
    [
        "slot1 ALL = ALL\n",
        "slot1, !slot2 , %vms ALL = (root) NOPASSWD: /bin/ls, !/bin/rm, PASSWD: /bin/cat\n",
        "Cmnd_Alias SAFE = /bin/ls, !/bin/rm\nslot1 ALL = !SAFE\n",
        "Cmnd_Alias SAFE = /bin/ls, !/bin/rm\nslot1 ALL = !!SAFE, !!/bin/cat, !!!/bin/mv\n",
        "Cmnd_Alias A = /bin/a, !/bin/b\nCmnd_Alias B = !A, /bin/c\nslot1 ALL = B, !B\n",
        "User_Alias V = slot1, !slot2 : W = !V, ALL\nALL, !W ALL = /bin/ls\n",
        "Runas_Alias SVC = condor, root\nslot1 ALL = (SVC) /bin/ls\n",
        '"a # b" ALL = /bin/q # "c"\n',
        '"a # b", "c" ALL = /bin/q\n"d" ALL = /bin/r\n',
        "slot1 ALL = /bin/echo a\\#b, /bin/c # comment, /bin/d\n",
        "slot1 ALL = /bin/echo a\\,b\\=c\\:d\n",
        "# slot1 ALL = ALL\n#901, %#99 ALL = /bin/x#comment\n",
        "slot1 \\\n ALL = \\\n /bin/a, \\\n /bin/b # end\nslot2 ALL = /bin/c\n",
        "#9 ALL = /bin/a\n%#8 ALL = /bin/b\n",
        "slot1 ALL = /bin/a,\\\n/bin/b,\\\n\\\n/bin/c\n",
        "User_Alias XVMS = slot1, !Xavi\n!XVMS, Xaver ALL = /bin/x\n",
    ],
)
def test_negation_quotes_comments_short_ids_joined_lines_and_names(text: str) -> None:
    expected = by_cvtsudoers(text)
    assert expected, "sudo accepts it, and it has an effect"
    assert by_us(text) == expected


NEGATED = st.sampled_from(["", "", "", "!", "!!"])
ACCOUNTS = ("slot1", "%vms", "#901", "%#99", '"a # b"', '"x,y"', "ALL")
COMMANDS = ("/bin/a", "/bin/b x\\#y", "/bin/c\\,d", '/bin/e ""', "ALL")
TAG = st.sampled_from(["", "", "NOPASSWD: ", "PASSWD: ", "NOEXEC: "])


def some(names: tuple[str, ...], before: st.SearchStrategy[str] = NEGATED) -> st.SearchStrategy[str]:
    """A list as sudoers has it, of one to three of these names, each with something before it."""
    return st.lists(st.tuples(before, st.sampled_from(names)).map("".join), min_size=1, max_size=3).map(", ".join)


# An alias whose members include itself is refused.
ALIASES = st.tuples(
    some(ACCOUNTS).map("User_Alias ONE = {}".format),
    some((*ACCOUNTS, "ONE")).map("User_Alias TWO = {}".format),
    some(COMMANDS).map("Cmnd_Alias THREE = {}".format),
    some((*COMMANDS, "THREE")).map("Cmnd_Alias FOUR = {}".format),
)
USERS = some((*ACCOUNTS, "ONE", "TWO"))
TAGGED = some((*COMMANDS, "THREE", "FOUR"), st.tuples(TAG, NEGATED).map("".join))
LINE = st.one_of(
    st.tuples(USERS, TAGGED).map(" ALL = ".join),
    st.tuples(USERS, TAGGED).map(" ALL = (condor) ".join),
    st.sampled_from(["", "# slot9 ALL = /bin/z", 'Defaults badpass_message="a # b", requiretty']),
)
END = st.sampled_from(["", " # the end", " #", "#,/bin/z"])


@pytest.mark.slow
@settings(max_examples=60)
@given(ALIASES, st.lists(st.tuples(LINE, END).map("".join), min_size=1, max_size=4))
def test_any_file_that_sudo_takes(aliases: tuple[str, ...], lines: list[str]) -> None:
    text = "\n".join([*aliases, *lines, ""])
    expected = by_cvtsudoers(text)
    assume(expected is not None)
    assert by_us(text) == expected


def test_included_files_are_read_where_they_are_included(tmp_path: Path) -> None:
    for name, text in {
        "etc/sudoers": 'a ALL = /1\n@include "more files"\n#includedir /etc/sudoers.d\n#include other\nf ALL = /6\n',
        "etc/more files": "b ALL = /2\n",
        "etc/other": "e ALL = /5\n@include /etc/missing\n",
        "etc/sudoers.d/20": "d ALL = /4\n",
        "etc/sudoers.d/10": "c ALL = /3 # comment\n",
        "etc/sudoers.d/x.bak": "z ALL = ALL\n",
        "etc/sudoers.d/x~": "z ALL = ALL\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = sudoers.read("/etc/sudoers", str(tmp_path))
    assert [(rule.path.rpartition("/")[2], rule.users[0], rule.command) for rule in found.permissions] == [
        ("sudoers", "a", "/1"),
        ("more files", "b", "/2"),
        ("10", "c", "/3"),
        ("20", "d", "/4"),
        ("other", "e", "/5"),
        ("sudoers", "f", "/6"),
    ]
    assert "/etc/missing" not in found.files


def test_files_that_include_each_other_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x ALL = /1\n@include b\n")
    (tmp_path / "b").write_text("@include a\n")
    found = sudoers.read("/a", str(tmp_path))
    assert {rule.command for rule in found.permissions} == {"/1"}
    assert len(found.files) == sudoers.MOST_NESTED + 1


def test_aliases_that_mean_each_other_end() -> None:
    found = sudoers.Sudoers(aliases={"A": ("!B",), "B": ("A",)})
    assert len(list(found.expand(("A",)))) == 1


def permission(**changes: Any) -> sudoers.Permission:
    values = {"path": "/s", "line": 1, "users": ("a", "%b"), "runas": "", "nopasswd": False, "command": "/bin/x"}
    return sudoers.Permission(**{**values, **changes})


def test_a_permission_says_who_may_run_what_as_whom() -> None:
    assert str(permission()) == "a,%b may run (root) /bin/x"
    assert str(permission(runas="condor", nopasswd=True)) == "a,%b may run (condor) NOPASSWD: /bin/x"


@pytest.mark.parametrize(
    ("users", "concerned"),
    [
        (("slot1",), True),
        (("slot2",), False),
        ((), False),
        (("ALL",), True),
        (("!slot1",), False),
        (("slot1", "!ALL"), False),
        (("!ALL", "slot1"), True),
        (("ALL", "!slot1"), False),
        (("ALL", "!slot2"), True),
        (("slot1", "slot2"), True),
        (("%vms",), True),
        (("V",), True),
        (("!V",), False),
        (("Xslot1",), False),
        (("slot1!",), False),
    ],
)
def test_the_last_that_matches_decides_whom_a_list_concerns(users: tuple[str, ...], concerned: bool) -> None:
    found = sudoers.Sudoers(aliases={"V": ("slot1",)})
    assert found.concerns(users, {"slot1", "%vms"}) is concerned


@pytest.mark.parametrize("more", [0, 1])
def test_aliases_are_expanded_as_deep_as_sudo_nests_them(more: int) -> None:
    names = [f"A{number}" for number in range(sudoers.MOST_NESTED + more)]
    found = sudoers.Sudoers(aliases={name: (inner,) for name, inner in zip(names, [*names[1:], "slot1"])})
    assert list(found.expand(("A0",))) == ["slot1" if not more else names[-1]]


def test_a_file_is_read_by_its_own_path_and_whatever_its_encoding(tmp_path: Path) -> None:
    (tmp_path / "X").write_bytes(b"slot1 ALL = /bin/caf\xe9\n")
    found = sudoers.read(str(tmp_path / "X"))
    assert found.files == [str(tmp_path / "X")]
    assert [rule.command for rule in found.permissions] == ["/bin/caf\N{REPLACEMENT CHARACTER}"]


def test_names_that_begin_and_end_with_any_letter_are_found(tmp_path: Path) -> None:
    (tmp_path / "Xd").mkdir()
    (tmp_path / "Xs").write_text('@include "X file X"\n@includedir /Xd\n@includedir /missing\n')
    (tmp_path / "X file X").write_text("a ALL = /1\n")
    (tmp_path / "Xd/X").write_text("b ALL = /2\n")
    assert sudoers.read("/Xs", str(tmp_path)).files == ["/Xs", "/X file X", "/Xd/X"]


def test_a_rule_for_nobody_is_for_nobody(tmp_path: Path) -> None:
    """visudo refuses it; who reads it must not fail."""
    (tmp_path / "sudoers").write_text("= /bin/x\n")
    assert [rule.users for rule in sudoers.read("/sudoers", str(tmp_path)).permissions] == [()]


def test_defaults_are_read_with_their_scopes_and_places(tmp_path: Path) -> None:
    (tmp_path / "sudoers").write_text(
        "Defaults env_reset, !requiretty, \\\n  use_pty\n"
        "# a comment\n"
        "Defaults:slot1, %vms !use_pty\n"
        "Defaults:slot1,%vms !use_pty\n"
        "Defaults@hostX,X1 lectureX, X2\nDefaults>root umask=022\nDefaults!/bin/ls noexec\nDefaults\n"
    )
    found = sudoers.read("/sudoers", str(tmp_path)).defaults
    assert found[0] == sudoers.Default("/sudoers", 1, "", (), ("env_reset", "!requiretty", "use_pty"))
    assert found[2:] == [
        sudoers.Default("/sudoers", 5, ":", ("slot1", "%vms"), ("!use_pty",)),
        sudoers.Default("/sudoers", 6, "@", ("hostX", "X1"), ("lectureX", "X2")),
        sudoers.Default("/sudoers", 7, ">", ("root",), ("umask=022",)),
        sudoers.Default("/sudoers", 8, "!", ("/bin/ls",), ("noexec",)),
        sudoers.Default("/sudoers", 9, "", (), ()),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "! slot9, ALL ALL = /bin/g\n",
        "User_Alias V = slot1\nCmnd_Alias C = /bin/a x\\=y, /bin/b\nV ALL = C\n",
    ],
)
def test_blanks_after_a_negation_and_equals_in_an_alias(text: str) -> None:
    expected = by_cvtsudoers(text)
    assert expected, "sudo accepts it, and it has an effect"
    assert by_us(text) == expected
