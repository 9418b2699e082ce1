# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which sysctl settings a node gets when it boots: what systemd-sysctl reads, in which order, and who wins.

The rules are sysctl.d(5)'s, checked against systemd-sysctl 257 (Debian 13) with debugging on.
"""

from __future__ import annotations

import configparser
import fnmatch
import os
import re
from dataclasses import dataclass
from typing import Any

from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import sysctl_path

# A file hides the files of its name in the directories after its own.
DIRECTORIES = ("etc/sysctl.d", "run/sysctl.d", "usr/local/lib/sysctl.d", "usr/lib/sysctl.d", "lib/sysctl.d")
GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Assignment:
    """One line. ``key`` is relative to /proc/sys; a ``value`` of None is the exclusion ``-key``."""

    path: str
    line: int
    key: str
    value: str | None
    reader: str = "systemd-sysctl"

    def switches_on(self) -> bool:
        """Whether the kernel, which reads a leading number and no more, takes the value for on."""
        number = re.match(r"-?(?:0x)?([0-9a-f]+)(?:\s|$)", self.value or "", re.IGNORECASE)
        return number is not None and number.group(1).strip("0") != ""

    def applies_to(self, key: str) -> bool:
        """Whether the key is meant, by name or by a glob, which like glob(3) stops at slashes."""
        if not GLOB.search(self.key):
            return self.key == key
        patterns, parts = self.key.split("/"), key.split("/")
        pairs = zip(patterns, parts)
        return len(patterns) == len(parts) and all(fnmatch.fnmatchcase(part, word) for word, part in pairs)

    def is_glob(self) -> bool:
        """Whether it is a pattern: then it never applies to a key that any file sets by name."""
        return GLOB.search(self.key) is not None

    def describe(self) -> dict[str, Any]:
        """As an entry of a module's result."""
        value = "(not set at all)" if self.value is None else self.value
        return {"path": self.path, "line": self.line, "key": self.key, "value": value, "reader": self.reader}

    def __str__(self) -> str:
        what = f"-{self.key}" if self.value is None else f"{self.key} = {self.value}"
        return f"{self.path}:{self.line} ({what}, read by {self.reader})"


def parse(text: str, path: str, reader: str = "systemd-sysctl") -> list[Assignment]:
    """The assignments of one file's text; lines that are none are left out, as systemd-sysctl does."""
    found = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.partition("=")
        ignored = name.startswith("-")
        if not equals and not ignored:
            continue
        key = sysctl_path(name.lstrip("-").strip() if ignored else name.strip())
        found.append(Assignment(path, number, key, value.strip() if equals else None, reader))
    return found


def boot_files(root: str = "/") -> list[str]:
    """The files that count at boot, in the order in which they are read (by name; the last one wins)."""
    chosen: dict[str, str] = {}
    for directory in DIRECTORIES:
        folder = os.path.join(root, directory)
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            if name.endswith(".conf") and not name.startswith("."):
                chosen.setdefault(name, os.path.join(folder, name))
    return [chosen[name] for name in sorted(chosen, key=os.fsencode)]


def boot_assignments(root: str = "/") -> list[Assignment]:
    """All assignments of the boot, in order. A link to /dev/null hides a file; a dangling link is nothing."""
    return [entry for path in boot_files(root) for entry in parse(_text(path), path)]


def other_readers(root: str = "/") -> list[Assignment]:
    """Assignments that other programs make after the boot, or when someone calls them.

    ``sysctl --system`` and ``sysctl -p`` read /etc/sysctl.conf last (systemd-sysctl only by a link to it);
    ufw loads a file of its own; tuned applies the active profile's [sysctl] section.
    """
    conf = os.path.join(root, "etc/sysctl.conf")
    linked = {os.path.realpath(path) for path in boot_files(root)}
    found = [] if os.path.realpath(conf) in linked else parse(_text(conf), conf, "sysctl --system")
    return found + _ufw(root) + _tuned(root)


def _ufw(root: str) -> list[Assignment]:
    if not re.search(r"^\s*ENABLED=[\"']?yes", _text(os.path.join(root, "etc/ufw/ufw.conf")), re.MULTILINE):
        return []
    defaults = _text(os.path.join(root, "etc/default/ufw"))
    named = re.search(r"^\s*IPT_SYSCTL=[\"']?([^\"'\s#]*)", defaults, re.MULTILINE)
    path = os.path.join(root, (named.group(1) if named else "etc/ufw/sysctl.conf").lstrip("/"))
    return parse(_text(path), path, "ufw")


def _tuned(root: str) -> list[Assignment]:
    found = []
    for name in _text(os.path.join(root, "etc/tuned/active_profile")).split():
        for folder in ("etc/tuned/profiles", "etc/tuned", "usr/lib/tuned/profiles", "usr/lib/tuned"):
            path = os.path.join(root, folder, os.path.basename(name), "tuned.conf")
            if os.path.isfile(path):
                found += _section(path)
                break
    return found


def _section(path: str) -> list[Assignment]:
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), allow_no_value=True)
    text = _text(path)
    try:
        parser.read_string(text)
    except configparser.Error:
        return []  # tuned does not load such a profile either
    lines = text.splitlines()
    items = parser.items("sysctl") if parser.has_section("sysctl") else []
    number = {line.partition("=")[0].strip().lower(): at for at, line in enumerate(lines, 1)}
    return [
        Assignment(path, number.get(name, 0), sysctl_path(name), (value or "").strip(), "tuned")
        for name, value in items
    ]


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except (FileNotFoundError, IsADirectoryError):
        return ""
