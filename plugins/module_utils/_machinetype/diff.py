# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Diffs of machinetype files that show every key but no value of an option, which may be a secret."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.vacuum.htcondor.plugins.module_utils._node.files import Change

SECRET_KEYS = ("user_data_options",)


def entries(change: Change) -> list[dict[str, Any]]:
    """Entries for the result's ``diff``; of files that are hidden only that they changed."""
    if not change.path.endswith(".json"):
        return change.diff()
    before, after = _parsed(change.before.content), _parsed(change.after.content)
    found = change.diff()
    found[0]["before"], found[0]["after"] = _shown(before, {}), _shown(after, before or {})
    return found


def _parsed(content: bytes | None) -> dict[str, Any] | None:
    if content is None:
        return None
    try:
        parsed = json.loads(content)
        # What is read may still be too deep to be written.
        json.dumps(parsed, indent=1)
    except (ValueError, RecursionError):
        return {"(not JSON)": True}
    return parsed if isinstance(parsed, dict) else {"(not a JSON object)": True}


def _shown(document: dict[str, Any] | None, before: dict[str, Any]) -> str:
    if document is None:
        return ""
    shown = dict(document)
    for key in SECRET_KEYS:
        if isinstance(shown.get(key), dict):
            old = before.get(key) if isinstance(before.get(key), dict) else {}
            shown[key] = {name: _hidden(name, value, old or {}) for name, value in shown[key].items()}
    return json.dumps(shown, indent=1, sort_keys=True) + "\n"


def _hidden(name: str, value: object, old: dict[str, Any]) -> str:
    return "(hidden, changed)" if name in old and old[name] != value else "(hidden)"
