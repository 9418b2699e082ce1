# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's watch, on a pool that is made up."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.demo import watch as module
from tests.demo.patience import Patience
from tests.demo.pool import Look, PoolError, lines
from tests.demo.sample import Sample
from tests.demo.screen import Screen
from tests.demo.watch import Watch
from tests.unit.demo import story


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class MadeUpPool:
    """A pool in which the story happens; ``deaf`` is how often its queues do not hear that the work ends."""

    def __init__(self, clock: Clock, samples: Sequence[Sample | None], deaf: int = 0) -> None:
        self.clock = clock
        self.samples = samples
        self.deaf = deaf
        self.trouble = ""
        self.ended: list[float] = []

    @contextmanager
    def looks(self, names: Sequence[str], seconds: int) -> Iterator[Iterator[Look | None]]:
        assert tuple(names) == ("alpha", "beta")
        yield self._looks()

    def _looks(self) -> Iterator[Look | None]:
        for sample in self.samples:
            self.clock.now = sample.seconds if sample else self.clock.now + 1
            yield sample.experiments if sample else None
        raise PoolError("the status of the factories ended with 255")

    def end_work(self, names: Sequence[str]) -> bool:
        self.deaf -= 1
        self.ended.append(self.clock.now)
        return self.deaf < 0


def watched(pool: MadeUpPool, *, terminal: bool = False) -> tuple[Watch, io.StringIO]:
    stream = io.StringIO()
    screen = Screen(stream, terminal=terminal, clock=pool.clock)
    screen.started = 0.0
    return Watch(screen, pool, story.WORK_FOR), stream  # type: ignore[arg-type]


def test_it_ends_the_work_when_all_vms_are_at_it_and_itself_when_all_is_over() -> None:
    pool = MadeUpPool(Clock(), story.samples(end=1000))
    watch, _ = watched(pool)
    watch.run()
    assert (pool.ended, watch.work_ended, watch.samples[-1].seconds) == ([168.0], 168.0, 220.0)


def test_a_queue_that_does_not_answer_is_asked_again() -> None:
    pool = MadeUpPool(Clock(), story.samples(end=1000), deaf=2)
    watch, _ = watched(pool)
    watch.run()
    assert (pool.ended, watch.work_ended) == ([168.0, 170.0, 172.0], 172.0)


def test_without_a_terminal_each_decision_and_each_change_is_a_line() -> None:
    pool = MadeUpPool(Clock(), story.samples(end=1000))
    watch, stream = watched(pool)
    watch.run()
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "[ 118 s] alpha: +3 VMs. 2 VMs found work (2 working now): growing up to the caps. Submitting 3.\n" in text
    assert "[ 168 s] 6 VMs at work at once." in text
    assert "[ 160 s] alpha: tasks 0 left, 4 at work, 26 done; VMs 0 idle, 5 running, 2 works; ended -\n" in text
    assert (
        "  alpha's factory: No VM finds work: probing every 15 min (at most 2 VMs in 30 min). Submitting none.\n"
        in text
    )
    times = [float(line[1:6]) for line in text.splitlines() if line.startswith("[")]
    assert max(later - earlier for earlier, later in zip(times, times[1:])) <= 11
    assert len(times) < 60


def test_on_a_terminal_decisions_stay_above_the_table() -> None:
    pool = MadeUpPool(Clock(), story.samples(end=1000))
    watch, stream = watched(pool, terminal=True)
    watch.run()
    text = stream.getvalue()
    assert text.count("+3 VMs") == 1
    assert text.count("Growth: ") >= len([sample for sample in watch.samples if sample.seconds < 168])
    assert "tasks 0 left" not in text


def test_a_pool_that_does_not_answer_any_more_fails() -> None:
    pool = MadeUpPool(Clock(), story.samples(end=150))
    watch, _ = watched(pool)
    with pytest.raises(PoolError, match="ended with 255"):
        watch.run()
    assert watch.samples[-1].seconds == 150


@pytest.mark.parametrize(("trouble", "printed"), [("", "nothing has happened"), ("no queue", "no queue")])
def test_a_pool_in_which_nothing_happens_fails(trouble: str, printed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "Patience", lambda: Patience(100, clock, lambda: 1.0))
    stuck = story.samples(end=140)
    pool = MadeUpPool(clock, [*stuck, *[None] * 1000])
    pool.trouble = trouble
    watch, _ = watched(pool)
    with pytest.raises(PoolError, match=printed):
        watch.run()
    assert 230 < clock.now < 245


def test_lines_of_a_stream_and_the_seconds_without_any() -> None:
    assert list(lines(io.StringIO("a\nb\n"), 60)) == ["a\n", "b\n"]
    inner, outer = os.pipe()
    with open(inner) as stream, open(outer, "w") as other:
        found = lines(stream, 0.01)
        assert next(found) is None
        other.write("late\n")
        other.flush()
        assert next(line for line in found if line) == "late\n"
        other.close()
        assert [line for line in found if line] == []
