# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of the module programs: announces the package, and sends it only to a node that lacks it."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import FileError
from ansible_collections.vacuum.htcondor.plugins.module_utils._programs.tree import (
    manifest_of,
    pack,
    read_files,
)

MODULE = "vacuum.htcondor.programs"
PACKAGE = "condor_vac"
SOURCE = Path(__file__).resolve().parent.parent.parent / "src" / PACKAGE
VERSION = re.compile(rb'^__version__ = "([^"]+)"$', re.MULTILINE)


def load(source: Path) -> tuple[str, dict[str, bytes]]:
    """Version and files of the package; names begin with the package's. Raises AnsibleActionFail."""
    try:
        files = {f"{PACKAGE}/{name}": content for name, content in read_files(str(source)).items()}
    except (FileError, OSError) as error:
        raise AnsibleActionFail(f"cannot read the programs to install: {error}") from error
    version = VERSION.search(files.get(f"{PACKAGE}/__init__.py", b""))
    if version is None:
        raise AnsibleActionFail(f"{source}/__init__.py has no __version__: reinstall the collection")
    return version.group(1).decode(), files


class ActionModule(ActionBase):  # type: ignore[misc]
    """One round trip to a node that has the programs, two to one that lacks them."""

    TRANSFERS_FILES = False
    source = SOURCE
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, and once more with the archive if it asks for it."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if "program" in arguments:
            raise AnsibleActionFail("program is filled in by the action plugin: leave it out of the task")
        files: dict[str, bytes] = {}
        if arguments.get("state", "present") == "present":
            version, files = load(self.source)
            arguments["program"] = {"version": version, "manifest": manifest_of(files)}
        result = self._call(arguments, task_vars)
        if result.get("archive_needed"):
            arguments["program"]["archive"] = base64.b64encode(pack(files)).decode("ascii")
            result = self._call(arguments, task_vars)
        return result

    def _call(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name=MODULE, module_args=arguments, task_vars=task_vars or {}
        )
        # The manifest is of use to the module only; in -vvv output it would bury the rest.
        result.get("invocation", {}).get("module_args", {}).pop("program", None)
        return result
