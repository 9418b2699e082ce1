# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of vm_image: finds an image on the controller, and sends it only to a node that lacks it."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import IMAGE_CHECKSUM
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import controller_files, http_proxy

MODULE = "vacuum.htcondor.vm_image"
_CHUNK = 1 << 20


def digest(path: str) -> str:
    """The SHA-256 digest of a file, in hex. Raises AnsibleActionFail."""
    found = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for piece in iter(lambda: stream.read(_CHUNK), b""):
                found.update(piece)
    except OSError as error:
        raise AnsibleActionFail(f"source: {path}: {error.strerror}; give a file on the controller") from error
    return found.hexdigest()


def _read(path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the module is to know of a controller's file. Raises AnsibleActionFail if it has another checksum."""
    sha256 = digest(path)
    asked = str(arguments.get("checksum") or "").lower()
    if asked and asked not in {sha256, f"sha256:{sha256}"}:
        raise AnsibleActionFail(f"source: {path}: SHA-256 is {sha256}, not {asked}; correct one of the two")
    return {"origin": path, "sha256": sha256}


def _copied(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same of a copy of what is at a URL; the node checks what arrives. Raises AnsibleActionFail."""
    found = re.fullmatch(IMAGE_CHECKSUM, str(arguments.get("checksum") or ""))
    if found is None or "://" not in str(arguments.get("source") or ""):
        raise AnsibleActionFail("local_copy: needs source, the URL of the image, and checksum, sha256:HEX; add them")
    return {"origin": str(arguments["source"]), "sha256": found[1].lower()}


class ActionModule(ActionBase):  # type: ignore[misc]
    """One round trip to a node that has the image, two and the file to one that lacks it."""

    # Most calls transfer nothing; a temporary directory for each would cost three round trips.
    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, and once more with the file if it asks for it."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if "controller_file" in arguments:
            raise AnsibleActionFail("controller_file is filled in by the action plugin: leave it out of the task")
        fault = http_proxy.fault(arguments.get("http_proxy"), arguments.get("no_proxy"), ("http_proxy", "no_proxy"))
        if fault:
            raise AnsibleActionFail(fault)
        if arguments.get("local_copy"):
            path = os.path.expanduser(str(arguments["local_copy"]))
            arguments["controller_file"] = _copied(arguments)
        else:
            found = self._controller_path(arguments, task_vars or {})
            if found is None:
                return self._call(arguments, task_vars)
            path = found
            arguments["controller_file"] = _read(path, arguments)
            arguments.setdefault("name", path.rsplit("/", 1)[-1])
        result = self._call(arguments, task_vars)
        if result.get("transfer_needed"):
            result = self._send(path, arguments, task_vars)
        return result

    def _controller_path(self, arguments: dict[str, Any], variables: dict[str, Any]) -> str | None:
        """The file on the controller that the task names, None if it names none."""
        source = arguments.get("source")
        present = arguments.get("state", "present") == "present"
        remote = str(arguments.get("remote_source", False)).lower() in {"true", "yes", "on", "1"}
        if not present or remote or not isinstance(source, str) or not source or "://" in source:
            return None
        try:
            return controller_files.find(source, variables)
        except controller_files.ControllerFileError as error:
            raise AnsibleActionFail(f"source: {error.message}") from error

    def _send(self, path: str, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        directory = self._make_tmp_path()
        try:
            there = self._connection._shell.join_path(directory, "image")
            self._transfer_file(path, there)
            self._fixup_perms2((directory, there))
            arguments["controller_file"]["path"] = there
            return self._call(arguments, task_vars)
        finally:
            self._remove_tmp_path(directory)

    def _call(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name=MODULE, module_args=arguments, task_vars=task_vars or {}
        )
        return result
