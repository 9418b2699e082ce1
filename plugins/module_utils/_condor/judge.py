# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with fragments that HTCondor itself would load: names that no program uses, values that do not fit."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import conflicts, knobs, slot_weight
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.pending import Pending
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import Condor, Configuration, Knob
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import InvalidContent
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import CONDOR_TRUE

# A line that takes one of HTCondor's own templates in, and with it what that sets.
TEMPLATE = re.compile(rb"\s*use\s+\w+\s*:", re.IGNORECASE)
# Variables that decide who may command daemons begin so.
_DECIDE = ("ALLOW_", "DENY_", "SEC_", "USE_", "UID_DOMAIN", "TRUST_DOMAIN", "CERTIFICATE_MAPFILE")
Fragments = Mapping[str, "bytes | None"]


def refuse(
    condor: Condor, directory: str, fragments: Fragments, staged: Configuration, allow_unknown: Sequence[str]
) -> None:
    """Raise InvalidContent for variables of *fragments* that no program uses or whose values do not fit.

    *staged* is the configuration with the fragments in *directory*; *allow_unknown* are shell patterns of names.
    """
    ours = {os.path.join(directory, name) for name, content in fragments.items() if content is not None}
    found = [knob for knob in staged.knobs.values() if knob.source in ours]
    written = [knob.name for knob in found if not _by_template(knob, fragments)]
    # A later file may override what uses a variable. That is for `conflicts` to report; the variable is right.
    used = conflicts.referred(fragments)
    strange = knobs.unknown(staged, [name for name in written if name.lower() not in used], list(allow_unknown))
    findings = []
    for knob in sorted(found, key=lambda knob: (knob.source, knob.line)):
        problem = _problem(condor, knob, staged, knob.name in strange)
        if problem:
            findings.append(f"{os.path.basename(knob.source)} line {knob.line}: {problem}")
    if findings:
        raise InvalidContent(
            "; ".join(findings),
            "correct it in worker_config or pool_config, if it is from there; a task of your own corrects its "
            "fragment, or names the variable in allow_unknown; nothing was changed",
            findings=findings,
        )


def refuse_weight(condor: Condor, fragments: Fragments, effective: Configuration) -> None:
    """Raise InvalidContent where fragments set a consumption policy, and the negotiator would abort on a slot's weight.

    *effective* is the configuration with the fragments; the weight may be from any other file.
    """
    ours = any(b"CONSUMPTION_POLICY" in (content or b"") for content in fragments.values())
    if not ours or effective.value("CONSUMPTION_POLICY").strip().lower() not in CONDOR_TRUE:
        return
    tool = condor.command.find("classad_eval")
    evaluate = (lambda words: condor.tool("classad_eval", *words, ok=None).stdout) if tool else None
    for knob in effective.knobs.values():
        fault = slot_weight.fault(knob.expanded, evaluate) if slot_weight.KNOB.fullmatch(knob.name) else ""
        if fault:
            what = f"{knob.name} on {socket.gethostname()} is {knob.expanded} ({knob.source}, line {knob.line})"
            raise InvalidContent(
                f"{what}, which {fault}: with CONSUMPTION_POLICY the pool's negotiator would abort, or count nothing",
                f"{slot_weight.REMEDY}, or set worker_starts_per_cycle to 0; nothing was changed",
            )


def refuse_unloadable(condor: Condor, changed: Iterable[str], before: Pending, due: Pending) -> None:
    """Raise ModuleError where a change of these variables needs a restart of the startd that HTCondor refuses to root.

    Nothing is asked where HTCondor has yet to load what may decide it: a change *before*, or one of these variables.
    """
    decides = any(name.upper().startswith(_DECIDE) for name in changed)
    if "STARTD" in due.scope and before.action == "none" and not decides:
        condor.require_administrator()


def _by_template(knob: Knob, fragments: Fragments) -> bool:
    """Whether a template of HTCondor's own set the variable: its line in the fragment is a ``use``."""
    lines = (fragments[os.path.basename(knob.source)] or b"").splitlines()
    return 0 < knob.line <= len(lines) and TEMPLATE.match(lines[knob.line - 1]) is not None


def _problem(condor: Condor, knob: Knob, staged: Configuration, strange: bool) -> str:
    if strange:
        guess = knobs.suggestion(knob.name, staged)
        return f"HTCondor has no {knob.name}" + (f", did you mean {guess}?" if guess else "")
    bare = knob.name.split(".", 1)[-1].lower()
    misfit = knobs.misfit(knob, staged.known.get(bare, knob.type))
    if misfit:
        return f"{knob.name}: {misfit}"
    if knobs.is_expression(knob.name, staged) and knob.expanded.strip():
        return _unparsable(condor, knob)
    return ""


def _unparsable(condor: Condor, knob: Knob) -> str:
    """Let HTCondor's own parser read an expression, where its tool is installed."""
    if condor.command.find("classad_eval") is None:
        return ""
    result = condor.tool("classad_eval", "-quiet", knob.expanded, ok=None)
    return "" if result.ok else f"{knob.name} is not a valid ClassAd expression: {knob.expanded}"
