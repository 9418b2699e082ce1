#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: inventory_check
short_description: Refuse an inventory that cannot be right
version_added: 0.1.0
description:
  - Checks the whole inventory on the controller, before any node is touched. It is the first task of the playbook
    C(vacuum.htcondor.site).
  - The groups C(central_manager), C(access_point) and C(worker_node) are there, have hosts, and none is misspelt.
  - Every variable of their hosts whose name begins with C(vacuum_) or the name of a role of the collection is a known
    one, and its value is of its type and one of its choices.
  - Every machinetype, those of pipes among them, is valid by all rules that need no node; files on the controller that
    it names are there and can be read, those of a vault among them.
  - Values that depend on facts are left to the role that uses them.
  - A setting that only the role of central managers carries out, in an inventory without one, is a warning.
  - All faults are reported at once, one line each. See docs/inventory.md.
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes.info
attributes:
  action:
    support: full
    description:
      - Is an action plugin. It runs on the controller and makes no connection.
seealso:
  - module: vacuum.htcondor.machinetype
"""

EXAMPLES = r"""
# In a play with hosts localhost:all and tags [always]: with --limit it is one of the limit's hosts that has the task.
- name: Refuse an inventory that cannot be right
  vacuum.htcondor.inventory_check:
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
faults:
  description: A line for each fault (variable or key, value, remedy), with the hosts or the group that it is about.
  type: list
  elements: str
  returned: always
  sample:
    - "worker_emulation: 'maybe': must be true or false (group worker_node)"
hosts:
  description: How many hosts of the collection's groups were checked.
  type: int
  returned: always
  sample: 302
machinetypes:
  description: The names of the machinetypes, those of pipes among them.
  type: list
  elements: str
  returned: always
  sample: [atlas, gridpp]
"""
