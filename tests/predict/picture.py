# SPDX-License-Identifier: GPL-3.0-or-later
"""Both curves as a picture."""

from __future__ import annotations

import io
from pathlib import Path

from . import course, curves
from .curves import Predicted
from .record import Record

# Colours of Okabe and Ito, which people with any colour vision can distinguish.
COLOURS = {curves.IN_USE: "#0072B2", curves.WORK: "#009E73"}
INCHES = (8.0, 4.0)
LICENCE = "<!-- SPDX-License-Identifier: GPL-3.0-or-later -->"


def draw(path: Path, seen: Record, predicted: Predicted) -> None:
    """Write an SVG that is the same whenever its figures are."""
    from matplotlib import rc_context  # noqa: PLC0415 - a second of start that only this need take
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    looks = [look for look in seen.looks if look.seconds <= predicted.seconds[-1]]
    minutes = [look.seconds / 60 for look in looks]
    figure = Figure(figsize=INCHES, layout="constrained")
    FigureCanvasSVG(figure)
    panel = figure.subplots()
    real = {curves.IN_USE: [look.in_use for look in looks], curves.WORK: [look.working for look in looks]}
    for what, slots in real.items():
        panel.plot(minutes, slots, color=COLOURS[what], linewidth=1.8, label=f"slots {what}: real pool")
        panel.plot(
            [when / 60 for when in predicted.seconds],
            predicted.slots[what],
            color=COLOURS[what],
            linewidth=1.2,
            linestyle="--",
            label=f"slots {what}: simulator",
        )
    panel.axvline(seen.emptied / 60, color="black", linewidth=0.8, linestyle=":", label="end of the work")
    panel.set(xlabel="minutes", ylabel="slots", xlim=(0, predicted.seconds[-1] / 60), ylim=(0, course.TOTAL + 1))
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, fontsize="small")
    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "predict", "path.simplify": True}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    declaration, _, rest = text.getvalue().partition("\n")
    path.write_text(f"{declaration}\n{LICENCE}\n{rest}", "utf-8")
