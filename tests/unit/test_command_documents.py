# SPDX-License-Identifier: GPL-3.0-or-later
"""The man page and the completion of ``condor_vac`` are up to date, and have every command and option."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._programs.entry_points import DOCUMENTS

from tests import command_documents

ROOT = Path(__file__).resolve().parents[2]
PARSERS = list(command_documents.every(command_documents.build()))


def test_they_are_up_to_date() -> None:
    assert list(command_documents.outdated()) == [], f"run {command_documents.COMMAND}"


@pytest.mark.parametrize("width", ["40", "200"])
def test_the_page_does_not_depend_on_the_terminal(width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert command_documents.man_page() == (ROOT / command_documents.MAN_PAGE).read_text("utf-8")


def test_they_are_what_the_module_programs_links() -> None:
    made = {command_documents.MAN_PAGE, command_documents.COMPLETION}
    assert {f"src/condor_vac/{source}" for source in DOCUMENTS["cli"].values()} == made


def test_a_change_is_found_and_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "src/condor_vac/share", tmp_path / "src/condor_vac/share")
    monkeypatch.setattr(command_documents, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["command_documents", "--check"])
    assert command_documents.main() == 0
    (tmp_path / command_documents.MAN_PAGE).write_text("")
    assert command_documents.main() == 1
    assert f"{command_documents.MAN_PAGE}: out of date; run {command_documents.COMMAND}" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["command_documents"])
    assert command_documents.main() == 0
    assert command_documents.outdated() == {}


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
def test_the_page_has_every_command_and_option(parser: argparse.ArgumentParser) -> None:
    page = (ROOT / command_documents.MAN_PAGE).read_text("utf-8").replace("\\-", "-")
    if parser.prog == "condor_vac":
        part = page
    else:
        part = page.partition(f".SS \\fB{parser.prog}\\fR\n")[2].partition("\n.SS ")[0]
    assert part
    options = {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}
    assert options <= set(re.findall(r"\\fB(--[a-z-]+)\\fR", part))


def completed(*words: str, script: str = "") -> list[str]:
    """What bash offers for the last word; like bash, it takes "=" for a word."""
    given = [part for word in words for part in re.split("(=)", word) if part or not word]
    source = f"source {ROOT / command_documents.COMPLETION}; {script}"
    code = f'{source} COMP_WORDS=(condor_vac "$@"); COMP_CWORD=$#; _condor_vac; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", code, "bash", *given], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
def test_every_command_offers_its_options_and_what_can_follow(parser: argparse.ArgumentParser) -> None:
    words = parser.prog.split()[1:]
    options = {option for action in parser._actions for option in action.option_strings}
    assert set(completed(*words, "-")) == options
    assert set(command_documents.subcommands(parser)) <= set(completed(*words, ""))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["st"], ["status"]),
        (["image", "re"], ["refresh", "remove"]),
        (["doctor", "--json", "--step", "ht"], ["http"]),
        (["doctor", "--step=ht"], ["http"]),
        (["status", "--bindings="], ["htcondor2", "htcondor"]),
        (["status", "--watch", ""], []),
        (["machinetype", "READ"], ["README.md"]),
        (["pipe", "--cache", "READ"], ["README.md"]),
        (["image", "put", "name", "READ"], ["README.md"]),
        (["status", "READ"], []),
        (["nonsense", "--js"], []),
    ],
)
def test_values_and_files(words: list[str], offered: list[str]) -> None:
    assert completed(*words) == offered


def test_machinetypes_of_this_machine(tmp_path: Path) -> None:
    place = "/etc/condor_vac/machinetypes"
    assert [word for word in completed("explain", "a") if not word.startswith("-")] == []
    for name in ("atlas", "lhcb"):
        (tmp_path / f"{name}.json").write_text("")
    text = (ROOT / command_documents.COMPLETION).read_text("utf-8").replace(f"{place}/*", f"{tmp_path}/*")
    escaped = str(tmp_path).replace("/", "\\/")
    (tmp_path / "script").write_text(text.replace("\\/etc\\/condor_vac\\/machinetypes", escaped))
    assert completed("explain", "a", script=f"source {tmp_path}/script;") == ["atlas"]
    assert completed("machines", "", script=f"source {tmp_path}/script;")[-2:] == ["atlas", "lhcb"]


@pytest.mark.skipif(shutil.which("man") is None, reason="needs man")
def test_man_reads_the_page_without_a_warning() -> None:
    command = ["man", "--warnings", "-l", str(ROOT / command_documents.MAN_PAGE)]
    done = subprocess.run(command, env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}, capture_output=True, check=True)
    assert done.stderr == b""
    assert b"condor_vac shutdowntime cancel" in done.stdout
