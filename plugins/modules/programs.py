#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: programs
short_description: Install the programs that run in the pool as one versioned tree
version_added: 0.1.0
description:
  - Installs the collection's C(src/condor_vac) below C(/usr/local/lib/condor_vac), one directory per version
    and content, and switches the link C(current) to it in one step. Running programs keep the version they
    started with.
  - Installs the entry points that HTCondor, libvirt and people call (job hooks, XML script, lease helper,
    factory, command line).
  - The previous version stays installed, so that O(state=rollback) can return to it.
  - Refuses what HTCondor refuses at run time, a hook in a world-writable directory or on a file system
    mounted noexec, and what it does not notice, a directory that belongs to another user than root.
  - The programs are sent to the node only if they are not there yet; files changed on the node are repaired.
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
attributes:
  action:
    support: full
    description:
      - Has an action plugin, which reads the programs on the controller.
options:
  state:
    description:
      - V(present) installs the version of the collection on the controller and makes it current.
      - V(rollback) makes the previous version current; a later V(present) returns to the newer one.
      - V(absent) removes all versions and all entry points of all sets.
    type: str
    choices: [present, rollback, absent]
    default: present
  entry_points:
    description:
      - The sets of entry points to install. Entry points of other sets are left as they are.
      - V(worker) are C(vac_prepare_hook), C(vac_exit_hook), C(libvirt_cernvm_script), C(vac_lease) and
        C(vac_watch) in C(/usr/local/libexec), and libvirt's hook C(/etc/libvirt/hooks/qemu.d/condor_vac).
      - V(factory) is C(/usr/local/libexec/vac_factory), the scheduler-universe job's program.
      - V(cli) is the command C(/usr/local/bin/condor_vac), with links below C(/usr/local/share) to its man page and its
        completion for bash.
    type: list
    elements: str
    choices: [worker, factory, cli]
    default: [worker, cli]
  interpreter:
    description:
      - The node's Python, 3.9 or later, with which the entry points run.
    type: path
    default: /usr/bin/python3
  program:
    description:
      - What the controller has. The action plugin fills this in, tasks leave it out.
    type: dict
    suboptions:
      version:
        description: Version of the package.
        type: str
        required: true
      manifest:
        description: SHA-256 of each file of the package, by relative path.
        type: dict
        required: true
      archive:
        description: The files as a zip archive in base64, when the node lacks them.
        type: str
seealso:
  - module: vacuum.htcondor.condor_config
"""

EXAMPLES = r"""
- name: Install the worker node's programs
  vacuum.htcondor.programs:
    entry_points: [worker, cli]

- name: Install the factory's program on the access point
  vacuum.htcondor.programs:
    entry_points: [factory, cli]

- name: Return to the version before
  vacuum.htcondor.programs:
    state: rollback
"""

RETURN = r"""
version:
  description: Version of the package that is current, V(null) if there is none.
  type: str
  returned: success
  sample: 0.1.0
digest:
  description: SHA-256 of the current tree's manifest, V(null) if there is none.
  type: str
  returned: success
  sample: 5f0c3b1c0a1d7f3f6f2bb2ac0f4ce7ad9c3ed2ea21b4be8a3b3f2c2a4d1f6e90
tree:
  description: Directory of the current tree, below C(/usr/local/lib/condor_vac).
  type: str
  returned: success
  sample: 0.1.0-5f0c3b1c0a1d
previous:
  description: The tree that O(state=rollback) would make current, V(null) if there is none.
  type: str
  returned: success
  sample: 0.1.0-98d2f6d6c3aa
repaired:
  description: Files of an installed tree that had been changed on the node, or whose mode or owner had been.
  type: list
  elements: str
  returned: success
  sample: [condor_vac/worker/programs/prepare_hook.py]
pruned:
  description: Older trees that were removed.
  type: list
  elements: str
  returned: success
changed_entry_points:
  description: Paths of the entry points that were written or removed.
  type: list
  elements: str
  returned: success
  sample: [/usr/local/libexec/vac_prepare_hook]
