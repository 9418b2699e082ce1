#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A node's settings and units: all files in one go, on record, and the units that they are about."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_files
short_description: A node's settings and systemd units, all in one go
version_added: 0.1.0
description:
  - Makes directories, writes files, lets systemd read them if there are units among them, and enables and starts
    units. What would be a dozen tasks, each with its own round trips to the node, is one.
  - Keeps a record of the content of each file on the node, so that C(condor_vac doctor) sees what was changed
    by hand since.
  - Files and directories are root's. Each file is replaced by one rename.
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
options:
  directories:
    description: Absolute paths of directories that must be there, with mode C(0755).
    type: list
    elements: str
    default: []
  modes:
    description:
      - Mode, in octal like V("0751"), of each directory here that a package has made. Its owner stays.
      - In check mode a directory may still be absent.
    type: dict
    default: {}
  files:
    description:
      - Absolute path of each file, and its content, in the order in which they are written. Directories that are
        missing are made. The mode is C(0644).
      - What a new file below C(/etc/tmpfiles.d) describes is made before the next file is written.
    type: dict
    default: {}
  private_files:
    description:
      - Absolute path of each file that only root may read (mode C(0600)), and its content, which no diff, no log and
        no record shows. They are written before O(files).
    type: dict
    default: {}
  absent:
    description: Absolute paths of files that must not be there.
    type: list
    elements: str
    default: []
  validate:
    description:
      - For the path of a file, the command that must accept a new content before it replaces the old, as a list of
        words. V(%s) stands for the name of the file that holds the new content.
    type: dict
    default: {}
  elsewhere:
    description:
      - Files that other tasks write, and their content. They are only put on record.
    type: dict
    default: {}
  units:
    description: Systemd units that must be enabled and running.
    type: list
    elements: str
    default: []
  enabled_units:
    description: Systemd units that must be enabled, and that others start.
    type: list
    elements: str
    default: []
  restart:
    description:
      - For the name of a unit, the paths of files that it reads only when it starts. It is restarted after their
        change, and where it runs since before their last one, which an earlier run made that then stopped.
    type: dict
    default: {}
  stopped_units:
    description: Systemd units that must neither run nor start with the node. Those that are not there are well.
    type: list
    elements: str
    default: []
  record:
    description: The path of the record.
    type: path
    default: /etc/condor_vac/files.json
"""

EXAMPLES = r"""
- name: Write the settings and the watch's units, and run the watch
  vacuum.htcondor.node_files:
    files:
      /etc/condor_vac/worker.json: "{{ settings | to_nice_json }}"
      /etc/systemd/system/vac_watch.service: "{{ lookup('ansible.builtin.template', 'vac_watch.service.j2') }}"
      /etc/systemd/system/vac_watch.timer: "{{ lookup('ansible.builtin.template', 'vac_watch.timer.j2') }}"
    units: [vac_watch.timer]
"""

RETURN = r"""
files:
  description: Paths of the files that were written, the record among them, or removed.
  type: list
  elements: str
  returned: success
  sample: [/etc/condor_vac/worker.json]
actions:
  description: What was done, or would be done in check mode, to directories and units, in order.
  type: list
  elements: str
  returned: success
  sample: [daemon-reload, start vac_watch.timer]
