# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a machine's token has to be: options of the modules that check it and that keep it."""

from __future__ import annotations


class ModuleDocFragment:
    """vacuum.htcondor.token."""

    DOCUMENTATION = r"""
options:
  name:
    description:
      - Name of the file in HTCondor's directory of tokens.
    type: str
    default: vacuum-pool
  identity:
    description:
      - Who the machine's daemons are to the rest of the pool.
    type: str
    required: true
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
      - Seconds since 1970. An older token is to be renewed, because it was signed by another key. Take
        RV(vacuum.htcondor.condor_signing_key#module:key_since).
    type: int
    default: 0
"""
