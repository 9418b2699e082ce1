# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection installed on the node: programs, entry points, files, settings, the watch."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator

from condor_vac.base import atomic
from condor_vac.base.errors import VacError
from condor_vac.base.findings import Finding
from condor_vac.base.shared import (
    CURRENT_TREE,
    ENTRY_POINTS_RECORD,
    FILES_RECORD,
    LIBVIRT_HOOK,
    MANIFEST,
    TREES,
    runs_since_before,
)
from condor_vac.worker import settings as settings_module
from condor_vac.worker.checks.node import CONVERGE, SETTINGS, Check, Node, replaceable, unit_findings

_CURRENT = f"{TREES}/{CURRENT_TREE}"
_FILE_LIMIT = 1 << 24
_SHOWN = 3


def entry_points(node: Node) -> list[Finding]:
    """Each hook and program is in place, is the installed one, and only root can change it."""
    table = node.table(ENTRY_POINTS_RECORD)
    if LIBVIRT_HOOK not in table:
        return [Finding(f"the worker node's programs are not installed ({ENTRY_POINTS_RECORD})", CONVERGE)]
    found = []
    for path, digest in sorted(table.items()):
        why = _wrong_program(node, path, digest)
        if why:
            found.append(Finding(why, CONVERGE))
    return found


def _wrong_program(node: Node, path: str, digest: str) -> str:
    real = node.path(path)
    if not os.path.lexists(real):
        return f"{path} is missing"
    if not stat.S_ISREG(os.lstat(real).st_mode):
        return f"{path} is not a plain file"
    why = replaceable(real, node.owner)
    if why:
        return f"{why}: HTCondor refuses the hook, and anybody could replace it"
    if not os.access(real, os.X_OK):
        return f"{path} is not executable"
    return "" if _digest(real) == digest else f"{path} was changed since it was installed"


def tree(node: Node) -> list[Finding]:
    """The installed tree of programs matches its manifest: no file was added or changed."""
    link = node.path(_CURRENT)
    if not os.path.isdir(link):
        return [Finding(f"{_CURRENT} leads to no directory: no programs are installed", CONVERGE)]
    top = os.path.realpath(link)
    manifest = node.table(f"{_CURRENT}/{MANIFEST}")
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    if not top.endswith(f"-{digest[:12]}"):
        return [Finding(f"{top}/{MANIFEST} was changed", CONVERGE)]
    wrong = [name for name, expected in manifest.items() if _digest(f"{top}/{name}") != expected]
    unsafe = []
    for path in _walk(top):
        name = os.path.relpath(path, top)
        status = os.lstat(path)
        mode = status.st_mode
        cached = "__pycache__" in name.split("/")
        if not stat.S_ISDIR(mode) and not cached and name not in manifest and name != MANIFEST:
            wrong.append(name)
        if status.st_uid not in {0, node.owner} or (not stat.S_ISLNK(mode) and mode & 0o022):
            unsafe.append(name)
    found = [Finding(f"changed since they were installed in {top}: {_some(wrong)}", CONVERGE)] if wrong else []
    return found + ([Finding(f"writable by others than root in {top}: {_some(unsafe)}", CONVERGE)] if unsafe else [])


def settings(node: Node) -> list[Finding]:
    """The settings can be read: a key that is wrong is named by the error that `Check.findings` reports."""
    settings_module.load(node.path(SETTINGS))
    return []


def files(node: Node) -> list[Finding]:
    """The files that the role wrote (settings, units, HTCondor's fragments) are as it wrote them."""
    record = node.table(FILES_RECORD)
    found = []
    for path, digest in sorted(record.items()):
        real = node.path(path)
        if not os.path.lexists(real) or not stat.S_ISREG(os.lstat(real).st_mode):
            found.append(Finding(f"{path} is missing", CONVERGE))
        elif _digest(real) != digest:
            found.append(Finding(f"{path} was changed since the role wrote it", CONVERGE))
        elif replaceable(real, node.owner):
            found.append(Finding(replaceable(real, node.owner), CONVERGE))
    if SETTINGS not in record:
        found.append(Finding(f"{FILES_RECORD} has no entry for {SETTINGS}", CONVERGE))
    return found


def loaded(node: Node) -> list[Finding]:
    """libvirt was started after our hook came: it looks for hooks only then (virHookInitialize, util/virhook.c)."""
    name = node.libvirt_unit
    if not runs_since_before(node.unit(name), node.path(LIBVIRT_HOOK)):
        return []
    what = f"{name} runs since before {LIBVIRT_HOOK} was written and may not call it: then nobody records how VMs end"
    return [Finding(what, f"systemctl restart {name} (running VMs continue)")]


def watch(node: Node) -> list[Finding]:
    """The watch's timer runs, and its last run found nothing that it could not do."""
    found = unit_findings(node, "vac_watch.timer")
    result = node.unit("vac_watch.service").get("Result", "success")
    if result != "success":
        found.append(Finding(f"vac_watch's last run ended with {result}", "see journalctl -u vac_watch"))
    return found


def _walk(top: str) -> Iterator[str]:
    yield top
    for base, names, leaves in os.walk(top):
        yield from (os.path.join(base, name) for name in sorted(names + leaves))


def _digest(path: str) -> str:
    """SHA-256 of a file; empty if it cannot be read."""
    try:
        return hashlib.sha256(atomic.read(path, _FILE_LIMIT)).hexdigest()
    except VacError:
        return ""


def _some(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


CHECKS = (
    Check("hooks", "programs", tree),
    Check("hooks", "hooks", entry_points),
    Check("hooks", "libvirt's hook", loaded),
    Check("hooks", "settings", settings),
    Check("hooks", "files", files),
    Check("hooks", "watch", watch),
)
