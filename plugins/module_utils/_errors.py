# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The errors that this collection's modules raise, and the one place where they become a failed task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import one_line


class ModuleError(Exception):
    """Something the administrator has to know: what is wrong, and what to do about it.

    ``facts`` are further keys of the failed task's result (for example ``conflicts``).
    """

    def __init__(self, message: str, remedy: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.facts = facts

    def result(self) -> dict[str, Any]:
        """The arguments of ``fail_json``: ``msg`` is the message and the remedy in one line."""
        text = self.message if not self.remedy else f"{self.message}: {self.remedy}"
        return {**self.facts, "msg": one_line(text), "remedy": self.remedy}


class ToolMissing(ModuleError):
    """A program that the desired state needs is not installed."""


class CommandError(ModuleError):
    """A program ended with an exit code that means failure, or did not end in time."""


class FileError(ModuleError):
    """A file cannot be read, written or is not what it has to be."""


class InvalidContent(FileError):
    """The tool that reads a file refused its new content; nothing was replaced."""


def run_module(module: AnsibleModule, action: Callable[[], dict[str, Any]]) -> None:
    """Run *action* and end the module with its result, or with the error it raised."""
    try:
        result = action()
    except ModuleError as error:
        module.fail_json(**error.result())
    module.exit_json(**result)
