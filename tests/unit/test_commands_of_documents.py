# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in the documents: a test runs them, or they are marked as not run; those of the collection are possible.

Each block names what it is in its info string, which GitHub does not show. A block of commands is ``sh run=PATH``,
where a test at PATH (a file or directory; several with commas) runs them, or ``sh not-run``.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from condor_vac.cli import dispatch

ROOT = Path(__file__).resolve().parents[2]
LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
DOCUMENTS = LISTED.split()
# What is in a block that has no commands.
OTHERS = {"text", "yaml", "json", "condor"}
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
# The module that a target of the Makefile runs.
TARGETS = {"make demo": "tests.demo"}


def blocks(text: str) -> list[tuple[str, str]]:
    """(info string, contents) of each fenced block, those in lists too."""
    return [(info.strip(), textwrap.dedent(body)) for _, info, body in FENCE.findall(text)]


def commands(body: str) -> Iterator[list[str]]:
    """The words of each command in a block: without comments, variables set before it, sudo, pipes and redirections."""
    for line in re.sub(r"\\\n", " ", body).splitlines():
        for part in re.split(r"\s(?:\||&&|\|\|)\s", line):
            words = shlex.split(re.sub(r"\s[<>].*$", "", part), comments=True)
            while words and (words[0] == "sudo" or re.fullmatch(r"[A-Z_]+=.*", words[0])):
                words = words[1:]
            if words[:2] in (["python", "-m"], ["python3", "-m"]):
                words = words[2:]
            if words:
                yield words


def essence(words: list[str]) -> list[str]:
    """What of a command a file that runs it has to hold, in any order."""
    if words[0] == "ansible-playbook":
        return [word for word in words if word.startswith("vacuum.htcondor.")]
    if words[0] == "ansible-galaxy":
        return [" ".join(words[:3])]
    if words[0] == "condor_vac":
        return [word for word in words[1:3] if re.fullmatch("[a-z][a-z-]*", word)]
    start = " ".join(words[:2])
    return [TARGETS.get(start, start)]


def faults(text: str) -> list[str]:
    """What is wrong with the blocks of a document."""
    found = []
    for info, body in blocks(text):
        kind, _, how = info.partition(" ")
        if kind in OTHERS and not how:
            continue
        if kind != "sh" or not (how == "not-run" or how.startswith("run=")):
            known = ", ".join(["sh not-run", "sh run=PATH", *sorted(OTHERS)])
            found.append(f"a block's info string is {info!r}: write one of {known}")
        elif how != "not-run":
            found += [f"{how}: {problem}" for problem in _not_run(how[len("run=") :].split(","), body)]
    return found


def _not_run(paths: list[str], body: str) -> Iterator[str]:
    missing = [path for path in paths if not (ROOT / path).exists()]
    yield from (f"there is no {path}" for path in missing)
    text = "\n".join(_text(ROOT / path) for path in paths if path not in missing)
    for words in commands(body):
        yield from (f"it has no {what!r}" for what in essence(words) if what not in text)


def _text(path: Path) -> str:
    files = [path] if path.is_file() else sorted(path.rglob("*.py")) + sorted(path.rglob("*.yml"))
    return "\n".join(file.read_text("utf-8") for file in files)


def impossible(words: list[str]) -> str:
    """Why a command of the collection cannot be given like that; empty if it can, or is not of the collection."""
    if words[0] == "condor_vac":
        try:
            dispatch.build_parser(only=words[1]).parse_args(words[1:])
        except SystemExit:
            return f"{shlex.join(words)}: its parser refuses this"
    if words[0] == "ansible-playbook":
        for name in essence(words):
            if not (ROOT / "playbooks" / f"{name.rpartition('.')[2]}.yml").exists():
                return f"{name}: there is no such playbook"
    return ""


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_block_of_commands_is_run_or_marked(name: str) -> None:
    assert faults((ROOT / name).read_text("utf-8")) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_of_the_collection_are_possible(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = [body for info, body in blocks((ROOT / name).read_text("utf-8")) if info.startswith("sh")]
    wrong = [impossible(words) for body in found for words in commands(body)]
    assert [line for line in wrong if line] == [], capsys.readouterr().err


@pytest.mark.parametrize("name", DOCUMENTS)
def test_blocks_of_yaml_can_be_read(name: str) -> None:
    for info, body in blocks((ROOT / name).read_text("utf-8")):
        if info == "yaml":
            yaml.safe_load(body)


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if not name.startswith("docs/adr/")])
def test_commands_in_sentences_exist(name: str) -> None:
    text = FENCE.sub("", (ROOT / name).read_text("utf-8"))
    named = set(re.findall(r"`(?:man )?condor_vac ([a-z][a-z-]*)", text))
    assert named <= dispatch.COMMANDS.keys()
    playbooks = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    assert set(re.findall(r"ansible-playbook vacuum\.htcondor\.([a-z_]+)", text)) <= playbooks


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("```sh not-run\nanything\n```\n", []),
        ("```text\nanything\n```\n", []),
        ("```\nmake demo\n```\n", ["a block's info string is ''"]),
        ("1. A list\n\n   ```\n   make demo\n   ```\n", ["a block's info string is ''"]),
        ("```sh\nmake demo\n```\n", ["a block's info string is 'sh'"]),
        ("```yaml not-run\na: 1\n```\n", ["a block's info string is 'yaml not-run'"]),
        ("```sh run=molecule/site\nansible-playbook -i i.yml vacuum.htcondor.verify  # all\n```\n", []),
        ("```sh run=molecule/site\nansible-playbook vacuum.htcondor.drain\n```\n", ["has no 'vacuum.htcondor.drain'"]),
        ("```sh run=molecule/none\nmake demo\n```\n", ["no molecule/none", "has no 'tests.demo'"]),
    ],
)
def test_what_counts_as_run(text: str, wrong: list[str]) -> None:
    found = faults(text)
    assert len(found) == len(wrong)
    assert all(part in line for part, line in zip(wrong, found))


@pytest.mark.parametrize(
    ("line", "possible"),
    [
        ("condor_vac doctor --step network   # as root", True),
        ("condor_vac doctor --steps network", False),
        ("sudo condor_vac image list --digest > list.txt", True),
        ("condor_vac image lists", False),
        ("PYTHONPATH=src python3 -m condor_vac outcome --runtime 5 FILE", True),
        ("ansible-playbook -i i.yml vacuum.htcondor.site", True),
        ("ansible-playbook vacuum.htcondor.sites", False),
        ("dnf install anything", True),
    ],
)
def test_what_is_possible(line: str, possible: bool) -> None:
    assert [impossible(words) == "" for words in commands(line)] == [possible]
