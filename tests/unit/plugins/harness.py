# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module in this process, on every ansible-core the collection supports, with recorded tools."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any
from unittest import mock

from ansible.module_utils import basic

# What a program answers: (exit code, stdout, stderr).
Answer = tuple[int, str, str]


class ModuleExit(Exception):
    """Carries what a module printed as its result."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result.get("msg", ""))
        self.result = result


class Tools:
    """Stands in for the node's programs: *answer* gets argv and stdin, and the calls are remembered."""

    def __init__(self, answer: Callable[[list[str], str | None], Answer], missing: Sequence[str] = ()) -> None:
        self.answer = answer
        self.missing = set(missing)
        self.calls: list[list[str]] = []

    def run_command(self, argv: list[str], data: str | None = None, **_options: Any) -> Answer:
        """Replaces AnsibleModule.run_command; the wrapper that limits the time is taken off."""
        words = list(argv[3:]) if argv[0] == "timeout" else list(argv)
        if words[0].rsplit("/", 1)[-1] in self.missing:
            raise FileNotFoundError(2, "No such file or directory")
        self.calls.append(words)
        return self.answer(words, data)

    def get_bin_path(self, name: str, required: bool = False, **_options: Any) -> str | None:
        """Replaces AnsibleModule.get_bin_path: everything is in /usr/bin but what is missing."""
        assert not required
        return None if name in self.missing else f"/usr/bin/{name}"


def no_tools(argv: list[str], _stdin: str | None) -> Answer:
    """For modules that run nothing in a test."""
    raise AssertionError(f"unexpected command {argv}")


class Plugin:
    """A module that is built with other arguments than on a node: another root directory, no pauses."""

    def __init__(self, module: ModuleType, **arguments: Any) -> None:
        self.module = module
        self.arguments = arguments

    def main(self) -> None:
        """Stands in for the module's main()."""
        build = inspect.signature(self.module.main).parameters["build"].default
        self.module.main(functools.partial(build, **self.arguments))


def run(
    plugin: ModuleType | Plugin, arguments: dict[str, Any], *, check: bool = False, tools: Tools | None = None
) -> dict[str, Any]:
    """The result of one call of *plugin*'s main(); a failed task has ``failed`` true."""
    tools = tools or Tools(no_tools)
    given = {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}

    def end(_module: Any, **result: Any) -> None:
        raise ModuleExit(json.loads(json.dumps(result)))

    def fail(_module: Any, msg: str, **result: Any) -> None:
        raise ModuleExit(json.loads(json.dumps({**result, "msg": msg, "failed": True})))

    def run_command(_module: Any, argv: list[str], **options: Any) -> Answer:
        return tools.run_command(argv, **options)

    def get_bin_path(_module: Any, name: str, **options: Any) -> str | None:
        return tools.get_bin_path(name, **options)

    raw = json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(basic, "_ANSIBLE_ARGS", raw))
        stack.enter_context(mock.patch.object(basic, "_ANSIBLE_PROFILE", "legacy", create=True))
        for function in (run_command, get_bin_path):
            stack.enter_context(mock.patch.object(basic.AnsibleModule, function.__name__, function))
        stack.enter_context(mock.patch.object(basic.AnsibleModule, "exit_json", end))
        stack.enter_context(mock.patch.object(basic.AnsibleModule, "fail_json", fail))
        try:
            plugin.main()
        except ModuleExit as done:
            return done.result
    raise AssertionError("the module ended without a result")


def four_calls(
    plugin: ModuleType | Plugin, arguments: dict[str, Any], tools: Tools | None = None
) -> list[dict[str, Any]]:
    """Check, apply, check, apply: asserts changed, changed, unchanged, unchanged and returns the results."""
    results = [run(plugin, arguments, check=check, tools=tools) for check in (True, False, True, False)]
    assert [result.get("msg") for result in results if result.get("failed")] == []
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["diff"] == results[1]["diff"], "check mode must predict what applying does"
    return results
