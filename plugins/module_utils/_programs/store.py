# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where program trees are stored on a node: ``<root>/<version>-<digest12>/<package>``.

The links ``current`` and ``previous`` name two of them. Each tree holds its own manifest, so
that a node knows without the controller what a tree should be.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import FileError
from ansible_collections.vacuum.htcondor.plugins.module_utils._programs.tree import (
    DIRECTORY_MODE,
    Drift,
    Manifest,
    audit,
    digest_of,
    remove_extra,
    repair_attributes,
    write_files,
)
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import CURRENT_TREE, MANIFEST

TREE = re.compile(r"^[0-9A-Za-z.+~]+-[0-9a-f]{12}$")
UNFINISHED = ".new-"

# Called with the directory of a complete but not yet visible tree and its final path; raises to refuse it.
Check = Callable[[str, str], None]


@dataclass(frozen=True)
class Installation:
    """A version of the package: manifest paths are relative to the tree and begin with the package's name."""

    version: str
    manifest: Manifest

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest."""
        return digest_of(self.manifest)

    @property
    def name(self) -> str:
        """The tree's directory."""
        return f"{self.version}-{self.digest[:12]}"


@dataclass(frozen=True)
class Plan:
    """What has to be done for one installation to be current."""

    wanted: Installation
    installed: bool
    drift: Drift
    current: str | None
    previous: str | None
    previous_after: str | None
    pruned: tuple[str, ...]

    @property
    def needs_files(self) -> bool:
        """Whether the files themselves are needed, because they are missing or differ."""
        return not self.installed or bool(self.drift.content)

    @property
    def repaired(self) -> tuple[str, ...]:
        """What is wrong in the installed tree."""
        if not self.installed:
            return ()
        return tuple(sorted({*self.drift.content, *self.drift.extra, *self.drift.attributes}))

    def describe(self) -> tuple[str, str]:
        """The state before and after as the texts of a diff."""
        before = [f"current: {self.current}", f"previous: {self.previous}"]
        before += [f"older tree: {name}" for name in self.pruned]
        before += [f"changed on the node: {self.wanted.name}/{name}" for name in self.repaired]
        after = [f"current: {self.wanted.name}", f"previous: {self.previous_after}"]
        return "\n".join(before) + "\n", "\n".join(after) + "\n"


