# SPDX-License-Identifier: GPL-3.0-or-later
"""Records the files from which a run's playbooks, tasks and modules came, for the scenario's test_artifact.py."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.plugins.loader import module_loader

DOCUMENTATION = """
name: origins
type: aggregate
short_description: record where playbooks, tasks and modules come from
description:
  - At the end of a run adds a line to origins.jsonl in molecule's directory of the scenario, a JSON object with the
    name of the C(playbook) and its C(files).
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """One line of JSON for each run of ansible-playbook."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "origins"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.playbook = ""
        self.files: set[str] = set()

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Remember the playbook's name."""
        self.playbook = os.path.basename(playbook._file_name)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Remember the file of the play."""
        self.files.add(play.get_path().rpartition(":")[0])

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002
        """Remember the file of the task, and that of its module."""
        self.files.add(task.get_path().rpartition(":")[0])
        if module := module_loader.find_plugin(task.resolved_action or task.action):
            self.files.add(module)

    def v2_playbook_on_stats(self, stats: Any) -> None:  # noqa: ARG002
        """Write the line."""
        line = json.dumps({"playbook": self.playbook, "files": sorted(self.files)})
        path = os.path.join(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "origins.jsonl")
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")
