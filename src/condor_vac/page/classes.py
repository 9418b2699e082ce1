# SPDX-License-Identifier: GPL-3.0-or-later
"""How VMs are and how they ended, in as many classes as a picture can show; colours are by class in `style`."""

from __future__ import annotations

from condor_vac.factory.day import End, Vm
from condor_vac.policy import observation as o

WORKS, QUIET, DONE, DRY, EARLY, OTHER, NODE, EXPERIMENT = (
    "works", "quiet", "done", "dry", "early", "other", "node", "experiment",
)  # fmt: skip
# In the order of the legend, and from below in columns.
WORDS = {
    WORKS: "runs and works",
    QUIET: "runs, no work seen yet",
    DONE: "ended after work (2xx)",
    DRY: "found no work (3xx)",
    EARLY: "ended early without a message",
    OTHER: "ended by the site (1xx), or late without a message",
    NODE: "failed by its node (5xx, lost, refused)",
    EXPERIMENT: "failed by experiment or agent (4xx, from 6xx)",
}
FAILED = frozenset({NODE, EXPERIMENT})
_OF_KIND = {
    o.SUCCESS: DONE,
    o.NO_WORK: DRY,
    o.FIZZLE: EARLY,
    o.SITE: NODE,
    o.LOST: NODE,
    o.REFUSED: NODE,
    o.BANNED: EXPERIMENT,
    o.EXPERIMENT: EXPERIMENT,
    o.AGENT: EXPERIMENT,
}


def of_end(end: End) -> str:
    """The class of a run that ended."""
    return _OF_KIND.get(end.kind, OTHER)


def of_vm(vm: Vm) -> str:
    """The class of a VM on a host."""
    return WORKS if vm.works else QUIET
