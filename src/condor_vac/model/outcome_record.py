# SPDX-License-Identifier: GPL-3.0-or-later
"""How a VM ended, in one attribute of its job's ad: ``VacOutcome``.

Each attribute is a request of its own to the job's starter, and from HTCondor 25.4 on a starter may end before it has
read them all, where the node or the schedd is slow (seen: three of seven arrived). So this one, which holds the others,
is set first. Readers of the ad use it in place of the others, unless those are of a later run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from condor_vac.base.errors import VacError

NAME = "VacOutcome"
# The cause of an end by max_wallclock_seconds.
WALLCLOCK = "wallclock"
# The cause of the end of a VM whose slot another job gets: its own job goes back to the queue.
BACKFILL = "backfill"
# Only what stands before the message, which is the guest's, decides.
ENDED_FOR_ANOTHER_JOB = f'regexp("^[^ ]+ VacCause={BACKFILL} ", {NAME})'
_FORMS = {
    "ShutdownCode": "undefined|[1-9][0-9]{2}",
    "VacCause": "[a-z_]{1,32}",
    "VacRuntime": "[0-9]{1,12}",
    "VacKind": "[a-z_]{1,32}",
    "VacAbort": "true|false",
    "VacEnded": "[0-9]{1,12}",
}
KEYS = tuple(_FORMS)
# The message is the last, as it may hold anything; the programs of earlier releases leave it out.
MESSAGE = "ShutdownMessage"
_RECORD = " ".join(f"{key}=({form})" for key, form in _FORMS.items()) + f"(?: {MESSAGE}=(.*))?"
_WORDS = {"true": True, "false": False, "undefined": None}


def write(attributes: Mapping[str, Any]) -> str:
    """The record of these attributes, of which every one of KEYS must be there, and the message if it is."""
    message = [] if attributes.get(MESSAGE) is None else [f"{MESSAGE}={attributes[MESSAGE]}"]
    return " ".join([*(f"{key}={_word(attributes[key])}" for key in KEYS), *message])


def read(text: str) -> dict[str, Any]:
    """The attributes in a record; None for what was undefined, and no message where the record has none.

    Raises VacError for what is not a record.
    """
    found = re.fullmatch(_RECORD, text)
    if found is None:
        raise VacError(f"{NAME}: {ascii(text)[:200]} is not of the form {KEYS[0]}=… {KEYS[1]}=…")
    *words, message = found.groups()
    read_ones = {key: _value(word) for key, word in zip(KEYS, words)}
    return read_ones if message is None else {**read_ones, MESSAGE: message}


def completed(ad: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ad with its record's attributes, unless an end that came after the record's is in it. Raises VacError."""
    text = ad.get(NAME)
    if not isinstance(text, str):
        return ad
    record = read(text)
    ended = ad.get("VacEnded")
    if isinstance(ended, (int, float)) and ended > record["VacEnded"]:
        return ad
    changed = {**ad, **record}
    return {key: value for key, value in changed.items() if value is not None}


def _word(value: object) -> str:
    if value is None:
        return "undefined"
    return str(value).lower()


def _value(word: str) -> Any:
    return int(word) if word.isdigit() else _WORDS.get(word, word)
