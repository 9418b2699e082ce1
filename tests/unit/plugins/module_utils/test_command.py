# SPDX-License-Identifier: GPL-3.0-or-later
"""Running tools: argv as given, the C locale, errors that name the command."""

from __future__ import annotations

import json
import sys
from typing import Any
from unittest import mock

import pytest
from ansible.module_utils import basic
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import CommandError, ToolMissing


@pytest.fixture
def command() -> Any:
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {}}).encode()
    with (
        mock.patch.object(basic, "_ANSIBLE_ARGS", arguments),
        mock.patch.object(basic, "_ANSIBLE_PROFILE", "legacy", create=True),
    ):
        yield Command(basic.AnsibleModule({}))


@pytest.mark.parametrize("word", ["$HOME", "~", "a b", "*", "; false", "`id`", "'", '"'])
def test_words_reach_the_program_as_they_are(command: Command, word: str) -> None:
    result = command.run([sys.executable, "-c", "import sys; print(sys.argv[1])", word])
    assert result.stdout == word + "\n"


def test_stdin_and_locale(command: Command) -> None:
    script = "import os, sys; print(os.environ['LC_ALL'], sys.stdin.read(), end='')"
    assert command.run([sys.executable, "-c", script], stdin="text").stdout == "C text"


@pytest.mark.parametrize(("code", "accepted"), [(3, (0, 3)), (1, None), (0, (0,))])
def test_accepted_exit_codes(command: Command, code: int, accepted: tuple[int, ...] | None) -> None:
    result = command.run([sys.executable, "-c", f"raise SystemExit({code})"], ok=accepted)
    assert result.rc == code
    assert result.ok == (code == 0)


def test_a_failure_carries_the_tools_words_and_the_remedy(command: Command) -> None:
    script = "import sys; print('no such\\n  thing', file=sys.stderr); sys.exit(7)"
    with pytest.raises(CommandError) as error:
        command.run([sys.executable, "-c", script], remedy="make it")
    result = error.value.result()
    assert "no such thing" in result["msg"]
    assert result["msg"].endswith(": make it")
    assert "\n" not in result["msg"]
    assert result["rc"] == 7


@pytest.mark.slow
def test_a_program_that_hangs_is_ended(command: Command) -> None:
    with pytest.raises(CommandError, match="did not end within 1 s"):
        command.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=1)


def test_a_missing_program(command: Command) -> None:
    with pytest.raises(ToolMissing, match="No such file"):
        command.run(["/nowhere/virsh", "list"])
    with pytest.raises(ToolMissing, match="virsh-of-nowhere is not installed"):
        command.require("virsh-of-nowhere", "install libvirt-clients")
