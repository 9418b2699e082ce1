#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: condor_token_info
short_description: Check whether a machine of an HTCondor pool needs a new IDTOKEN
version_added: 0.1.0
description:
  - Compares the machine's token with what it has to be, and returns what to ask M(vacuum.htcondor.condor_token_create)
    for.
  - The token itself is in nothing that this module returns or shows.
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes.info
  - vacuum.htcondor.token
options:
  host:
    description:
      - For whom the token is; the key of RV(vacuum.htcondor.condor_token_create#module:tokens) under which it is found.
    type: str
    default: localhost
seealso:
  - module: vacuum.htcondor.condor_token
  - module: vacuum.htcondor.condor_token_create
"""

EXAMPLES = r"""
- name: Check this machine's token
  vacuum.htcondor.condor_token_info:
    host: "{{ inventory_hostname }}"
    identity: condor@cm.example.org
    authorizations: [READ, ADVERTISE_MASTER, ADVERTISE_STARTD]
    issued_after: "{{ key.key_since }}"
  register: token
"""

RETURN = r"""
needed:
  description: Whether the machine needs a new token.
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
request:
  description: An element of O(vacuum.htcondor.condor_token_create#module:requests) for the token.
  type: dict
  returned: success
  sample: {"host": "node1", "identity": "condor@cm.example.org", "authorizations": ["READ"], "lifetime": 31536000}
"""

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import token_file, tokens
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import Condor
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import run_module


class TokenInfo:
    """The token of this machine, compared with what it has to be."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.condor = Condor(module)

    def run(self) -> dict[str, Any]:
        """Look; the result for exit_json. Raises ModuleError."""
        wanted = tokens.wanted(self.module.params)
        found = token_file.look(self.module, self.condor, wanted)
        request = {
            "host": self.module.params["host"],
            "identity": wanted.identity,
            "authorizations": list(wanted.authorizations),
            "lifetime": wanted.lifetime,
        }
        return {**found.result(), "changed": False, "request": request}


ARGUMENTS: dict[str, Any] = {**token_file.ARGUMENTS, "host": {"type": "str", "default": "localhost"}}


def main(build: Callable[[AnsibleModule], TokenInfo] = TokenInfo) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
