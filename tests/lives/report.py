# SPDX-License-Identifier: GPL-3.0-or-later
"""What many lives come to: distribution, goals, classes and the worst."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from condor_vac.simulate.play import ORACLE
from tests.lives.score import Score

QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
# The goals: the share of lives that are no worse than so much behind the best peer, the mean, the worst.
BEHIND, IN_SHARE, MEAN, WORST = -0.02, 0.95, 0.05, -0.10
WORST_SHOWN = 10
REPLAY = "python -m tests.lives --seed"

Row = tuple[int, float]  # a seed and its figure


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them is (the nearest one)."""
    return sorted(values)[round(share * (len(values) - 1))]


def goals(scores: Sequence[Score]) -> list[tuple[str, bool]]:
    """Each goal with what was reached, and whether that is enough."""
    values = [each.score for each in scores]
    good, mean, worst = sum(value >= BEHIND for value in values), _mean(values), min(values)
    most = _mean([each.nets[ORACLE] - each.nets[each.best] for each in scores])
    return [
        (f"at least {BEHIND:+.2f}: {good} of {len(values)} ({good / len(values):.1%}; goal {IN_SHARE:.0%})",
         good >= IN_SHARE * len(values)),
        (f"mean: {mean:+.4f} (goal {MEAN:+.2f}; the oracle has {most:+.4f})", mean >= MEAN),
        (f"worst: {worst:+.4f} (goal {WORST:+.2f})", worst >= WORST),
    ]  # fmt: skip


def rules(scores: Sequence[Score]) -> list[tuple[str, bool]]:
    """Each rule with the seeds that break it, and whether none does."""
    broken = {
        "caps exceeded": [each.seed for each in scores if each.cap_violations],
        "working VMs removed": [each.seed for each in scores if each.killed_working],
        "runaways without work": [each.seed for each in scores if each.runaway],
    }
    return [(f"{what}: {', '.join(map(str, seeds)) or 'none'}", not seeds) for what, seeds in broken.items()]


def text(scores: Sequence[Score]) -> str:
    """The whole report."""
    return "\n".join(
        [
            f"{len(scores)} lives. A score is (work - wasted) of ours less that of the best peer,",
            "as a share of the pool's slot time (1 = all slots, all the time).",
            *("", *_distribution(scores)),
            *("", *(f"{'ok  ' if good else 'MISS'}  {what}" for what, good in [*goals(scores), *rules(scores)])),
            *("", *_policies(scores)),
            *("", *worst(scores)),
            *_classes(scores),
        ]
    )


def _distribution(scores: Sequence[Score]) -> list[str]:
    rows = {
        "of the pool": [each.score for each in scores],
        "of the work": [each.of_work for each in scores if each.of_work is not None],
    }
    head = ["quantile", *("min" if not each else "max" if each == 1 else f"{each:.0%}" for each in QUANTILES), "lives"]
    lines = ["".join(f"{word:>8}" if place else f"{word:12}" for place, word in enumerate(head))]
    for name, values in rows.items():
        if values:
            cells = "".join(f"{quantile(values, each):>+8.3f}" for each in QUANTILES)
            lines.append(f"{name:12}{cells}{len(values):>8}")
    return lines


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _policies(scores: Sequence[Score]) -> list[str]:
    """Each policy in all lives: the oracle is about as far ahead of the best peer of each life as could be had."""
    best = Counter(each.best for each in scores)
    lines = [f"{'policy':12}{'mean net of the pool':>22}{'less the best peer':>20}{'best peer in':>14}"]
    for name in scores[0].nets:
        nets = [each.nets[name] for each in scores]
        behind = [each.nets[name] - each.nets[each.best] for each in scores]
        lines.append(f"{name:12}{_mean(nets):>+22.4f}{_mean(behind):>+20.4f}{best[name] or '':>14}")
    return lines


def worst(scores: Sequence[Score]) -> list[str]:
    """The worst lives, what each is, who loses there, and how to play it again."""
    lines = [f"The worst {min(WORST_SHOWN, len(scores))}:"]
    for each in sorted(scores, key=lambda one: one.score)[:WORST_SHOWN]:
        lines += [f"{each.score:+.4f}  {each.line}", *details(each), f"         {REPLAY} {each.seed} --show"]
    return lines


def details(each: Score) -> list[str]:
    """The policies' nets in one life, and its machinetypes' parts of the score."""
    others = {name: net for name, net in each.nets.items() if name != ORACLE}
    nets = ", ".join(f"{name} {net:.3f}" for name, net in sorted(others.items(), key=lambda item: -item[1]))
    parts = ", ".join(f"{part.name} {part.score:+.4f}" for part in each.parts)
    return [f"         net of the pool: {nets} (oracle {each.nets[ORACLE]:.3f})", f"         by machinetype: {parts}"]


def _classes(scores: Sequence[Score]) -> list[str]:
    """A table for each sort of label; characters and demands by the parts of the machinetypes that have them."""
    parts = [(each.seed, part) for each in scores for part in each.parts]
    tables = {
        "character": [(part.character, seed, part.score) for seed, part in parts],
        "demand": [(part.demand, seed, part.score) for seed, part in parts],
        "trouble": [(name, each.seed, each.score) for each in scores for name in each.troubles or ("(none)",)],
        "limits": [(each.limits, each.seed, each.score) for each in scores],
        "pool": [(label, each.seed, each.score) for each in scores for label in each.pool],
        "experiments": [(str(len(each.parts)), each.seed, each.score) for each in scores],
    }
    return [line for title, rows in tables.items() for line in ("", *_table(title, rows))]


def _table(title: str, rows: Iterable[tuple[str, int, float]]) -> list[str]:
    found: dict[str, list[Row]] = defaultdict(list)
    for label, seed, value in rows:
        found[label].append((seed, value))
    lines = [f"{title:26}{'number':>7}{'mean':>9}{'behind':>8}{'worst':>9}  seed"]
    means = {label: _mean([value for _, value in values]) for label, values in found.items()}
    for label, values in sorted(found.items(), key=lambda item: means[item[0]]):
        seed, least = min(values, key=lambda row: row[1])
        behind = sum(value < BEHIND for _, value in values)
        lines.append(f"{label:26}{len(values):>7}{means[label]:>+9.4f}{behind:>8}{least:>+9.4f}  {seed}")
    return lines