"""

import functools
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import (
    FileError,
    InvalidContent,
    ModuleError,
    run_module,
)
from ansible_collections.vacuum.htcondor.plugins.module_utils._node.files import Change, Validator, remove, write
from ansible_collections.vacuum.htcondor.plugins.module_utils._node.systemd import Systemd
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import FILES_RECORD, runs_since_before

UNITS = "/etc/systemd/system/"
TMPFILES = "/etc/tmpfiles.d/"
DIRECTORY_MODE = 0o755


class NodeFiles:
    """The directories, files and units of one call.

    *root* is put before each path. Directories and files are *owner*'s (None: who runs this).
    """

    def __init__(self, module: AnsibleModule, root: str = "", owner: str | None = "root") -> None:
        self.module = module
        self.root = root
        self.owner = owner
        self.params = module.params
        self.files = {_absolute(path): _content(text) for path, text in module.params["files"].items()}
        self.private = {_absolute(path): _content(text) for path, text in module.params["private_files"].items()}
        self.elsewhere = {_absolute(path): _content(text) for path, text in module.params["elsewhere"].items()}
        self.command = Command(module)
        self.actions: list[str] = []
        self.diff: list[dict[str, str]] = []

    def run(self) -> dict[str, Any]:
        """Bring about the state. Raises ModuleError."""
        for path in self.params["directories"]:
            self._directory(self.root + _absolute(path))
        for path, mode in self.params["modes"].items():
            self._mode(self.root + _absolute(path), _octal(path, mode))
        record = self.params["record"]
        texts = {**self.files, record: self._record()}
        absent = [_absolute(path) for path in self.params["absent"]]
        # systemctl disables no unit whose file is gone.
        self._stop([name for name in self.params["stopped_units"] if UNITS + name in absent])
        changes = [remove(self.module, self.root + path) for path in absent]
        changes += [self._write_private(path, text) for path, text in self.private.items()]
        changes += [self._write(path, text) for path, text in texts.items()]
        changed = [change for change in changes if change.changed]
        self._units([change.path[len(self.root) :] for change in changed])
        return {
            "changed": bool(changed or self.actions),
            "files": [change.path[len(self.root) :] for change in changed],
            "actions": self.actions,
            "diff": [entry for change in changed for entry in change.diff()] + self.diff,
        }

    def _record(self) -> bytes:
        texts = {**self.files, **self.elsewhere}
        table = {path: hashlib.sha256(text).hexdigest() for path, text in texts.items()}
        return (json.dumps(table, indent=1, sort_keys=True) + "\n").encode()

    def _write_private(self, path: str, text: bytes) -> Change:
        self._parents(path)
        return write(self.module, self.root + path, text, mode=0o600, owner=self.owner, group=self.owner, hidden=True)

    def _parents(self, path: str) -> None:
        if not self.module.check_mode:
            os.makedirs(os.path.dirname(self.root + path), DIRECTORY_MODE, exist_ok=True)

    def _write(self, path: str, text: bytes) -> Change:
        self._parents(path)
        validate = self._validator(path)
        change = write(self.module, self.root + path, text, owner=self.owner, group=self.owner, validate=validate)
        if change.changed and path.startswith(TMPFILES):
            program = self.command.require("systemd-tmpfiles", "this module needs a node that systemd manages")
            create = functools.partial(self.command.run, [program, "--create", self.root + path])
            self._do(f"systemd-tmpfiles --create {path}", create)
        return change

    def _validator(self, path: str) -> Validator | None:
        """How a new content of the file is tried; not at all in check mode where its program is still to come."""
        words = [str(word) for word in self.params["validate"].get(path, [])]
        if not words or (self.module.check_mode and self.command.find(words[0]) is None):
            return None

        def validate(name: str) -> None:
            program = self.command.require(words[0], "install its package first")
            result = self.command.run([program, *(word.replace("%s", name) for word in words[1:])], ok=None)
            if not result.ok:
                reason = result.complaint().replace(name, path)
                raise InvalidContent(f"{words[0]} refuses {path}: {reason}", "nothing was replaced")

        return validate

    def _directory(self, path: str) -> None:
        """Raises FileError where something else is in the way."""
        try:
            status = os.stat(path)
        except FileNotFoundError:
            self._do(f"create {path}", lambda: os.makedirs(path, DIRECTORY_MODE))
            return
        if not stat.S_ISDIR(status.st_mode):
            raise FileError(f"{path} is not a directory", "move it away")
        owner = 0 if self.owner else status.st_uid
        if stat.S_IMODE(status.st_mode) != DIRECTORY_MODE or status.st_uid != owner:
            self._do(f"chmod 0755 {path}", lambda: os.chmod(path, DIRECTORY_MODE))
            self._unless_check(lambda: os.chown(path, owner, owner if self.owner else -1))

    def _mode(self, path: str, mode: int) -> None:
        """Raises FileError where there is no such directory."""
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            if self.module.check_mode:
                return
            raise FileError(f"{path} does not exist", "install the package that makes it") from None
        if not stat.S_ISDIR(status.st_mode):
            raise FileError(f"{path} is not a directory", "move it away")
        if stat.S_IMODE(status.st_mode) != mode:
            self._do(f"chmod {mode:04o} {path}", lambda: os.chmod(path, mode))

    def _units(self, changed: list[str]) -> None:
        """Let systemd read what is new, then bring the units into their states. Raises CommandError, ModuleError."""
        running, enabled, stopped = (self.params[name] for name in ("units", "enabled_units", "stopped_units"))
        reload = any(path.startswith(UNITS) for path in changed)
        if not [*running, *enabled, *stopped] and not reload:
            return
        systemd = Systemd(self.command)
        if reload:
            self._do("daemon-reload", systemd.reload)
        self._stop(stopped)
        states = {name: self._state(systemd, name) for name in [*running, *enabled]}
        # In one go: systemd reads every unit of the node again after each call.
        off = [name for name, state in states.items() if not systemd.is_enabled(state)]
        if off:
            self._do(f"enable {' '.join(off)}", functools.partial(systemd.enable, *off))
        for name in running:
            # What was done may have started it: a service starts its sockets.
            state = systemd.show(name) if self.actions else states[name]
            active = state.get("ActiveState") == "active"
            if not active or self._is_behind(name, state, changed):
                verb = "restart" if active else "start"
                self._do(f"{verb} {name}", functools.partial(systemd.restart, name))

    def _stop(self, names: list[str]) -> None:
        if not names:
            return
        systemd = Systemd(self.command)
        for name in names:
            state = systemd.show(name)
            if systemd.is_enabled(state) or state.get("ActiveState") == "active":
                self._do(f"stop and disable {name}", functools.partial(systemd.disable_now, name))

    def _is_behind(self, name: str, state: dict[str, str], changed: list[str]) -> bool:
        """Whether a unit of which `Systemd.show` answered *state* has not read one of its files."""
        return any(
            path in changed or runs_since_before(state, self.root + path)
            for path in self.params["restart"].get(name, [])
        )

    def _state(self, systemd: Systemd, name: str) -> dict[str, str]:
        """What systemd knows of a unit. Raises ModuleError if that is nothing, but in check mode."""
        state = systemd.show(name)
        if state.get("LoadState") != "loaded" and not self.module.check_mode:
            load = state.get("LoadState", "unknown to systemd")
            remedies = {"masked": f"systemctl unmask {name}", "not-found": "install its package"}
            wrong = f"correct its file or drop-ins (systemctl cat {name}), then run systemctl daemon-reload"
            raise ModuleError(f"{name} is {load}", remedies.get(load, wrong))
        return state

    def _do(self, text: str, action: Callable[[], object]) -> None:
        self.actions.append(text)
        self.diff.append({"before_header": text, "after_header": text, "before": "", "after": f"{text}\n"})
        self._unless_check(action)

    def _unless_check(self, action: Callable[[], object]) -> None:
        if not self.module.check_mode:
            action()


def _absolute(path: str) -> str:
    if not path.startswith("/") or os.path.normpath(path) != path:
        raise ModuleError(f"{path!r} is not an absolute path", "write it like /etc/condor_vac/worker.json")
    return path


def _octal(path: str, text: Any) -> int:
    if not isinstance(text, str) or re.fullmatch("0?[0-7]{3}", text) is None:
        raise ModuleError(f"modes: {path}: {text!r} is not an octal mode", 'write it like "0751"')
    return int(text, 8)


def _content(value: Any) -> bytes:
    """The text as bytes that end in a newline, as `condor_config` writes them too."""
    text = str(value)
    return (text if text.endswith("\n") else text + "\n").encode()


ARGUMENTS: dict[str, Any] = {
    "directories": {"type": "list", "elements": "str", "default": []},
    "modes": {"type": "dict", "default": {}},
    "files": {"type": "dict", "default": {}},
    "elsewhere": {"type": "dict", "default": {}},
    "units": {"type": "list", "elements": "str", "default": []},
    "enabled_units": {"type": "list", "elements": "str", "default": []},
    "stopped_units": {"type": "list", "elements": "str", "default": []},
    "private_files": {"type": "dict", "default": {}, "no_log": True},
    "absent": {"type": "list", "elements": "str", "default": []},
    "validate": {"type": "dict", "default": {}},
    "restart": {"type": "dict", "default": {}},
    "record": {"type": "path", "default": FILES_RECORD},
}


def main(build: Callable[[AnsibleModule], NodeFiles] = NodeFiles) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
