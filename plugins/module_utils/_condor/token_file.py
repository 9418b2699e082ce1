# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One machine's token in HTCondor's directory of tokens: where it is, its claims, and whether it is usable."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import tokens
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import Condor
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import InvalidContent, ModuleError
from ansible_collections.vacuum.htcondor.plugins.module_utils._node.files import read_state

# Of every module that compares a machine's token with what it has to be; plugins/doc_fragments/token.py describes them.
ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "default": "vacuum-pool"},
    "identity": {"type": "str", "required": True},
    "issuer": {"type": "str"},
    "authorizations": {"type": "list", "elements": "str", "choices": tokens.AUTHORIZATIONS, "default": []},
    "lifetime": {"type": "int", "default": 31536000},
    "renew_before": {"type": "int", "default": 2592000},
    "issued_after": {"type": "int", "default": 0},
}


@dataclass(frozen=True)
class Found:
    """A token as it is: ``claims`` is None if there is none, ``reason`` why it does not serve, empty if it does."""

    path: str
    claims: tokens.Claims | None
    reason: str

    def result(self, after: tokens.Claims | None = None) -> dict[str, Any]:
        """The part of a module's result that is about the token; *after* is the one that replaced it."""
        there = after or self.claims
        return {
            "needed": bool(self.reason),
            "reason": self.reason,
            "path": self.path,
            "expires": there.expires if there else 0,
            "id": there.id if there else "",
        }

    def diff(self, wanted: tokens.Wanted) -> dict[str, str]:
        """The claims before and after, never the token."""
        before = ""
        if self.claims:
            before = _lines(self.claims.identity, self.claims.authorizations, f"expires: {self.claims.expires}")
        after = _lines(wanted.identity, wanted.authorizations, f"valid for: {wanted.lifetime} s")
        header = {"before_header": self.path, "after_header": self.path}
        return {**header, "before": before, "after": after if self.reason else before}


def look(module: AnsibleModule, condor: Condor, wanted: tokens.Wanted) -> Found:
    """The machine's token, compared with *wanted*.

    In check mode a machine without HTCondor needs a token. Raises ModuleError, ToolMissing.
    """
    if module.check_mode and not condor.installed:
        module.warn("HTCondor is not installed on this machine yet")
        return Found("", None, "HTCondor is not installed")
    path = os.path.join(condor.path("SEC_TOKEN_SYSTEM_DIRECTORY"), _name(str(module.params["name"])))
    claims, reason = _examine(path, wanted, int(time.time()))
    return Found(path, claims, reason)


def _examine(path: str, wanted: tokens.Wanted, now: int) -> tuple[tokens.Claims | None, str]:
    state = read_state(path)
    if state.content is None:
        return None, "there is a symbolic link" if state.exists else "there is none"
    try:
        claims = tokens.read(state.content.decode("ascii", "replace"), path)
    except InvalidContent as error:
        return None, error.message
    secure = (state.mode, state.uid, state.gid) == (0o600, os.geteuid(), os.getegid())
    return claims, wanted.fault(claims, now) or ("" if secure else "others than root can read or replace it")


def _name(name: str) -> str:
    if "/" in name or name.startswith(".") or name.endswith("~") or not name:
        raise ModuleError(f"name: HTCondor reads no token from a file named {name!r}", "name it like vacuum-pool")
    return name


def _lines(identity: str, authorizations: tuple[str, ...], end: str) -> str:
    return f"identity: {identity}\nauthorizations: {' '.join(authorizations) or '(unlimited)'}\n{end}\n"
