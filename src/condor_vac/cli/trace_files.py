# SPDX-License-Identifier: GPL-3.0-or-later
"""What an access point's files hold of one VM: lines of factory.log, events of the job's log, what came back from it.

The files are the machinetype's owner's, and partly what a guest wrote: no link is followed, of a long file the end is
read, and what is shown has bounds.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from typing import NamedTuple

from condor_vac.base.plain_file import tail
from condor_vac.base.shared import one_line
from condor_vac.condor import user_log
from condor_vac.factory.process import LOG_BYTES, LOG_FILES

# What a step's text may be long.
TEXT_LIMIT = 500
_MOST_NAMES = 1000
_LINE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}),([0-9]{3}) [A-Z]+ (.*)")
# The jobs that a line names, up to its reason.
_IDS = re.compile(r"(?: [0-9]+\.[0-9]+)+(?=:)")
_DECISION = "submit "


class Step(NamedTuple):
    """One thing that happened: when (Unix s), what, who has recorded it, and details in one printable line."""

    time: float
    step: str
    source: str
    text: str


class Output(NamedTuple):
    """A file that came back: its name below the VM's directory, and its size in bytes."""

    name: str
    size: int


def step(when: float, what: str, source: str, text: str) -> Step:
    """A step with text of anybody's."""
    return Step(when, what, source, one_line(text, TEXT_LIMIT))


def factory_steps(directory: str, job: str, batch: str | None) -> list[Step]:
    """The lines of a factory's log that name the VM's job (CLUSTER.PROC) or its submission, and that decision."""
    named = re.compile(rf"(?<![0-9.]){re.escape(job)}(?![0-9]|\.[0-9])")
    found = []
    decision = False
    for line in _log_lines(directory):
        parts = _LINE.match(line)
        when = None if parts is None else user_log.local_time(parts[1])
        if parts is None or when is None:
            continue
        when += int(parts[2]) / 1000
        text = parts[3]
        of_batch = batch is not None and f"(batch {batch})" in text
        if of_batch or named.search(text) or (decision and text.startswith(_DECISION)):
            found.append(
                step(when, "factory", "factory.log", _IDS.sub(f" {job}", text) if named.search(text) else text)
            )
        decision = of_batch
    return found


def job_steps(directory: str, job: str, now: float) -> list[Step]:
    """The events in the job's own log, which is in the VM's directory."""
    text = _text(os.path.join(directory, "vm.log"), LOG_BYTES)
    return [
        step(event.time, user_log.STEPS[event.number], "vm.log", event.text)
        for event in user_log.events(text, job, now)
    ]


def outputs(directory: str) -> list[Output]:
    """The files in a VM's directory and in those in it, by name; of a flood of files the first."""
    found: list[Output] = []
    for name, status in _entries(directory):
        if stat.S_ISREG(status.st_mode):
            found.append(Output(one_line(name), status.st_size))
        elif stat.S_ISDIR(status.st_mode):
            inner = _entries(os.path.join(directory, name))
            found += [Output(one_line(f"{name}/{each}"), of.st_size) for each, of in inner if stat.S_ISREG(of.st_mode)]
    return sorted(found)


def _entries(directory: str) -> list[tuple[str, os.stat_result]]:
    found = []
    with contextlib.suppress(OSError):
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with os.scandir(fd) as entries:
                for _number, entry in zip(range(_MOST_NAMES), entries):
                    found.append((entry.name, os.stat(entry.name, dir_fd=fd, follow_symlinks=False)))
        finally:
            os.close(fd)
    return found


def _log_lines(directory: str) -> Iterator[str]:
    """The lines of the log and of its earlier parts, the oldest first."""
    path = os.path.join(directory, "factory.log")
    for name in [*(f"{path}.{number}" for number in range(LOG_FILES, 0, -1)), path]:
        yield from _text(name, 2 * LOG_BYTES).split("\n")


def _text(path: str, limit: int) -> str:
    """The end of a file; empty where there is none that can be read."""
    return (tail(path, limit) or b"").decode("utf-8", "replace")
