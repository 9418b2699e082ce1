# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo as a picture: each VM's life, how many there were, and the tasks, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .pool import Record
from .sample import NO_WORK, SUCCESS, Sample, made
from .verdict import host, vm_name

# Colours that people with colour blindness can distinguish (Okabe and Ito), and paler ones of the same hue.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
PALE = ("#A9CBE3", "#F2C3A0", "#A3D9C9", "#EBC9DA")
CODES = {SUCCESS: "200 success", NO_WORK: "300 no work"}
INCHES = (11, 9)
DPI = 110


@dataclass(frozen=True)
class Life:
    """One VM's times in seconds since the demo began: submitted, job started, VM's power on and off, job over."""

    label: str
    name: str
    submitted: float
    started: float
    on: float
    off: float
    over: float
    code: str


def lives(records: Sequence[Record], began: float) -> list[Life]:
    """The VMs of the records in the order of their starts; ``began`` is the demo's begin (Unix s).

    A record without a start or an end is left out; without times of the VM itself, those of its job stand for them.
    """
    found = []
    for ad in records:
        times = [ad.get(key) for key in ("QDate", "JobStartDate", "CompletionDate")]
        if not all(times):
            continue
        submitted, started, over = (float(time) - began for time in times if time)
        on = float(ad["VacStarted"]) - began if ad.get("VacStarted") else started
        off = float(ad["VacEnded"]) - began if ad.get("VacEnded") else over
        name, code = str(ad.get("VacMachinetype", "?")), str(ad.get("ShutdownCode", "?"))
        label = f"{name} {vm_name(ad)} on {host(ad)}"
        found.append(Life(label, name, submitted, started, on, off, over, CODES.get(code, code)))
    return sorted(found, key=lambda life: (life.started, life.label))


def curves(samples: Sequence[Sample]) -> tuple[list[float], dict[str, dict[str, list[int]]]]:
    """The times of the samples, and for each experiment a list of the same length for each of its numbers."""
    names = samples[-1].experiments if samples else {}
    numbers = ("idle", "running", "works", "alive", "left", "at_work", "done")
    values = {
        name: {what: [int(getattr(sample.experiments[name], what)) for sample in samples] for what in numbers}
        for name in names
    }
    return [sample.seconds for sample in samples], values


def draw(
    path: Path, samples: Sequence[Sample], records: Sequence[Record], began: float, work_ended: float | None
) -> None:
    """Write the picture; ``work_ended`` is when the tasks stopped following each other (seconds; None: never)."""
    # A second of start that only a demo that has come so far need take.
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    each = lives(records, began)
    times, values = curves(samples)
    colours = dict(zip(values, COLOURS))
    heights = (max(2.0, 0.36 * len(each)), 2.6, 2.0)
    figure, panels = pyplot.subplots(3, 1, sharex=True, figsize=INCHES, height_ratios=heights, layout="constrained")
    _draw_lives(panels[0], each, dict(zip(values, zip(COLOURS, PALE))))
    _draw_machines(panels[1], times, values, colours, samples)
    _draw_tasks(panels[2], times, values, colours)
    for number, panel in enumerate(panels):
        panel.grid(axis="x", color="#dddddd", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        if work_ended is not None:
            panel.axvline(work_ended, color="black", linewidth=1, linestyle=":")
            if number == 0:
                panel.annotate(
                    "no more tasks follow", (work_ended, 1), (3, 3), xycoords=("data", "axes fraction"),
                    textcoords="offset points", fontsize="small", va="bottom",
                )  # fmt: skip
    panels[2].set_xlabel("seconds since the demo began")
    first = min((life.submitted for life in each), default=0.0)
    panels[2].set_xlim(max(0.0, first - 10), max([*times, *(life.over for life in each), first + 1]) + 5)
    figure.suptitle("VMs that nobody submitted: made while there is work, and not any more when there is none")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    pyplot.close(figure)


def _draw_lives(panel: Any, each: Sequence[Life], colours: Mapping[str, tuple[str, str]]) -> None:
    """A line for each VM: thin while its job waits, pale while HTCondor starts or ends it, full while the VM is on."""
    for row, life in enumerate(each):
        full, pale = colours.get(life.name, ("#555555", "#bbbbbb"))
        panel.barh(row, life.started - life.submitted, left=life.submitted, height=0.12, color=pale)
        panel.barh(row, life.over - life.started, left=life.started, height=0.6, color=pale)
        panel.barh(row, life.off - life.on, left=life.on, height=0.6, color=full)
        panel.annotate(
            life.code, (life.over, row), (4, 0), textcoords="offset points", va="center", fontsize="small", color=full
        )
    panel.set_yticks(range(len(each)), [life.label for life in each], fontsize="small")
    panel.invert_yaxis()
    panel.set_title(
        "each VM, from HTCondor's records (thin: waits; pale: HTCondor starts it and notices its end; full: it is on)",
        loc="left", fontsize="medium", pad=16,
    )  # fmt: skip


def _draw_machines(
    panel: Any,
    times: Sequence[float],
    values: Mapping[str, Mapping[str, Sequence[int]]],
    colours: Mapping[str, str],
    samples: Sequence[Sample],
) -> None:
    """How many VMs run, one experiment upon the other, and what each decision of a factory made."""
    alive = _stack(panel, times, [(name, values[name]["running"], values[name]["idle"]) for name in colours], colours)
    most = max([*alive, 1])
    for order, (name, colour) in enumerate(colours.items()):
        for one in (one for one in made(samples) if one.name == name):
            panel.annotate(
                f"+{one.number}", (one.seconds, most + 1 + order), ha="center", va="center", fontsize="small",
                color="white", bbox={"boxstyle": "round,pad=0.25", "color": colour},
            )  # fmt: skip
    panel.set_ylim(0, most + 1 + len(colours))
    panel.set_yticks(range(0, most + 1, max(1, most // 4)))
    panel.set_title("VMs that run, and how many more the factories decided to make", loc="left", fontsize="medium")
    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small")


def _draw_tasks(
    panel: Any,
    times: Sequence[float],
    values: Mapping[str, Mapping[str, Sequence[int]]],
    colours: Mapping[str, str],
) -> None:
    """The tasks that wait and those that are at work; only the experiment knows them."""
    _stack(panel, times, [(name, values[name]["at_work"], values[name]["left"]) for name in colours], colours)
    done = ", ".join(f"{name} {values[name]['done'][-1]}" for name in colours if values[name]["done"])
    panel.set_ylim(bottom=0)
    panel.yaxis.get_major_locator().set_params(integer=True)
    panel.set_title(
        f"the experiments' tasks, which no factory sees (done at the end: {done})", loc="left", fontsize="medium"
    )
    panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize="small")


def _stack(
    panel: Any,
    times: Sequence[float],
    parts: Sequence[tuple[str, Sequence[int], Sequence[int]]],
    colours: Mapping[str, str],
) -> list[int]:
    """Areas of (experiment, active, waiting), active ones one upon the other; a line, returned, for all together."""
    below = [0] * len(times)
    for name, active, _ in parts:
        top = [low + more for low, more in zip(below, active)]
        panel.fill_between(times, below, top, step="post", color=colours[name], alpha=0.85, linewidth=0, label=name)
        below = top
    waiting = [sum(numbers) for numbers in zip(*(waiting for _, _, waiting in parts))]
    total = [low + more for low, more in zip(below, waiting)]
    panel.step(times, total, where="post", color="black", linewidth=1, label="and those that wait")
    return total
