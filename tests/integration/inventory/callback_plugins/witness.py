# SPDX-License-Identifier: GPL-3.0-or-later
"""Records which task starts on which host, and what the check of the inventory found."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: witness
type: aggregate
short_description: record tasks and hosts
description:
  - Adds a line to the file WITNESS for each task that starts on a host, a JSON list of host and task, and one for the
    result of a check, a JSON object.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """One line of JSON for each event."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "witness"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A task starts on a host."""
        self._write([host.get_name(), task.get_name()])

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task ended well."""
        self._check(result)

    def v2_runner_on_failed(self, result: Any, **_more: Any) -> None:
        """A task failed."""
        self._check(result)

    def _check(self, result: Any) -> None:
        if "faults" in result._result:
            self._write({name: result._result[name] for name in ("faults", "hosts", "machinetypes")})

    def _write(self, what: object) -> None:
        with open(os.environ["WITNESS"], "a", encoding="utf-8") as stream:
            stream.write(f"{json.dumps(what)}\n")
