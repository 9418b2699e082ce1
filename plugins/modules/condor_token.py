#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: condor_token
short_description: Keep the IDTOKEN of a machine of an HTCondor pool
version_added: 0.1.0
description:
  - Keeps the token with which a machine's daemons prove to the rest of the pool who they are in HTCondor's directory of
    tokens, owned by root, mode 0600. A token that serves stays; one that is missing, wrong or ends soon is replaced.
  - Running daemons take it up at the next M(vacuum.htcondor.condor_daemons) with
    O(vacuum.htcondor.condor_daemons#module:state=applied).
  - The token is in nothing that this module returns or shows.
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
  - vacuum.htcondor.token
options:
  token:
    description:
      - The token to keep, one of RV(vacuum.htcondor.condor_token_create#module:tokens). Only a machine whose token
        serves, and check mode, can do without.
    type: str
seealso:
  - module: vacuum.htcondor.condor_signing_key
  - module: vacuum.htcondor.condor_token_info
  - module: vacuum.htcondor.condor_token_create
  - module: vacuum.htcondor.condor_daemons
"""

EXAMPLES = r"""
# An unchanged machine sees one task only, and one task creates the tokens of all machines.
- name: Check this machine's token
  vacuum.htcondor.condor_token_info:
    host: "{{ inventory_hostname }}"
    identity: condor@cm.example.org
    authorizations: [READ, ADVERTISE_MASTER, ADVERTISE_STARTD]
  register: token

- name: Create what is missing or ends soon
  vacuum.htcondor.condor_token_create:
    requests: >-
      {{ ansible_play_batch | map('extract', hostvars, 'token') | selectattr('needed') | map(attribute='request') }}
  register: created
  run_once: true
  delegate_to: cm.example.org
  no_log: true

- name: Give this machine its token
  vacuum.htcondor.condor_token:
    identity: condor@cm.example.org
    authorizations: [READ, ADVERTISE_MASTER, ADVERTISE_STARTD]
    token: "{{ created.tokens[inventory_hostname] | default(omit) }}"
  when: token.needed
"""

RETURN = r"""
needed:
  description: Whether the machine needs a new token before this task.
  type: bool
  returned: success
reason:
  description: Why it needs one; empty if it does not.
  type: str
  returned: success
  sample: it expires within 2592000 s
path:
  description: Where the token is; empty in check mode before HTCondor is installed.
  type: str
  returned: success
  sample: /etc/condor/tokens.d/vacuum-pool
expires:
  description: When the token that is there ends, in seconds since 1970; 0 if there is none.
  type: int
  returned: success
  sample: 1827165717
id:
  description: Id (C(jti)) of the token that is there, by which it can be revoked.
  type: str
  returned: success
  sample: 7aac566e1ac0242e195a9669fdca34b6
"""

import os
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import pending as condor_pending
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import token_file, tokens
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.pending import Pending
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import Condor
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import InvalidContent, ModuleError, run_module
from ansible_collections.vacuum.htcondor.plugins.module_utils._node.files import write


class Token:
    """The token of this machine, which is *owner*'s (None: who runs this)."""

    def __init__(
        self, module: AnsibleModule, owner: str | None = "root", pending_file: str = condor_pending.PATH
    ) -> None:
        self.module = module
        self.owner = owner
        self.pending_file = pending_file
        self.condor = Condor(module)

    def run(self) -> dict[str, Any]:
        """Bring about the state; the result for exit_json. Raises ModuleError."""
        wanted = tokens.wanted(self.module.params)
        found = token_file.look(self.module, self.condor, wanted)
        after = None
        if found.reason and found.path:
            after = self._replace(found, wanted)
        return {**found.result(after), "changed": bool(found.reason), "diff": found.diff(wanted)}

    def _replace(self, found: token_file.Found, wanted: tokens.Wanted) -> tokens.Claims | None:
        """Put the given token in place; None in check mode without one."""
        if self.module.params["token"] is None:
            if self.module.check_mode:
                return None
            raise ModuleError(f"this machine needs a token ({found.reason})", "create one, and give it as token")
        text = self.module.params["token"].strip()
        claims = _refuse_other(text, wanted)
        if not self.module.check_mode:
            os.makedirs(os.path.dirname(found.path), 0o700, exist_ok=True)
            write(self.module, found.path, text + "\n", mode=0o600, owner=self.owner, group=self.owner, hidden=True)
            self._let_daemons_know()
        return claims

    def _let_daemons_know(self) -> None:
        """A daemon that found no token looks for one again only after a reconfig (should_try_auth)."""
        ad = self.condor.master()
        if ad:
            pending = condor_pending.load(ad, self.pending_file)
            condor_pending.save(self.module, Pending(pending.restart, reconfig=True), ad, self.pending_file)


def _refuse_other(text: str, wanted: tokens.Wanted) -> tokens.Claims:
    """The claims of the token in *text*. Raises InvalidContent if it would not serve on this machine."""
    now = int(time.time())
    claims = tokens.read(text, "token")
    fault = wanted.fault(claims, now)
    if fault:
        raise InvalidContent(f"the token for this machine is not usable, {fault}", "create it for this machine")
    if claims.issued > now + tokens.SKEW:
        raise InvalidContent(
            f"the token was signed {claims.issued - now} s in this machine's future",
            "set the clocks of this machine and the central manager (chrony)",
        )
    return claims


ARGUMENTS: dict[str, Any] = {**token_file.ARGUMENTS, "token": {"type": "str", "no_log": True}}


def main(build: Callable[[AnsibleModule], Token] = Token) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
