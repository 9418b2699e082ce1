# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read a node's sudoers files with the place of every rule, to see who may do what, and which line allows it.

cvtsudoers knows the grammar better but forgets files and lines, and sudo-rs does not have it. visudo has
accepted what is read here, so only the grammar of valid files (sudoers(5)) matters.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# Deeper nesting is refused by sudo itself.
MOST_NESTED = 128
INCLUDE = re.compile(r"[#@](include|includedir)\s+(.+)$")
ALIAS = re.compile(r"(User|Runas|Host|Cmnd|Cmd)_Alias\s+(.*)$", re.DOTALL)
DEFAULTS = re.compile(r"Defaults(?:([@:!>])\s*(\S+))?(?:\s+(.*))?$", re.DOTALL)
RUNAS = re.compile(r"\(([^)]*)\)\s*")
TAG = re.compile(r"([A-Z][A-Z_]*)\s*:\s*")
OPTION = re.compile(
    r"(?:ROLE|TYPE|PRIVS|LIMITPRIVS|APPARMOR_PROFILE|TIMEOUT|CWD|CHROOT|NOTBEFORE|NOTAFTER)\s*=\s*\S+\s*"
)
QUOTED = re.compile(r'^(!*)"([^"]+)"$')
WORD = re.compile(r'(?:"[^"]*"|\\.|[^\s"\\])+')
DIGEST = re.compile(r"sha(?:224|256|384|512)\s*:\s*\S+\s+")
# "... : HOST = COMMANDS" goes on with another host; a colon inside a command is escaped.
NEXT_HOST = re.compile(r"(?<!\\):\s*[^=]*?(?<!\\)=\s*")


@dataclass(frozen=True)
class Permission:
    """One command of one rule: ``command`` as written (with ! if denied), ``runas`` "" for root."""

    path: str
    line: int
    users: tuple[str, ...]
    runas: str
    nopasswd: bool
    command: str

    def __str__(self) -> str:
        tag = "NOPASSWD: " if self.nopasswd else ""
        return f"{','.join(self.users)} may run ({self.runas or 'root'}) {tag}{self.command}"


@dataclass(frozen=True)
class Default:
    """A Defaults line: ``scope`` is "" or one of @ : ! >, ``subjects`` whom it is for."""

    path: str
    line: int
    scope: str
    subjects: tuple[str, ...]
    settings: tuple[str, ...]


@dataclass
class Sudoers:
    """Everything that sudo reads, in the order in which it counts: the last that matches wins."""

    permissions: list[Permission] = field(default_factory=list)
    defaults: list[Default] = field(default_factory=list)
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    def expand(self, items: tuple[str, ...], depth: int = 0) -> Iterator[str]:
        """The items with aliases replaced by what they stand for, each with one ! or none.

        A ! before an alias goes to each of its members, and two of them are none.
        """
        for item in items:
            name = item.lstrip("!")
            deny = "!" if (len(item) - len(name)) % 2 else ""
            if name in self.aliases and depth < MOST_NESTED:
                for inner in self.expand(self.aliases[name], depth + 1):
                    yield inner[1:] if deny and inner.startswith("!") else deny + inner
            else:
                yield deny + name

    def concerns(self, users: tuple[str, ...], names: set[str]) -> bool:
        """Whether a list of users means one of *names* (name, %group, #uid, %#gid); the last decides."""
        answer = False
        for item in self.expand(users):
            if item.lstrip("!") in names | {"ALL"}:
                answer = not item.startswith("!")
        return answer


def read(path: str, root: str = "/") -> Sudoers:
    """Read *path* and what it includes; *root* goes before every path. Raises OSError."""
    found = Sudoers()
    _read_file(found, path, root, 0)
    return found


def _read_file(found: Sudoers, path: str, root: str, depth: int) -> None:
    real = os.path.join(root, path.lstrip("/"))
    if depth > MOST_NESTED or not os.path.isfile(real):
        return
    found.files.append(path)
    with open(real, encoding="utf-8", errors="replace") as stream:
        text = stream.read()
    for number, line in logical_lines(text):
        include = INCLUDE.match(line)
        if include is None:
            _read_line(found, path, number, line)
            continue
        for name in _included(include.group(1), include.group(2).strip().strip('"'), path, root):
            _read_file(found, name, root, depth + 1)


