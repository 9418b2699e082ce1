# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a site's own submit file (such as HTCondorVMs' vm-atlas.sub) as submit commands.

Only what describes one job is taken: ``key = value`` lines, comments, continued lines, and a last
``queue``, which is ignored because the factory decides how many. What would make the file a program (if,
include, use, several queues) is refused with the line's number. Format: condor_submit's manual, "submit
description file commands".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from condor_vac.base import atomic
from condor_vac.base.errors import UsageError, VacError

LIMIT = 1 << 18
_COMMAND = re.compile(r"((?:\+|my\.)?[A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)", re.IGNORECASE)
_PROGRAM = re.compile(r"(if|elif|else|endif|include|use|error|warning)\b(?!\s*=)", re.IGNORECASE)
_QUEUE = re.compile(r"queue\b(?!\s*=)", re.IGNORECASE)

# Who the VM is and where its files go is the factory's; what a VM job cannot have is named at once.
_DROPPED = frozenset({"initialdir", "iwd", "initial_dir", "log", "leave_in_queue", "notification"})
_FORBIDDEN = frozenset({"output", "error", "deferral_time", "cron_minute", "max_materialize", "max_idle"})


def load(path: str) -> dict[str, str]:
    """The submit commands in the file; raises UsageError naming file, line and remedy.

    Relative input files are looked up beside the file (or in its ``initialdir``), because each VM has a
    directory of its own.
    """
    try:
        text = atomic.read(path, LIMIT).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text: {error}; convert the file") from error
    except VacError as error:
        raise UsageError(f"submit_file: {error}") from error
    commands = parse(path, text)
    if commands.get("universe", "").lower() != "vm":
        raise UsageError(f"{path}: universe: must be vm; this file is for the VMs' jobs, not for the factory's")
    for key in _FORBIDDEN & set(commands):
        raise UsageError(f"{path}: {key}: not possible for a vacuum VM's job; remove it")
    _make_absolute(path, commands)
    for key in _DROPPED:
        commands.pop(key, None)
    commands.setdefault("transfer_output_files", "joboutputs")
    commands["notification"] = "never"
    return commands


def parse(path: str, text: str) -> dict[str, str]:
    """The submit commands of a file's text, as written. Raises UsageError naming the line (of ``path``)."""
    commands: dict[str, str] = {}
    queued = False
    for number, line in _lines(text):
        if _QUEUE.match(line):
            queued = True
            continue
        if queued:
            raise UsageError(f"{path}:{number}: {line[:60]!r} follows queue; the file must describe one job")
        if _PROGRAM.match(line):
            raise UsageError(f"{path}:{number}: {line[:60]!r}: only key = value lines are possible here")
        found = _COMMAND.fullmatch(line)
        if found is None:
            raise UsageError(f"{path}:{number}: {line[:60]!r}: not a submit command; write key = value")
        commands[_key(found[1])] = found[2].strip()
    return commands


def has_one_job(text: str) -> bool:
    """Whether nothing follows the first ``queue`` of a file."""
    lines = [line for _number, line in _lines(text)]
    return not any(_QUEUE.match(line) for line in lines[:-1])


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of each logical line: continuations joined, comments and blank lines left out."""
    held, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not held:
            start = number
        if line.startswith("#"):
            continue
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        line = (held + line).strip()
        if line:
            yield start, line
        held = ""
    if held.strip():
        yield start, held.strip()


def _key(word: str) -> str:
    """One spelling for each command: ads as ``+Name``, everything else in lower case."""
    if word.lower().startswith("my."):
        return f"+{word[3:]}"
    return word if word.startswith("+") else word.lower()


def _make_absolute(path: str, commands: dict[str, str]) -> None:
    base = os.path.join(os.path.dirname(os.path.abspath(path)), commands.get("initialdir", ""))
    files = commands.get("transfer_input_files")
    if files:
        parts = [part.strip() for part in files.strip('"').split(",")]
        commands["transfer_input_files"] = ",".join(
            part if "://" in part or "$(" in part else os.path.join(base, part) for part in parts if part
        )
