# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots over time, one panel per scenario and policy, drawn with matplotlib (Debian: python3-matplotlib)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from condor_vac.base.errors import UsageError, VacError
from condor_vac.simulate.scenario import Scenario

FORMATS = (".png", ".svg", ".pdf")
_MISSING = (
    "--plot: matplotlib is missing; install python3-matplotlib (Debian, Enterprise Linux with EPEL) or leave --plot out"
)
# Colours of Okabe and Ito, which people with any colour vision can distinguish.
_BANDS = (
    ("working", "#009E73"),
    ("asking or waiting", "#E69F00"),
    ("starting", "#56B4E9"),
    ("idle in the queue", "#BBBBBB"),
)


def check(name: str) -> None:
    """That a plot can be made under this name, before hours are simulated. Raises UsageError, VacError."""
    if os.path.splitext(name)[1].lower() not in FORMATS:
        raise UsageError(f"--plot: {name}: give a name that ends with {', '.join(FORMATS)}")
    if not os.path.isdir(os.path.dirname(name) or "."):
        raise UsageError(f"--plot: {name}: its directory does not exist; create it first")
    try:
        import matplotlib  # noqa: F401, PLC0415 - for --plot only, and not on every machine
    except ImportError as error:
        raise VacError(_MISSING) from error


def draw(name: str, results: Sequence[tuple[Scenario, Mapping[str, Any]]]) -> None:
    """Write the picture: a column per scenario, a row per policy. Raises VacError if it cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - see check
    from matplotlib.figure import Figure  # noqa: PLC0415

    policies = list(results[0][1]["policies"])
    figure = Figure(figsize=(3 + 6.5 * len(results), 1.2 + 1.9 * len(policies)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(policies), len(results), squeeze=False, sharex="col", sharey="col")
    for column, (scenario, result) in enumerate(results):
        for row, policy in enumerate(policies):
            _panel(panels[row][column], scenario, policy, result["policies"][policy])
        panels[0][column].set_title(f"{scenario.name}\n", fontsize="large", fontweight="bold")
        panels[0][column].text(0.0, 1.04, _headline(policies[0], result), transform=panels[0][column].transAxes)
        panels[-1][column].set_xlabel("hours")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), frameon=False)
    try:
        figure.savefig(name, dpi=120)
    except OSError as error:
        raise VacError(f"--plot: {name}: cannot write: {error.strerror}; check space and permissions") from error


def _headline(policy: str, result: Mapping[str, Any]) -> str:
    found = result["policies"][policy]
    if found["net"] is None:
        return f"{policy}: no work, {found['vm_starts']} VMs started"
    return f"{policy}: net {found['net']:.3f}, {found['wasted_starts']} starts without work"


def _panel(panel: Any, scenario: Scenario, policy: str, found: Mapping[str, Any]) -> None:
    hours, bands = slots(scenario, found)
    panel.stackplot(
        hours, bands, labels=[label for label, _colour in _BANDS], colors=[colour for _label, colour in _BANDS]
    )
    panel.axhline(scenario.nodes.total, color="black", linewidth=0.8, linestyle=":", label="slots of the pool")
    if not panel.get_subplotspec().is_first_row():
        panel.set_title(_headline(policy, {"policies": {policy: found}}), loc="left", fontsize="medium")
    panel.set_xlim(0, scenario.duration / 3600)
    panel.set_ylim(bottom=0)
    panel.set_ylabel("slots")
    panel.spines[["top", "right"]].set_visible(False)


def slots(scenario: Scenario, found: Mapping[str, Any]) -> tuple[list[float], list[list[int]]]:
    """Hours, and for each band of the picture the slots in it: processors times VMs of every machinetype."""
    hours = [row["seconds"] / 3600 for row in found["timeline"]]
    bands = [[0] * len(hours) for _band in _BANDS]
    for name, figures in found["per_machinetype"].items():
        processors = scenario.by_name[name].processors
        for place, row in enumerate(figures["timeline"]):
            running, working = row["running"], row["working"]
            for band, vms in zip(bands, (working, running - working, row["starting"], row["idle"])):
                band[place] += processors * vms
    return hours, bands
