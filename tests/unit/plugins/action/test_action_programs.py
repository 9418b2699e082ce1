# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller side of the module programs: how often it calls the node, and with what."""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.vacuum.htcondor.plugins.action import programs
from ansible_collections.vacuum.htcondor.plugins.module_utils._programs import tree as program_tree


class Node(programs.ActionModule):
    """The action plugin with a node that answers from a list."""

    def __init__(
        self, arguments: dict[str, Any], answers: list[dict[str, Any]], source: Path = programs.SOURCE
    ) -> None:
        self.source = source
        self._task = SimpleNamespace(args=arguments, async_val=0, diff=False, check_mode=False)
        self.answers = answers
        self.calls: list[dict[str, Any]] = []

    def _execute_module(self, **call: Any) -> dict[str, Any]:
        self.calls.append(copy.deepcopy(call["module_args"]))
        return self.answers.pop(0)


@pytest.fixture(autouse=True)
def no_base_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs.ActionBase, "run", lambda *_args: {})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "__init__.py").write_text('"""Doc."""\n\n__version__ = "3.1.4"\n')
    (tmp_path / "lease.py").write_text("x = 2\n")
    return tmp_path


def test_a_node_that_has_the_programs_is_asked_once(source: Path) -> None:
    node = Node({"entry_points": ["cli"]}, [{"changed": False, "archive_needed": False}], source)
    assert node.run() == {"changed": False, "archive_needed": False}
    (call,) = node.calls
    assert call["program"]["version"] == "3.1.4"
    assert set(call["program"]["manifest"]) == {"condor_vac/__init__.py", "condor_vac/lease.py"}
    assert "archive" not in call["program"]


def test_a_node_that_lacks_them_is_sent_exactly_what_was_announced(source: Path) -> None:
    node = Node({}, [{"archive_needed": True}, {"changed": True, "archive_needed": False}], source)
    assert node.run()["changed"]
    first, second = node.calls
    assert second["program"]["manifest"] == first["program"]["manifest"]
    files = program_tree.unpack(base64.b64decode(second["program"]["archive"]), second["program"]["manifest"])
    assert files["condor_vac/lease.py"] == b"x = 2\n"


@pytest.mark.parametrize("state", ["rollback", "absent"])
def test_other_states_send_no_program(state: str) -> None:
    node = Node({"state": state}, [{"changed": True}])
    node.run()
    assert node.calls == [{"state": state}]


def test_the_manifest_is_not_in_verbose_output(source: Path) -> None:
    invocation = {"module_args": {"state": "present", "program": {"manifest": {}}}}
    node = Node({}, [{"changed": False, "invocation": invocation}], source)
    assert node.run()["invocation"] == {"module_args": {"state": "present"}}


def test_a_task_cannot_announce_a_program_of_its_own() -> None:
    with pytest.raises(AnsibleActionFail, match="leave it out"):
        Node({"program": {"version": "9"}}, []).run()


def test_a_package_without_version_is_refused(source: Path) -> None:
    (source / "__init__.py").write_text("")
    with pytest.raises(AnsibleActionFail, match="no __version__"):
        Node({}, [], source).run()


def test_the_collection_carries_its_own_programs() -> None:
    assert programs.SOURCE.name == "condor_vac"
    version, files = programs.load(programs.SOURCE)
    assert version
    assert "condor_vac/cli/dispatch.py" in files
    assert not [name for name in files if "__pycache__" in name]
