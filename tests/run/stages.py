# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of ``make test`` and ``make check``.

The order of a table is the priority: what others wait for and what takes longest comes first. A weight is how many
processors a stage keeps busy; one that waits for HTCondor more than it works has a small one. A limit is no estimate,
but several times what the stage takes on a busy machine: what reaches it hangs.
"""

from __future__ import annotations

from dataclasses import dataclass

PYTEST = ("python", "-m", "pytest", "-q")
_TWO = ("-n", "2", "--dist", "loadgroup")


@dataclass(frozen=True)
class Stage:
    """One command whose exit code shows whether the stage passed.

    It starts when the stages that it ``needs`` have passed (those that were not asked for count as passed), when no
    running stage ``holds`` one of the same names, and when there is room for its ``weight`` in processors. It is
    ended after ``limit`` seconds. One that is not for ``every_run`` runs only if it is asked for.
    """

    name: str
    argv: tuple[str, ...]
    needs: tuple[str, ...] = ()
    weight: float = 1.0
    limit: float = 600
    holds: tuple[str, ...] = ()
    every_run: bool = True


def molecule(
    scenario: str, image: str = "prepared", *, weight: float = 1, limit: float = 5400, every_run: bool = True
) -> Stage:
    """A molecule scenario in a lab of its own; most begin with the box of its image."""
    own = scenario in {"box", "default", "filling", "machine", "pool", "remove", "site", "upgrade"}
    argv = ("tests/molecule", scenario, image)
    needs = "images" if own else f"box-{image}"
    return Stage(f"{scenario}-{image}", argv, (needs,), weight, limit, every_run=every_run)


# Stages on lab nodes: HTCondor 23.9.6 is on the image "prepared", 25.14.1 on "sid". Those whose VMs and faults wait for
# HTCondor's timers keep half a processor busy or less; the longest come first.
_WAITING = {"site": 0.3, "endings": 0.3, "faults": 0.5, "hostile": 0.5, "two_experiments": 0.7}
MOLECULE = (
    Stage("images", ("tests/images",), limit=5400),
    molecule("box", weight=0.7),
    molecule("box", "sid", weight=0.7),
    *(
        molecule(scenario, image, weight=weight)
        for scenario, weight in _WAITING.items()
        for image in ("prepared", "sid")
    ),
    molecule("examples", "sid", weight=0.5),
    molecule("upgrade", weight=0.7),
    Stage("demo", ("python", "-m", "tests.demo"), ("images",), limit=10800),
    *(
        molecule(scenario, image, weight=0.7)
        for scenario in ("kinds", "drift", "default", "modules", "bad_input")
        for image in ("prepared", "sid")
    ),
    molecule("remove", weight=0.7),
    Stage("lab", (*PYTEST, "tests/integration/lab"), ("images",), limit=3600),
)

# Stages that need no lab node.
NATIVE = (
    Stage(
        "integration", (*PYTEST, *_TWO, "--ignore=tests/integration/lab", "tests/integration"), weight=0.6, limit=3600
    ),
    Stage("sanity", ("tests/sanity/run",), limit=3600),
    Stage("pythons", (*PYTEST, "tests/pythons"), limit=3600),
    Stage("cores", (*PYTEST, "tests/cores"), limit=1800),
    Stage("accounting", (*PYTEST, "tests/accounting"), limit=1200),
    Stage("scenarios", (*PYTEST, "tests/scenarios", "tests/lives"), limit=1800),
    Stage("unit", (*PYTEST, "tests/unit"), limit=1800),
    Stage("scenario-table", ("python", "-m", "tests.scenarios.table", "--check"), limit=1200),
    Stage("ablation", ("python", "-m", "tests.scenarios.ablation", "--check"), limit=3600),
    Stage("bench", (*PYTEST, "tests/bench"), limit=1800),
    Stage("lint", ("tests/lint",), limit=1200),
    Stage("artifact", ("tests/artifact",)),
)

# Only with ALL=1. Twenty VMs and more want both processors of a small host for themselves, for a quarter of an hour. In
# the emulated machine one emulated processor runs everything, its VMs too: that takes half an hour alone, and beside
# two other labs its VMs do not come to boot. The examples are what an experiment writes, whichever HTCondor there is.
# Last, as nothing else then waits for what runs to end.
ALL = (
    molecule("examples", weight=0.5, every_run=False),
    molecule("machine", "bare", weight=2, limit=10800, every_run=False),
    *(
        molecule(scenario, image, weight=2, every_run=False)
        for scenario in ("pool", "filling")
        for image in ("prepared", "sid")
    ),
)

TEST = (*MOLECULE, *NATIVE, *ALL)

# Without root and without a network. Beside the unit tests there is room for one of the small ones.
_PLAYED = "no_cap_is_exceeded and (cold_start or hosts_lost or multi_processor)"
_FEWER = ("--hypothesis-profile", "check")
CHECK = (
    Stage("unit", (*PYTEST, "-n", "2", "-m", "not slow", *_FEWER, "tests/unit"), weight=1.5, limit=1800),
    Stage("mypy", ("mypy", "src/condor_vac", "plugins", "tests"), limit=1800),
    Stage("scenarios", (*PYTEST, "tests/scenarios", "-k", _PLAYED)),
    Stage("syntax", ("tests/syntax",)),
    Stage("yamllint", ("yamllint", "--strict", ".")),
    Stage("imports", ("tests/imports",)),
    Stage("dead-code", ("tests/dead_code",)),
    Stage("ruff", ("ruff", "check", ".")),
    Stage("format", ("ruff", "format", "--check", ".")),
    Stage("spelling", ("tests/spelling",)),
    Stage("headers", ("tests/check_headers",)),
)
