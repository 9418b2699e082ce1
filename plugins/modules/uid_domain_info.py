#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: uid_domain_info
short_description: Whether a worker node runs the jobs of access points as their owners
version_added: 0.1.0
description:
  - HTCondor runs a job as its owner only where the name behind the access point's address is in C(UID_DOMAIN), or where
    C(TRUST_UID_DOMAIN) is true. Else the job runs as nobody, who may not start a virtual machine.
  - Looks the addresses and the names up as HTCondor does, before any job runs.
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes.info
options:
  access_points:
    description:
      - Host names or addresses of the access points.
      - One that this machine cannot resolve is not judged.
    type: list
    elements: str
    required: true
seealso:
  - module: vacuum.htcondor.condor_config
  - module: vacuum.htcondor.pool_info
"""

EXAMPLES = r"""
- name: Look whether jobs run as their owners
  vacuum.htcondor.uid_domain_info:
    access_points: [ap.example.org]
  register: owners

- name: Stop where they run as nobody
  ansible.builtin.fail:
    msg: "{{ owners.faults | join('; ') }}. Remedy: {{ owners.remedy }}"
  when: owners.faults | length > 0
"""

RETURN = r"""
uid_domain:
  description: The node's C(UID_DOMAIN). Empty where HTCondor is not installed.
  type: str
  returned: success
  sample: example.org
faults:
  description: One line for each access point whose jobs would run as nobody.
  type: list
  elements: str
  returned: success
remedy:
  description: What to do about them.
  type: str
  returned: success
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import uid_domain
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import Condor
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import run_module

ARGUMENTS: dict[str, Any] = {"access_points": {"type": "list", "elements": "str", "required": True}}


def look(module: AnsibleModule) -> dict[str, Any]:
    """The faults of this node; the result for exit_json. Raises CommandError."""
    condor = Condor(module)
    rules = uid_domain.rules(condor.configuration().value if condor.installed else lambda _name: "")
    return {
        "changed": False,
        "uid_domain": rules.uid_domain,
        "faults": uid_domain.faults(module.params["access_points"], rules),
        "remedy": uid_domain.REMEDY,
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: look(module))


if __name__ == "__main__":
    main()
