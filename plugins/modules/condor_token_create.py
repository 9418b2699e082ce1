#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: condor_token_create
short_description: Create IDTOKENS on the central manager of an HTCondor pool
version_added: 0.1.0
description:
  - Has C(condor_token_create) sign tokens, each for one machine and limited to what its part of the pool needs. One
    task creates the tokens of all machines.
  - RV(tokens) are secret, therefore the task needs C(no_log=true).
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
attributes:
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Creates what it is asked for each time.
options:
  requests:
    description:
      - The tokens to create. Take RV(vacuum.htcondor.condor_token_info#module:request) of each machine.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: Key of the token in RV(tokens).
        type: str
        required: true
      identity:
        description: Who the machine's daemons are to the rest of the pool.
        type: str
        required: true
      authorizations:
        description: What the token is good for. An empty list does not limit it.
        type: list
        elements: str
        choices: [READ, WRITE, NEGOTIATOR, ADMINISTRATOR, CONFIG, DAEMON, ADVERTISE_MASTER, ADVERTISE_SCHEDD,
          ADVERTISE_STARTD]
        default: []
      lifetime:
        description: How long the token is valid, in seconds, more than 0.
        type: int
        required: true
seealso:
  - module: vacuum.htcondor.condor_signing_key
  - module: vacuum.htcondor.condor_token_info
  - module: vacuum.htcondor.condor_token
"""

EXAMPLES = r"""
- name: Create the tokens that are missing or end soon
  vacuum.htcondor.condor_token_create:
    requests: >-
      {{ ansible_play_batch | map('extract', hostvars, 'token') | selectattr('needed') | map(attribute='request') }}
  register: created
  run_once: true
  delegate_to: cm.example.org
  no_log: true
"""

RETURN = r"""
tokens:
  description: The tokens, secret, by the O(requests[].host). Empty in check mode.
  type: dict
  returned: success
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import tokens
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import Condor
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import CommandError, ModuleError, run_module


class TokenCreate:
    """The tokens of one call."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.condor = Condor(module)

    def run(self) -> dict[str, Any]:
        """Create the tokens; the result for exit_json. Raises ModuleError before the first if a request is bad."""
        requests = self.module.params["requests"]
        for request in requests:
            tokens.check_request(request["identity"], request["lifetime"])
        made = {} if self.module.check_mode else {request["host"]: self._create(request) for request in requests}
        return {"changed": bool(requests), "tokens": made}

    def _create(self, request: dict[str, Any]) -> str:
        limits = [word for name in sorted(set(request["authorizations"])) for word in ("-authz", name)]
        arguments = ["-identity", request["identity"], *limits, "-lifetime", str(request["lifetime"])]
        try:
            token = str(self.condor.tool("condor_token_create", *arguments).stdout).strip()
        except CommandError as error:
            raise ModuleError(
                f"no token for {request['host']}: {error.message}",
                "create tokens on the central manager, as root, after condor_signing_key",
            ) from error
        claims = tokens.read(token, "condor_token_create's answer")
        if claims.identity != request["identity"]:
            raise ModuleError(f"HTCondor signed a token for {claims.identity}, not {request['identity']}")
        return token


ARGUMENTS: dict[str, Any] = {
    "requests": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "host": {"type": "str", "required": True},
            "identity": {"type": "str", "required": True},
            "authorizations": {"type": "list", "elements": "str", "choices": tokens.AUTHORIZATIONS, "default": []},
            "lifetime": {"type": "int", "required": True},
        },
    },
}


def main(build: Callable[[AnsibleModule], TokenCreate] = TokenCreate) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
