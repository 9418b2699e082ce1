# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides which stages run at the same time, and ends those that hang.

One loop starts, watches and ends everything, so that nothing here is shared between threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.run.running import Place, Running
from tests.run.stages import Stage

PASSED, FAILED, HUNG, ENDED, NOT_RUN = "passed", "FAILED", "HUNG", "ended", "not run"
POLL_SECONDS = 0.1
PROGRESS_SECONDS = 60
# How long a stage may take to clean up once it was asked to end.
GRACE_SECONDS = 120


@dataclass(frozen=True)
class Result:
    """How a stage ended (one of the words above), and its seconds."""

    word: str
    seconds: float = 0.0


@dataclass
class _Watched:
    running: Running
    next_progress: float
    word: str = ""
    killed_at: float = 0.0


class Scheduler:
    """Runs stages and keeps how they ended in ``results``, in the order of their ends."""

    def __init__(
        self, place: Place, processors: float, say: Callable[[str], None], grace: float = GRACE_SECONDS
    ) -> None:
        self.place = place
        self.processors = processors
        self.say = say
        self.grace = grace
        self.results: dict[str, Result] = {}
        self.stopping = 0
        self._waiting: list[Stage] = []
        self._watched: dict[str, _Watched] = {}

    def stop(self, *_: object) -> None:
        """For signals: end what runs and start nothing more; at the second one without any grace."""
        self.stopping += 1

    def run(self, wanted: Sequence[Stage]) -> dict[str, Result]:
        """The stages; returns how each ended. A failed one stops only those that need it."""
        self._waiting = list(wanted)
        while self._waiting or self._watched:
            if self.stopping:
                self._stop_all()
            self._start_all()
            time.sleep(POLL_SECONDS)
            for watched in list(self._watched.values()):
                self._look(watched)
        return self.results

    def _start_all(self) -> None:
        """Start in the order of the table. The first that lacks only room keeps its turn: none overtakes it."""
        for stage in tuple(self._waiting):
            if self._lost(stage):
                self._waiting.remove(stage)
            elif self._ready(stage):
                if not self._room(stage):
                    return
                self._waiting.remove(stage)
                self._start(stage)

    def _lost(self, stage: Stage) -> bool:
        for need in stage.needs:
            if need in self.results and self.results[need].word != PASSED:
                self.say(f"{stage.name}: not run, because {need} did not pass")
                self.results[stage.name] = Result(NOT_RUN)
                return True
        return False

    def _ready(self, stage: Stage) -> bool:
        unfinished = {*self._watched, *(one.name for one in self._waiting)}
        held = {name for watched in self._watched.values() for name in watched.running.stage.holds}
        return not unfinished & set(stage.needs) and not held & set(stage.holds)

    def _room(self, stage: Stage) -> bool:
        taken = sum(watched.running.stage.weight for watched in self._watched.values())
        return not self._watched or taken + stage.weight <= self.processors

    def _start(self, stage: Stage) -> None:
        self.say(f"{stage.name}: started ({' '.join(stage.argv)})")
        try:
            running = Running(stage, self.place)
        except OSError as error:
            self.place.log(stage.name).write_text(f"{error}\n", "utf-8")
            self.say(f"{stage.name}: FAILED: cannot be started: {error}")
            self.results[stage.name] = Result(FAILED)
            return
        self._watched[stage.name] = _Watched(running, PROGRESS_SECONDS)

    def _look(self, watched: _Watched) -> None:
        running, name = watched.running, watched.running.stage.name
        status = running.status()
        if status is not None:
            self._end(watched, watched.word or (FAILED if status else PASSED))
        elif watched.word:
            if time.monotonic() >= watched.killed_at or self.stopping > 1:
                self._end(watched, watched.word)
        elif running.seconds > running.stage.limit:
            self.say(f"{name}: HUNG: not over after its limit of {running.stage.limit:.0f} s: ending it")
            self._interrupt(watched, HUNG)
        elif running.seconds > watched.next_progress:
            watched.next_progress += PROGRESS_SECONDS
            self.say(f"{name}: running for {running.seconds:.0f} s: {self.place.last_line(name)}")

    def _interrupt(self, watched: _Watched, word: str) -> None:
        watched.word = word
        watched.killed_at = time.monotonic() + self.grace
        watched.running.interrupt()

    def _end(self, watched: _Watched, word: str) -> None:
        running, name = watched.running, watched.running.stage.name
        del self._watched[name]
        # What ended by itself may leave machines for the stages after it; what was ended leaves nothing.
        if watched.word and (killed := running.kill()):
            self.say(f"{name}: killed {', '.join(f'{one.name} ({one.pid})' for one in killed)}")
        self.results[name] = Result(word, running.seconds)
        self.say(f"{name}: {word} after {running.seconds:.0f} s: {self.place.last_line(name)}")
        if word in {FAILED, HUNG}:
            self.say(f"{name}: the end of {self.place.log(name)}\n{self.place.tail(name)}")

    def _stop_all(self) -> None:
        for stage in self._waiting:
            self.results[stage.name] = Result(NOT_RUN)
        self._waiting.clear()
        for watched in self._watched.values():
            if not watched.word:
                self._interrupt(watched, ENDED)
