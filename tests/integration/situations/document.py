# SPDX-License-Identifier: GPL-3.0-or-later
"""What documents say that programs print: the table of docs/situations.md, and the screens of docs/operations.md."""

from __future__ import annotations

import re
from typing import NamedTuple

import yaml

from tests.integration.chroot import CHECKOUT
from tests.integration.monitoring import tools

HANDBOOK = CHECKOUT / "docs" / "operations.md"
DOCUMENT = CHECKOUT / "docs" / "situations.md"
# In a cell: this program has nothing to say.
NOTHING = "—"
HEADER = "| situation | `condor_vac explain` | `condor_vac doctor` | the page | the alert | what to do |"
_UNITS = {"m": "min", "h": "h"}


class Row(NamedTuple):
    """One situation, as Markdown."""

    situation: str
    explain: str
    doctor: str
    page: str
    alert: str
    do: str


def rows() -> dict[str, Row]:
    """The table by the first column."""
    _before, _header, table = DOCUMENT.read_text("utf-8").partition(f"{HEADER}\n")
    lines = table.partition("\n\n")[0].splitlines()[1:]
    found = [Row(*line.strip("| ").split(" | ")) for line in lines]
    return {row.situation: row for row in found}


def absent(cell: str, text: str) -> list[str]:
    """The sentences of a cell, those in back quotes, that are not in a line of the text; ``…`` stands for anything."""
    sentences = re.findall(r"`([^`]+)`", cell)
    return [sentence for sentence in sentences if not re.search(".+".join(map(re.escape, sentence.split("…"))), text)]


def screens() -> dict[str, list[str]]:
    """The handbook's screens of the pool: the command without its first word → its lines as `alike` has them."""
    blocks = re.findall(r"^```text\n\$ condor_vac (.*)\n((?:.*\n)+?)```$", HANDBOOK.read_text("utf-8"), re.MULTILINE)
    return {command: alike(text) for command, text in blocks}


def alike(text: str) -> list[str]:
    """The lines of a screen without what differs each time: numbers, hosts' own times, and the width of columns."""
    lines = (re.sub(r"\d+(?:[hms]\d*)?", "#", " ".join(line.split())) for line in text.splitlines())
    return [line for line in lines if line]


def waits() -> dict[str, str]:
    """How long each alert of the shipped rules waits before it fires, as the document writes it."""
    rules = [rule for group in yaml.safe_load(tools.RULES.read_text())["groups"] for rule in group["rules"]]
    return {rule["alert"]: f"{rule['for'][:-1]} {_UNITS[rule['for'][-1]]}" for rule in rules}
