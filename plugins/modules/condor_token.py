#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: condor_token
short_description: Mint HTCondor's IDTOKENS on the central manager, and keep each machine's token valid
version_added: 0.1.0
description:
  - With IDTOKENS, the daemons of one machine prove to those of another who they are. Whoever has the signing key can
    mint tokens for everybody, therefore it stays on the central manager, and the other machines get tokens that
    are limited to what their part of the pool needs.
  - A play does it in four tasks, of which an unchanged machine sees only one. O(state=key) and O(state=minted) run
    once, on the central manager. O(state=checked) and O(state=present) run on each machine, the last only where a
    token is missing, wrong, or ends soon. One task mints for all machines.
  - Tokens are in nothing that this module returns or shows, but in RV(tokens), which is why a task with
    O(state=minted) needs C(no_log=true).
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
attributes:
  idempotent:
    support: partial
    details:
      - Not for O(state=minted), which mints what it is asked for each time.
options:
  state:
    description:
      - V(key) makes sure that this machine has a signing key. An existing key is never replaced.
      - V(checked) changes nothing and tells in RV(needed) whether the machine needs a new token, and in RV(reason) why.
      - V(minted) signs one token for each of O(requests), and returns them.
      - V(present) keeps O(token) in HTCondor's directory of tokens, owned by root, mode 0600. Running daemons
        take it up at the next M(vacuum.htcondor.condor_daemons) with
        O(vacuum.htcondor.condor_daemons#module:state=applied).
    type: str
    choices: [key, checked, minted, present]
    default: present
  name:
    description:
      - Name of the file in the directory of tokens.
    type: str
    default: vacuum-pool
  host:
    description:
      - For whom V(checked) asks a token; the key of RV(tokens) under which it is to be found.
    type: str
    default: localhost
  identity:
    description:
      - Who the machine's daemons are to the rest of the pool. Required for V(checked) and V(present).
    type: str
  issuer:
    description:
      - The C(TRUST_DOMAIN) of the central manager. The domain of O(identity) by default.
    type: str
  authorizations:
    description:
      - What the token is good for. An empty list does not limit it.
    type: list
    elements: str
    choices: [READ, WRITE, NEGOTIATOR, ADMINISTRATOR, CONFIG, DAEMON, ADVERTISE_MASTER, ADVERTISE_SCHEDD,
      ADVERTISE_STARTD]
    default: []
  lifetime:
    description:
      - How long a token is valid, in seconds, more than 0.
    type: int
    default: 31536000
  renew_before:
    description:
      - A token that ends within so many seconds is to be renewed.
    type: int
    default: 2592000
  issued_after:
    description:
      - Seconds since 1970. An older token is to be renewed, because it was signed by another key. Take RV(key_since).
    type: int
    default: 0
  requests:
    description:
      - What V(minted) mints. Take RV(request) of each machine.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Key of the token in RV(tokens).
        type: str
        required: true
      identity:
        description: See O(identity).
        type: str
        required: true
      authorizations:
        description: See O(authorizations).
        type: list
        elements: str
        choices: [READ, WRITE, NEGOTIATOR, ADMINISTRATOR, CONFIG, DAEMON, ADVERTISE_MASTER, ADVERTISE_SCHEDD,
          ADVERTISE_STARTD]
        default: []
      lifetime:
        description: See O(lifetime).
        type: int
        required: true
  token:
    description:
      - The token to keep, one of RV(tokens). Only check mode can do without, where the machine needs one.
    type: str
seealso:
  - module: vacuum.htcondor.condor_daemons
"""

EXAMPLES = r"""
- name: Keep the key that signs tokens, on the central manager only
  vacuum.htcondor.condor_token:
    state: key
  register: key
  run_once: true
  delegate_to: cm.example.org

- name: Look at this machine's token
  vacuum.htcondor.condor_token:
    state: checked
    host: "{{ inventory_hostname }}"
    identity: condor@cm.example.org
    authorizations: [READ, ADVERTISE_MASTER, ADVERTISE_STARTD]
    issued_after: "{{ key.key_since }}"
  register: token

- name: Mint what is missing or ends soon
  vacuum.htcondor.condor_token:
    state: minted
    requests: >-
      {{ ansible_play_batch | map('extract', hostvars, 'token') | selectattr('needed') | map(attribute='request') }}
  register: minted
  run_once: true
  delegate_to: cm.example.org
  no_log: true

- name: Give this machine its token
  vacuum.htcondor.condor_token:
    state: present
    identity: condor@cm.example.org
    authorizations: [READ, ADVERTISE_MASTER, ADVERTISE_STARTD]
    token: "{{ minted.tokens[inventory_hostname] | default(omit) }}"
  when: token.needed
"""

RETURN = r"""
key_since:
  description: When the signing key was made, in seconds since 1970.
  type: int
  returned: when O(state=key)
  sample: 1795629717
needed:
  description: Whether the machine needs a new token.
  type: bool
  returned: when O(state=checked) or O(state=present)
reason:
  description: Why it needs one; empty if it does not.
  type: str
  returned: when O(state=checked) or O(state=present)
  sample: it expires within 2592000 s
request:
  description: What to ask V(minted) for.
  type: dict
  returned: when O(state=checked)
  sample: {"host": "node1", "identity": "condor@cm.example.org", "authorizations": ["READ"], "lifetime": 31536000}
path:
  description: Where the token or the key is.
  type: str
  returned: when O(state) is not V(minted)
  sample: /etc/condor/tokens.d/vacuum-pool
expires:
  description: When the token that is there ends, in seconds since 1970; 0 if there is none.
  type: int
  returned: when O(state=checked) or O(state=present)
  sample: 1827165717
id:
  description: Id (C(jti)) of the token that is there, by which it can be revoked.
  type: str
  returned: when O(state=checked) or O(state=present)
  sample: 7aac566e1ac0242e195a9669fdca34b6
tokens:
  description: The tokens, secret, by the C(host) of RV(request). Empty in check mode.
  type: dict
  returned: when O(state=minted)
"""

import base64
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import pending as condor_pending
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import tokens
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.pending import Pending
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import Condor
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import (
    CommandError,
    FileError,
    InvalidContent,
    ModuleError,
    run_module,
)
from ansible_collections.vacuum.htcondor.plugins.module_utils._node.files import read_state, write

OWNER = "root"
KEY_BYTES = 64


class CondorToken:
    """One machine's token, or the key that signs all of them."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params = module.params
        self.condor = Condor(module)

    def run(self) -> dict[str, Any]:
        """Bring about the state; the result for exit_json."""
        if self.params["state"] == "key":
            return self._key()
        if self.params["state"] == "minted":
            return self._minted()
        return self._token()

    def _key(self) -> dict[str, Any]:
        if self.module.check_mode and not self.condor.installed:
            self.module.warn("HTCondor is not installed on this machine yet")
            return self._key_result("", int(time.time()), True)
        path = self._setting("SEC_TOKEN_POOL_SIGNING_KEY_FILE")
        state = read_state(path)
        if state.exists and not state.content:
            raise FileError(f"the signing key {path} is empty or no regular file", "remove it, a new one is then made")
        if not state.exists and not self.module.check_mode:
            self._make_key(path)
        since = int(os.stat(path).st_mtime) if os.path.exists(path) else int(time.time())
        return self._key_result(path, since, not state.exists)

    def _key_result(self, path: str, since: int, made: bool) -> dict[str, Any]:
        diff = {
            "before": "signing key: none\n" if made else "signing key: present\n",
            "after": "signing key: present\n",
        }
        return {"changed": made, "path": path, "key_since": since, "diff": diff}

    def _make_key(self, path: str) -> None:
        """Let HTCondor write the key, in its own format; a text has no zero bytes, which some versions stop at."""
        self._directory(os.path.dirname(path))
        text = base64.b64encode(os.urandom(KEY_BYTES)).decode()
        self.condor.tool("condor_store_cred", "add", "-c", "-i", "-", "-f", path, stdin=text)
        if not read_state(path).content:
            raise FileError(f"condor_store_cred wrote no key to {path}", "look whether the directory can be written")

    def _minted(self) -> dict[str, Any]:
        requests = self.params["requests"]
        for request in requests:
            tokens.check_request(request["identity"], request["lifetime"])
        minted = {} if self.module.check_mode else {request["host"]: self._mint(request) for request in requests}
        return {"changed": bool(requests), "tokens": minted}

    def _mint(self, request: dict[str, Any]) -> str:
        limits = [word for name in sorted(set(request["authorizations"])) for word in ("-authz", name)]
        arguments = ["-identity", request["identity"], *limits, "-lifetime", str(request["lifetime"])]
        try:
            token = str(self.condor.tool("condor_token_create", *arguments).stdout).strip()
        except CommandError as error:
            raise ModuleError(
                f"no token for {request['host']}: {error.message}",
                "mint on the central manager, as root, after a task with state=key",
            ) from error
        claims = tokens.read(token, "condor_token_create's answer")
        if claims.identity != request["identity"]:
            raise ModuleError(f"HTCondor signed a token for {claims.identity}, not {request['identity']}")
        return token

    def _token(self) -> dict[str, Any]:
        wanted = tokens.wanted(self.params)
        if self.module.check_mode and not self.condor.installed:
            self.module.warn("HTCondor is not installed on this machine yet")
            return self._result(wanted, "", None, "HTCondor is not installed")
        path = os.path.join(self._setting("SEC_TOKEN_SYSTEM_DIRECTORY"), self._name())
        now = int(time.time())
        before, reason = self._examine(path, wanted, now)
        if self.params["state"] == "checked":
            return {**self._result(wanted, path, before, reason), "changed": False, "request": self._request(wanted)}
        if not reason:
            return self._result(wanted, path, before, reason)
        if self.params["token"] is None:
            if not self.module.check_mode:
                raise ModuleError(f"this machine needs a token ({reason})", "have one minted, and give it as token")
            return self._result(wanted, path, before, reason)
        return self._result(wanted, path, before, reason, self._install(path, wanted, now))

    def _examine(self, path: str, wanted: tokens.Wanted, now: int) -> tuple[tokens.Claims | None, str]:
        """What the token at *path* says, and why it does not serve."""
        state = read_state(path)
        if state.content is None:
            return None, "there is a symbolic link" if state.exists else "there is none"
        try:
            claims = tokens.read(state.content.decode("ascii", "replace"), path)
        except InvalidContent as error:
            return None, error.message
        secure = (state.mode, state.uid, state.gid) == (0o600, os.geteuid(), os.getegid())
        return claims, wanted.fault(claims, now) or ("" if secure else "others than root can read or replace it")

    def _install(self, path: str, wanted: tokens.Wanted, now: int) -> tokens.Claims:
        token = self.params["token"].strip()
        claims = tokens.read(token, "token")
        fault = wanted.fault(claims, now)
        if fault:
            raise InvalidContent(f"the token for this machine does not serve, {fault}", "mint it for this machine")
        if claims.issued > now + tokens.SKEW:
            raise InvalidContent(
                f"the token was minted {claims.issued - now} s in this machine's future",
                "set the clocks of this machine and the central manager (chrony)",
            )
        if not self.module.check_mode:
            self._directory(os.path.dirname(path))
            write(self.module, path, token + "\n", mode=0o600, owner=OWNER or None, group=OWNER or None, hidden=True)
            self._let_daemons_know()
        return claims

    def _let_daemons_know(self) -> None:
        """A daemon that found no token looks for one again only after a reconfig (should_try_auth)."""
        ad = self.condor.master()
        if ad:
            pending = condor_pending.load(ad)
            condor_pending.save(self.module, Pending(pending.restart, reconfig=True), ad)

    def _directory(self, path: str) -> None:
        os.makedirs(path, 0o700, exist_ok=True)

    def _name(self) -> str:
        name = str(self.params["name"])
        if "/" in name or name.startswith(".") or name.endswith("~") or not name:
            raise ModuleError(f"name: HTCondor reads no token from a file named {name!r}", "name it like vacuum-pool")
        return name

    def _setting(self, name: str) -> str:
        value = self.condor.tool("condor_config_val", name).stdout.strip()
        if not value.startswith("/"):
            raise ModuleError(f"{name} is {value!r} in HTCondor's configuration", "set it to an absolute path")
        return str(value)

    def _request(self, wanted: tokens.Wanted) -> dict[str, Any]:
        return {
            "host": self.params["host"],
            "identity": wanted.identity,
            "authorizations": list(wanted.authorizations),
            "lifetime": wanted.lifetime,
        }

    def _result(
        self,
        wanted: tokens.Wanted,
        path: str,
        before: tokens.Claims | None,
        reason: str,
        after: tokens.Claims | None = None,
    ) -> dict[str, Any]:
        there = after or before
        old = _lines(before.identity, before.authorizations, f"expires: {before.expires}") if before else ""
        new = _lines(wanted.identity, wanted.authorizations, f"valid for: {wanted.lifetime} s")
        return {
            "changed": bool(reason),
            "needed": bool(reason),
            "reason": reason,
            "path": path,
            "expires": there.expires if there else 0,
            "id": there.id if there else "",
            "diff": {"before_header": path, "after_header": path, "before": old, "after": new if reason else old},
        }


def _lines(identity: str, authorizations: tuple[str, ...], end: str) -> str:
    return f"identity: {identity}\nauthorizations: {' '.join(authorizations) or '(unlimited)'}\n{end}\n"


def main() -> None:
    """Entry point of the module."""
    limits = {"type": "list", "elements": "str", "choices": tokens.AUTHORIZATIONS, "default": []}
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["key", "checked", "minted", "present"], "default": "present"},
            "name": {"type": "str", "default": "vacuum-pool"},
            "host": {"type": "str", "default": "localhost"},
            "identity": {"type": "str"},
            "issuer": {"type": "str"},
            "authorizations": limits,
            "lifetime": {"type": "int", "default": 31536000},
            "renew_before": {"type": "int", "default": 2592000},
            "issued_after": {"type": "int", "default": 0},
            "requests": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "host": {"type": "str", "required": True},
                    "identity": {"type": "str", "required": True},
                    "authorizations": limits,
                    "lifetime": {"type": "int", "required": True},
                },
            },
            "token": {"type": "str", "no_log": True},
        },
        required_if=[("state", "checked", ("identity",)), ("state", "present", ("identity",))],
        supports_check_mode=True,
    )
    run_module(module, lambda: CondorToken(module).run())


if __name__ == "__main__":
    main()