class Store:
    """The trees below *root*, owned by uid *owner*."""

    def __init__(self, root: str, package: str, owner: int) -> None:
        self.root = root
        self.package = package
        self.owner = owner
        self.current_link = os.path.join(root, CURRENT_TREE)
        self.previous_link = os.path.join(root, "previous")

    def plan(self, wanted: Installation, *, rollback: bool = False) -> Plan:
        """Compare what is on the node with *wanted*; changes nothing.

        An installation makes the tree before it ``previous`` and ends older ones. A rollback leaves both as
        they are, so that a second one changes nothing.
        """
        if not TREE.match(wanted.name):
            raise FileError(f"{wanted.version!r} is not a valid version", "it may hold letters, digits and . + ~ only")
        current, previous = _target(self.current_link), _target(self.previous_link)
        retained = previous if rollback or current in (None, wanted.name) else current
        if retained is not None and not os.path.isdir(self._path(retained)):
            retained = None
        pruned = tuple(name for name in self._trees() if not rollback and name not in (wanted.name, retained))
        installed = os.path.isdir(self._path(wanted.name))
        drift = self._audit(wanted) if installed else Drift()
        return Plan(wanted, installed, drift, current, previous, retained, pruned)

    def apply(self, plan: Plan, files: Mapping[str, bytes], check: Check) -> None:
        """Carry *plan* out; *files* count if ``plan.needs_files``. *check* sees a tree before anyone else."""
        name = plan.wanted.name
        if not plan.installed:
            self._install(plan.wanted, files, check)
        elif plan.drift:
            self._repair(plan, files, check)
        if plan.previous_after and plan.previous_after != plan.previous:
            _switch(self.previous_link, plan.previous_after)
        if plan.current != name:
            _switch(self.current_link, name)
        for old in plan.pruned:
            shutil.rmtree(self._path(old))

    def previous(self) -> Installation:
        """The installation to roll back to. Raises FileError if there is none, or it is damaged."""
        name = _target(self.previous_link)
        remedy = "install with state=present from a release of the collection that you trust"
        if name is None:
            raise FileError("there is no previous version on this node", remedy)
        path = os.path.join(self._path(name), MANIFEST)
        try:
            with open(path, encoding="utf-8") as stream:
                manifest = json.load(stream)
        except (OSError, ValueError) as error:
            raise FileError(f"cannot read {path} ({error})", remedy) from error
        wanted = Installation(name.rsplit("-", 1)[0], manifest)
        damaged = self._audit(wanted).content if wanted.name == name else (MANIFEST,)
        if damaged:
            raise FileError(f"the previous version {name} was changed on this node ({damaged[0]})", remedy)
        return wanted

    def contents(self) -> str:
        """What is in the store, as the text of a diff; empty if there is no store."""
        if not os.path.isdir(self.root):
            return ""
        links = [f"{link}: {_target(self._path(link))}" for link in (CURRENT_TREE, "previous")]
        return "\n".join(links + [f"tree: {name}" for name in self._trees()]) + "\n"

    def remove(self) -> None:
        """Remove every tree and the store itself. Raises FileError."""
        try:
            shutil.rmtree(self.root)
        except OSError as error:
            raise FileError(f"cannot remove {self.root} ({error.strerror})", "run with become") from error

    def _audit(self, wanted: Installation) -> Drift:
        with_manifest = {**wanted.manifest, **_manifest_entry(wanted)}
        return audit(self._path(wanted.name), with_manifest, self.owner)

    def _install(self, wanted: Installation, files: Mapping[str, bytes], check: Check) -> None:
        try:
            os.makedirs(self.root, DIRECTORY_MODE, exist_ok=True)
            directory = tempfile.mkdtemp(prefix=UNFINISHED, dir=self.root)
        except OSError as error:
            raise FileError(f"cannot write in {self.root} ({error.strerror})", "run with become") from error
        try:
            write_files(directory, {**files, MANIFEST: _manifest_text(wanted)})
            check(directory, self._path(wanted.name))
            repair_attributes(directory, self.owner)
            os.replace(directory, self._path(wanted.name))
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _repair(self, plan: Plan, files: Mapping[str, bytes], check: Check) -> None:
        """Repair in place, file by file: programs that run from this tree never see it missing."""
        directory = self._path(plan.wanted.name)
        complete = {**files, MANIFEST: _manifest_text(plan.wanted)}
        remove_extra(directory, plan.drift.extra)
        write_files(directory, {name: complete[name] for name in plan.drift.content})
        check(directory, directory)
        repair_attributes(directory, self.owner)

    def _trees(self) -> list[str]:
        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            return []
        return sorted(name for name in names if TREE.match(name) or name.startswith(UNFINISHED))

    def _path(self, name: str) -> str:
        return os.path.join(self.root, name)


def _manifest_text(wanted: Installation) -> bytes:
    return (json.dumps(dict(wanted.manifest), indent=0, sort_keys=True) + "\n").encode()


def _manifest_entry(wanted: Installation) -> dict[str, str]:
    return {MANIFEST: hashlib.sha256(_manifest_text(wanted)).hexdigest()}


def _target(link: str) -> str | None:
    """The tree a link names; None if there is no such link, or it leads to another place."""
    try:
        target = os.readlink(link)
    except OSError:
        return None
    return target if TREE.match(target) else None


def _switch(link: str, target: str) -> None:
    """Make *link* name *target*, in one step."""
    temporary = f"{link}.{os.getpid()}.tmp"
    try:
        os.symlink(target, temporary)
        os.replace(temporary, link)
    except OSError as error:
        raise FileError(f"cannot switch {link} ({error.strerror})", "move away what is there") from error
