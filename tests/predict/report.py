# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen beside what was predicted, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from . import course, curves
from .curves import Difference, Predicted
from .record import Record
from .times import Times


def too_far(found: Sequence[Difference]) -> list[Difference]:
    """The moments at which the curves differ by too much."""
    return [each for each in found if each.share(course.TOTAL) >= curves.LIMIT]


def lines(seen: Record, times: Times, predicted: Predicted, found: Sequence[Difference]) -> list[str]:
    """Tables of the curves, of the times, and the moments at which they differ by too much."""
    far = too_far(found)
    return [
        *_table(seen, predicted, found),
        "",
        *_times(times),
        "",
        *(
            f"{each.seconds:.0f} s: {each.seen} slots {each.what}, {each.predicted:.1f} predicted "
            f"({100 * each.share(course.TOTAL):.0f} % of the pool)"
            for each in far
        ),
        f"{len(far)} of {len(found)} differences are {100 * curves.LIMIT:.0f} % of the pool or more."
        if far
        else f"All {len(found)} differences are below {100 * curves.LIMIT:.0f} % of the pool: the prediction holds.",
    ]


def _table(seen: Record, predicted: Predicted, found: Sequence[Difference]) -> list[str]:
    wanted = 0.9 * course.TOTAL
    lost = [life for life in seen.lives if life.host == course.HOLE]
    avoided = next((look.seconds for look in seen.looks if course.HOLE in look.avoided), None)
    rows = [
        (
            "90 % of the slots work after",
            _seconds(curves.seconds_to(seen.looks, wanted)),
            _seconds(curves.predicted_to(predicted, wanted)),
        ),
        ("the black hole is avoided after", _seconds(avoided), _seconds(predicted.avoided)),
        ("VMs lost to the black hole", f"{len(lost)}", f"{predicted.lost:g}"),
        (
            "slots in use, minutes after the end of the work",
            *(_after_work(seen, predicted, one) for one in (True, False)),
        ),
    ]
    for what in (curves.IN_USE, curves.WORK):
        worst = curves.greatest(found, what, course.TOTAL)
        share = 100 * worst.share(course.TOTAL)
        rows.append(
            (
                f"slots {what}: greatest difference",
                f"{worst.seen} at {worst.seconds:.0f} s",
                f"{worst.predicted:.1f} ({share:.0f} %)",
            )
        )
    return [_row("", "seen", "predicted"), _row("---", "--:", "--:"), *(_row(*row) for row in rows)]


def _after_work(seen: Record, predicted: Predicted, real: bool) -> str:
    """Slots in use at each whole second minute after the task queue was emptied."""
    words = []
    for minute in range(2, int((course.DURATION_SECONDS - seen.emptied) // 60) + 1, 2):
        moment = seen.emptied + 60 * minute
        if real:
            look = min(seen.looks, key=lambda each: abs(each.seconds - moment))
            words.append(f"{minute}: {look.in_use}")
        else:
            words.append(f"{minute}: {predicted.at(curves.IN_USE, moment):.1f}")
    return ", ".join(words)


def _times(times: Times) -> list[str]:
    evidence = times.evidence_seconds
    rows = [
        ("`start_seconds`", _pair(times.start_seconds)),
        ("`first_start_seconds`", f"{times.first_start_seconds:.0f}"),
        ("evidence, from the first task (`evidence_seconds`)", _pair(evidence) if evidence else "not seen"),
        ("from no task to the job's end (`idle_seconds`)", _pair(times.end_seconds)),
        ("a VM's life on the black hole, first and later", f"{times.first_hole_seconds:.0f}, {times.hole_seconds:.0f}"),
        ("`negotiation_interval`", f"{times.negotiation_interval:.0f}"),
    ]
    return [_row("measured in the pool", "s"), _row("---", "--:"), *(_row(*row) for row in rows)]


def _pair(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.0f} to {pair[1]:.0f}"


def _seconds(when: float | None) -> str:
    return "never" if when is None else f"{when:.0f} s"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