def _included(kind: str, name: str, path: str, root: str) -> list[str]:
    target = os.path.normpath(os.path.join(os.path.dirname(path), name))
    if kind == "include":
        return [target]
    real = os.path.join(root, target.lstrip("/"))
    names = sorted(os.listdir(real)) if os.path.isdir(real) else []
    # sudo skips what editors and package managers leave behind.
    return [os.path.join(target, entry) for entry in names if "." not in entry and not entry.endswith("~")]


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers: continued lines joined, comments and empty lines left out."""
    buffer, start = "", 0
    for number, raw in enumerate(text.split("\n"), start=1):
        start = start or number
        if raw.endswith("\\"):
            buffer += raw[:-1] + " "
            continue
        line = _uncommented(buffer + raw).strip()
        if line:
            yield start, line
        buffer, start = "", 0


def _uncommented(line: str) -> str:
    """Without a comment: a # that is neither quoted, nor escaped, nor a number, nor an include."""
    if INCLUDE.match(line.strip()):
        return line
    quoted = False
    for at, character in enumerate(line):
        if line[at - 1 : at] == "\\":
            continue
        if character == '"':
            quoted = not quoted
        if character == "#" and not quoted and not line[at + 1 : at + 2].isdigit():
            return line[:at]
    return line


def _read_line(found: Sudoers, path: str, number: int, line: str) -> None:
    alias = ALIAS.match(line)
    defaults = DEFAULTS.match(line)
    if alias is not None:
        for part in _split(alias.group(2), ":"):
            name, _equals, members = part.partition("=")
            found.aliases[name.strip()] = tuple(_split(members, ","))
    elif defaults is not None:
        subjects = tuple(_split(defaults.group(2) or "", ","))
        settings = tuple(_split(defaults.group(3) or "", ","))
        found.defaults.append(Default(path, number, defaults.group(1) or "", subjects, settings))
    else:
        found.permissions += _permissions(path, number, line)


def _permissions(path: str, number: int, line: str) -> Iterator[Permission]:
    left, _equals, right = line.partition("=")
    # Left of = are a list of users and a list of hosts: white space that no comma touches divides them.
    words = WORD.findall(re.sub(r"\s*,\s*", ",", re.sub(r"!\s+", "!", left)))
    users = tuple(_split(words[0], ",")) if words else ()
    runas, nopasswd = "", False
    for item in _split(right, ","):
        rest = item
        while rest:
            runas, nopasswd, rest = _prefixes(rest, runas, nopasswd)
            following = NEXT_HOST.search(rest)
            command = rest if following is None else rest[: following.start()]
            yield Permission(path, number, users, runas, nopasswd, " ".join(command.split()))
            if following is None:
                break
            runas, nopasswd, rest = "", False, rest[following.end() :]


def _prefixes(text: str, runas: str, nopasswd: bool) -> tuple[str, bool, str]:
    """Take (runas), tags, options and digests off a command; what is not given stays as before it."""
    while True:
        for pattern in (RUNAS, OPTION, DIGEST, TAG):
            match = pattern.match(text)
            if match is not None:
                break
        else:
            return runas, nopasswd, text
        if pattern is RUNAS:
            runas = match.group(1).split(":")[0].strip()
        elif pattern is TAG and match.group(1) in {"NOPASSWD", "PASSWD"}:
            nopasswd = match.group(1) == "NOPASSWD"
        text = text[match.end() :]


def _split(text: str, separator: str) -> list[str]:
    """Parts of a list; a separator in quotes or after a backslash is not a separator."""
    parts = re.findall(rf'(?:\\.|"[^"]*"|[^\\{separator}])+', text, re.DOTALL)
    return [QUOTED.sub(r"\1\2", part.strip()) for part in parts if part.strip()]