archive_needed:
  description:
    - Whether the node lacks the programs and nothing was done yet; the action plugin answers by sending them.
  type: bool
  returned: success
"""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import FileError, ModuleError, run_module
from ansible_collections.vacuum.htcondor.plugins.module_utils._node.files import Change, link, remove, write
from ansible_collections.vacuum.htcondor.plugins.module_utils._programs import entry_points
from ansible_collections.vacuum.htcondor.plugins.module_utils._programs.store import Installation, Store
from ansible_collections.vacuum.htcondor.plugins.module_utils._programs.tree import Manifest, unpack
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import ENTRY_POINTS_RECORD, TREES

PACKAGE = "condor_vac"


class Programs:
    """The program trees and the entry points of one node; *root* is put before each path, uid *owner* has them."""

    def __init__(self, module: AnsibleModule, root: str = "", owner: int = 0) -> None:
        self.module = module
        self.root = root
        self.owner = owner
        self.params = module.params
        self.command = Command(module)
        self.store = Store(self.root + TREES, PACKAGE, self.owner)
        self.changes: list[Change] = []

    def run(self) -> dict[str, Any]:
        """Bring about the state; the result for exit_json."""
        os.umask(0o022)  # jobs' users read these programs, and only root writes them, whatever root's umask is
        if self.params["state"] == "absent":
            return self._absent()
        points = entry_points.select(self.params["entry_points"], self.root)
        self._refuse_unsafe_directories(points)
        rollback = self.params["state"] == "rollback"
        wanted = self.store.previous() if rollback else self._wanted()
        self._require_modules(points, wanted.manifest)
        plan = self.store.plan(wanted, rollback=rollback)
        files = self._files(wanted)
        if plan.needs_files and files is None and not self.module.check_mode:
            return {**self._result(wanted), "changed": False, "archive_needed": True, "diff": []}
        if not self.module.check_mode:
            self.store.apply(plan, files or {}, self._compile)
        interpreter, current = self.params["interpreter"], self.store.current_link
        for point in points:
            self._ensure_directory(os.path.dirname(point.path))
            self._note(point.script(interpreter, current), point.path)
        self._link_documents(wanted.manifest)
        self._record(points, interpreter)
        before, after = plan.describe()
        return {
            **self._result(wanted),
            "changed": before != after or any(change.changed for change in self.changes),
            "previous": plan.previous_after,
            "repaired": list(plan.repaired),
            "pruned": list(plan.pruned),
            "diff": self._diff(before, after),
        }

    def _wanted(self) -> Installation:
        program = self.params["program"]
        if not program:
            raise ModuleError(
                "the programs were not announced by the controller",
                "call the module as vacuum.htcondor.programs, so that its action plugin is found",
            )
        return Installation(program["version"], program["manifest"])

    def _files(self, wanted: Installation) -> dict[str, bytes] | None:
        program = self.params["program"] or {}
        if self.params["state"] != "present" or not program.get("archive"):
            return None
        try:
            data = base64.b64decode(program["archive"], validate=True)
        except binascii.Error as error:
            raise FileError(f"the program archive is damaged ({error})", "run the task again") from error
        return unpack(data, wanted.manifest)

    def _refuse_unsafe_directories(self, points: list[entry_points.EntryPoint]) -> None:
        trusted = frozenset({0, self.owner})
        for directory in sorted({os.path.dirname(point.path) for point in points} | {self.store.root}):
            entry_points.refuse_unsafe_directory(directory, trusted)

    def _require_modules(self, points: list[entry_points.EntryPoint], manifest: Manifest) -> None:
        for point in points:
            if not any(source in manifest for source in point.source(PACKAGE)):
                raise ModuleError(
                    f"{point.path} runs {point.module}, which the program tree does not have",
                    "use a complete release of the collection, or leave the set out of entry_points",
                )

    def _compile(self, directory: str, final: str) -> None:
        """Byte-compile a tree as root, because a job's user cannot, and find what this Python cannot run."""
        script = (
            "import compileall, sys; raise SystemExit('Python 3.9 or later is needed' if sys.version_info < (3, 9) "
            "else not compileall.compile_dir(sys.argv[1], ddir=sys.argv[2], quiet=1, force=True))"
        )
        self.command.run(
            [self.params["interpreter"], "-I", "-c", script, directory, final],
            remedy="set interpreter to a Python of 3.9 or later on the node",
            timeout=120,
        )

    def _ensure_directory(self, path: str) -> None:
        if not self.module.check_mode:
            os.makedirs(path, 0o755, exist_ok=True)

    def _note(self, text: str, path: str) -> None:
        owner = "root" if self.owner == 0 else None
        self.changes.append(write(self.module, path, text, mode=0o755, owner=owner, group=owner))

    def _link_documents(self, manifest: Manifest) -> None:
        """Lead the man page and the completion to the tree's. A tree of an earlier version, without them, has none."""
        for path, source in entry_points.documents(self.params["entry_points"], self.root).items():
            if f"{PACKAGE}/{source}" not in manifest:
                self.changes.append(remove(self.module, path))
                continue
            self._ensure_directory(os.path.dirname(path))
            self.changes.append(link(self.module, path, f"{self.store.current_link}/{PACKAGE}/{source}"))

    def _record(self, points: list[entry_points.EntryPoint], interpreter: str) -> None:
        """Leave on the node what each entry point is, for ``condor_vac doctor``; other sets' stay as they are."""
        path = self.root + ENTRY_POINTS_RECORD
        known = entry_points.paths()
        table = {name: value for name, value in _read_record(path).items() if name in known}
        for point in points:
            text = point.script(interpreter, self.store.current_link)
            table[point.path[len(self.root) :]] = hashlib.sha256(text.encode()).hexdigest()
        owner = "root" if self.owner == 0 else None
        text = json.dumps(table, indent=1, sort_keys=True) + "\n"
        self.changes.append(write(self.module, path, text, owner=owner, group=owner))

    def _absent(self) -> dict[str, Any]:
        for point in entry_points.select(sorted(entry_points.SETS), self.root):
            self.changes.append(remove(self.module, point.path))
        for path in entry_points.documents(entry_points.SETS, self.root):
            self.changes.append(remove(self.module, path))
        before = self.store.contents()
        if before and not self.module.check_mode:
            self.store.remove()
        return {
            **self._result(None),
            "changed": bool(before) or any(change.changed for change in self.changes),
            "diff": self._diff(before, ""),
        }

    def _result(self, wanted: Installation | None) -> dict[str, Any]:
        known = {self.root + path for path in entry_points.paths()}
        changed = [change for change in self.changes if change.changed and change.path in known]
        return {
            "version": wanted.version if wanted else None,
            "digest": wanted.digest if wanted else None,
            "tree": wanted.name if wanted else None,
            "previous": None,
            "repaired": [],
            "pruned": [],
            "changed_entry_points": [change.path[len(self.root) :] for change in changed],
            "archive_needed": False,
        }

    def _diff(self, before: str, after: str) -> list[dict[str, Any]]:
        header = {"before_header": self.store.root, "after_header": self.store.root}
        trees = [{**header, "before": before, "after": after}] if before != after else []
        return trees + [entry for change in self.changes if change.changed for entry in change.diff()]


def _read_record(path: str) -> dict[str, str]:
    """The record that is there; one that is damaged is written anew."""
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "rollback", "absent"], "default": "present"},
    "entry_points": {
        "type": "list",
        "elements": "str",
        "choices": ["worker", "factory", "cli"],
        "default": ["worker", "cli"],
    },
    "interpreter": {"type": "path", "default": "/usr/bin/python3"},
    "program": {
        "type": "dict",
        "options": {
            "version": {"type": "str", "required": True},
            "manifest": {"type": "dict", "required": True},
            # Not secret, but half a megabyte that belongs in no log.
            "archive": {"type": "str", "no_log": True},
        },
    },
}


def main(build: Callable[[AnsibleModule], Programs] = Programs) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
