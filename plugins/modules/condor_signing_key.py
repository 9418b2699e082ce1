#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: condor_signing_key
short_description: Keep the key that signs the IDTOKENS of an HTCondor pool
version_added: 0.1.0
description:
  - With IDTOKENS, the daemons of one machine prove to those of another who they are. Whoever has the signing key can
    create tokens for everybody, therefore it stays on the central manager.
  - An existing key is never replaced. The key is in nothing that this module returns or shows.
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
options: {}
seealso:
  - module: vacuum.htcondor.condor_token_create
"""

EXAMPLES = r"""
- name: Keep the key that signs tokens, on the central manager only
  vacuum.htcondor.condor_signing_key:
  register: key
  run_once: true
  delegate_to: cm.example.org
"""

RETURN = r"""
key_since:
  description: When the signing key was made, in seconds since 1970.
  type: int
  returned: success
  sample: 1795629717
path:
  description: Where the key is; empty in check mode before HTCondor is installed.
  type: str
  returned: success
  sample: /etc/condor/passwords.d/POOL
"""

import base64
import os
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import Condor
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import FileError, run_module
from ansible_collections.vacuum.htcondor.plugins.module_utils._node.files import read_state

KEY_BYTES = 64


class SigningKey:
    """The key of this machine."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.condor = Condor(module)

    def run(self) -> dict[str, Any]:
        """Make the key if there is none; the result for exit_json. Raises ModuleError."""
        if self.module.check_mode and not self.condor.installed:
            self.module.warn("HTCondor is not installed on this machine yet")
            return _result("", int(time.time()), made=True)
        path = self.condor.path("SEC_TOKEN_POOL_SIGNING_KEY_FILE")
        state = read_state(path)
        if state.exists and not state.content:
            raise FileError(
                f"the signing key {path} is empty or not a regular file", "remove it, a new one is then made"
            )
        if not state.exists and not self.module.check_mode:
            self._make(path)
        since = int(os.stat(path).st_mtime) if os.path.exists(path) else int(time.time())
        return _result(path, since, made=not state.exists)

    def _make(self, path: str) -> None:
        """Let HTCondor write the key, in its own format; a text has no zero bytes, which some versions stop at."""
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        text = base64.b64encode(os.urandom(KEY_BYTES)).decode()
        self.condor.tool("condor_store_cred", "add", "-c", "-i", "-", "-f", path, stdin=text)
        if not read_state(path).content:
            raise FileError(f"condor_store_cred wrote no key to {path}", "check whether the directory can be written")


def _result(path: str, since: int, *, made: bool) -> dict[str, Any]:
    before = "signing key: none\n" if made else "signing key: present\n"
    return {
        "changed": made,
        "path": path,
        "key_since": since,
        "diff": {"before": before, "after": "signing key: present\n"},
    }


def main(build: Callable[[AnsibleModule], SigningKey] = SigningKey) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
