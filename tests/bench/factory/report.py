# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench's figures as tables: ours, HTCondorVMs', and how many times cheaper ours is."""

from __future__ import annotations

from typing import Any

_COLUMNS = (
    *("other jobs", "VMs", "ours: wall", "client", "schedd", "HTCondorVMs: wall", "client", "schedd"),
    *("wall ratio", "CPU ratio", "submit/s: ours", "HTCondorVMs", "wall ratio", "CPU ratio"),
)


def show(result: dict[str, Any]) -> str:
    """Both tables, as Markdown; times of one cycle in milliseconds."""
    head = f"HTCondor {result['condor']} ({result['suite']}), {result['cpus']} processors; one cycle, milliseconds"
    parts = [head]
    own = "more VMs of our own" + (f", {result['damaged']} of them with a damaged ad" if result["damaged"] else "")
    for key, title in (("foreign", "more jobs of others"), ("own", own)):
        lines = [_line(_COLUMNS), _line("-" * 3 for _ in _COLUMNS), *(_line(_row(step)) for step in result[key])]
        parts.append("\n".join([f"{title}:", "", *lines]))
    return "\n\n".join(parts)


def ratios(step: dict[str, Any]) -> dict[str, float]:
    """HTCondorVMs' cost divided by ours: wall clock and CPU (client and schedd) of a cycle and of a submission."""
    ours, seed = step["cycle"]["ours"], step["cycle"]["seed"]
    submits = step["submit"]
    return {
        "wall": seed["wall"] / ours["wall"],
        "cpu": _cpu(seed) / _cpu(ours),
        "submit": submits["seed"]["wall"] / submits["ours"]["wall"],
        "submit_cpu": _cpu(submits["seed"]) / _cpu(submits["ours"]),
    }


def _cpu(cost: dict[str, float]) -> float:
    return cost["client"] + cost["schedd"]


def _row(step: dict[str, Any]) -> list[str]:
    costs = [step["cycle"][who][what] for who in ("ours", "seed") for what in ("wall", "client", "schedd")]
    ratio = ratios(step)
    rates = [f"{step['submitted'] / step['submit'][who]['wall']:.0f}" for who in ("ours", "seed")]
    return [
        str(step["foreign"]),
        str(step["own"]),
        *(f"{cost * 1000:.1f}" for cost in costs),
        f"{ratio['wall']:.1f}",
        f"{ratio['cpu']:.1f}",
        *rates,
        f"{ratio['submit']:.0f}",
        f"{ratio['submit_cpu']:.0f}",
    ]


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"
