# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of ``make test`` and ``make check``.

The order of a table is the priority: what others wait for and what takes longest comes first. A weight is how many
processors a stage keeps busy; one that waits for HTCondor more than it works has a small one. A limit is no estimate,
but several times what the stage takes on a busy machine: what reaches it hangs.
"""

from __future__ import annotations

from dataclasses import dataclass

PYTEST = ("python", "-m", "pytest", "-q")


@dataclass(frozen=True)
class Stage:
    """One command whose exit code says whether the stage passed.

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


def on_box(scenario: str, *steps: str, every_run: bool = True) -> Stage:
    """Steps of a molecule scenario (its tests) on the box that the scenario ``bare`` has converged."""
    return Stage(
        f"molecule-{scenario}",
        ("tests/on_box", scenario, *steps),
        needs=("molecule-bare",),
        limit=5400,
        holds=("box",),
        every_run=every_run,
    )


# Stages on lab machines.
MOLECULE = (
    Stage("images", ("tests/images",), limit=5400),
    Stage("molecule-bare", ("tests/molecule", "bare", "--destroy", "never"), ("images",), limit=5400, holds=("box",)),
    # A machine of its own: on it nothing is left as it was.
    Stage("molecule-faults", ("tests/molecule", "faults"), ("images",), limit=10800),
    on_box("modules"),
    on_box("bad_input"),
    on_box("drift"),
    on_box("hostile"),
    on_box("kinds", "prepare", "verify"),
    Stage("molecule-default", ("tests/molecule", "default"), ("images",), weight=2, limit=5400),
    on_box("two_experiments", "converge", "verify", "cleanup", every_run=False),
    Stage("molecule-sid", ("tests/molecule", "sid"), ("images",), limit=5400, every_run=False),
)

# Stages that need no lab machine.
NATIVE = (
    Stage("integration", (*PYTEST, "-n", "2", "--dist", "loadgroup", "tests/integration"), limit=3600),
    Stage("sanity", ("tests/sanity/run",), limit=1800),
    Stage("pythons", (*PYTEST, "tests/pythons"), limit=1800),
    Stage("cores", (*PYTEST, "tests/cores"), limit=1200),
    Stage("scenarios", (*PYTEST, "tests/scenarios"), limit=1200),
    Stage("unit", (*PYTEST, "tests/unit"), limit=1200),
    Stage("scenario-table", ("python", "-m", "tests.scenarios.table", "--check"), limit=900),
    Stage("bench", (*PYTEST, "tests/bench"), limit=900),
    Stage("lint", ("tests/lint",)),
    Stage("artifact", ("tests/artifact",)),
)

TEST = (*MOLECULE, *NATIVE)

# Without root and without a network. The scenarios are those that are played fastest and differ most.
CHECK = (
    Stage("unit", (*PYTEST, "-n", "2", "-m", "not slow", "tests/unit"), weight=2),
    Stage("scenarios", (*PYTEST, "tests/scenarios", "-k", "cold_start or no_work or black_holes")),
    Stage("mypy", ("mypy", "src/condor_vac", "plugins", "tests")),
    Stage("syntax", ("ansible-playbook", "--syntax-check", "-i", "localhost,", "playbooks/drain.yml")),
    Stage("yamllint", ("yamllint", "--strict", ".")),
    Stage("ruff", ("ruff", "check", ".")),
    Stage("format", ("ruff", "format", "--check", ".")),
    Stage("headers", ("tests/check_headers",)),
)
