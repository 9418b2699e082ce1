# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Variables of fragments that a file which HTCondor reads later sets anew."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.knobs import REFERENCE
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import Configuration, Knob

_SET = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*=(.*)", re.DOTALL)
_IF = re.compile(r"\s*if\b", re.IGNORECASE)
_ENDIF = re.compile(r"\s*endif\b", re.IGNORECASE)


def found(directory: str, fragments: Mapping[str, bytes | None], configuration: Configuration) -> list[dict[str, Any]]:
    """What another file sets after the fragments: name, file and line of each, in the order of names.

    A file whose value builds on the fragment's (``START = $(START) && NodeOk``) is no conflict. What a fragment sets
    within an ``if`` is left out.
    """
    ours = {os.path.join(directory, name) for name in fragments}
    set_here: dict[str, str] = {}
    for content in fragments.values():
        set_here.update(_assignments((content or b"").decode("utf-8", "replace")))
    conflicts = []
    for name, value in sorted(set_here.items()):
        knob = configuration.knobs.get(name)
        if knob is not None and knob.from_file and knob.source not in ours and not _builds_on(knob, value):
            conflicts.append({"name": knob.name, "file": knob.source, "line": knob.line})
    return conflicts


def referred(fragments: Mapping[str, bytes | None]) -> set[str]:
    """Lower-case names of the variables that the fragments use in the values of others."""
    names: set[str] = set()
    for content in fragments.values():
        for line in (content or b"").decode("utf-8", "replace").replace("\\\n", " ").splitlines():
            match = _SET.match(line)
            if match:
                names.update({name.lower() for name in REFERENCE.findall(match[2])} - {match[1].lower()})
    return names


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    """Lower-case name and value of each variable that a fragment sets whatever holds."""
    depth = 0
    for line in text.replace("\\\n", " ").splitlines():
        depth += bool(_IF.match(line)) - bool(_ENDIF.match(line))
        match = _SET.match(line)
        if match and depth == 0:
            yield match[1].lower(), match[2].strip()


def _builds_on(knob: Knob, value: str) -> bool:
    """Whether a later value contains the fragment's: HTCondor replaces ``$(NAME)`` by its text."""
    own = re.compile(rf"\$\({re.escape(knob.name)}(?::[^)]*)?\)", re.IGNORECASE)
    parts = [" ".join(part.split()) for part in own.split(value)]
    text = " ".join(knob.raw.split())
    return any(parts) and all(part in text for part in parts)
