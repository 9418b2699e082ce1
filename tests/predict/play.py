# SPDX-License-Identifier: GPL-3.0-or-later
"""A real pool plays the scenario: what is done to it and when, and what is seen."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.demo.own_lab import HEAD
from tests.demo.screen import Screen
from tests.soak.pool import NotDoneError, Pool

from . import course, record

INSIDE = Path(__file__).resolve().parent / "inside.py"
FACTORY = "'VacFactory =?= \"work\"'"
LOOK_EVERY_SECONDS = 10.0
# From its release to the factory's first decision.
BEGIN_SECONDS = 300.0
# Its VMs cannot reach the experiment's task queue, as behind a wrong firewall.
BLACK_HOLE = (
    "nft -f - <<'END'\ntable inet black_hole {\n chain forward {\n"
    "  type filter hook forward priority -10; policy accept;\n  tcp dport 8080 drop\n }\n}\nEND"
)


class Play:
    """The pool while it plays; what is seen goes to the screen and, as it is seen, to the file ``raw``."""

    def __init__(self, pool: Pool, screen: Screen, raw: Path) -> None:
        self._pool, self._screen, self._raw = pool, screen, raw
        self._looks: list[Mapping[str, Any]] = []

    def run(self) -> record.Record:
        """From the first decision to the end. Raises NotDoneError."""
        self._raw.write_text("", "utf-8")
        self._pool.run(course.NODES[course.HOLE], BLACK_HOLE)
        self._inside("fill", *map(str, course.TASKS))
        self._pool.run(HEAD, f"condor_release -constraint {FACTORY}")
        began = self._first_decision()
        emptied = 0.0
        while (now := time.time()) < began + course.DURATION_SECONDS:
            if not emptied and now >= began + course.EMPTIED_SECONDS:
                withdrawn = self._inside("empty")["withdrawn"]
                emptied = time.time()
                self._say(f"the task queue is emptied: {withdrawn} tasks are withdrawn")
            self._look(began)
            due = now + LOOK_EVERY_SECONDS
            due = due if emptied else min(due, began + course.EMPTIED_SECONDS)
            time.sleep(max(0.0, due - time.time()))
        end = self._inside("end")
        self._keep(end)
        return record.of_pool(self._looks, end, began, emptied)

    def _first_decision(self) -> float:
        deadline = time.monotonic() + BEGIN_SECONDS
        while time.monotonic() < deadline:
            decided = self._inside("look")["decided"]
            if decided is not None:
                return float(decided)
            time.sleep(1)
        raise NotDoneError(f"the factory has decided nothing within {BEGIN_SECONDS:.0f} s")

    def _look(self, began: float) -> None:
        """Look once; a look that fails is missing, and the play goes on."""
        try:
            found = self._inside("look")
        except NotDoneError as error:
            self._say(str(error))
            return
        self._looks.append(found)
        self._keep(found)
        avoided = f", avoided: {', '.join(found['avoided'])}" if found["avoided"] else ""
        self._say(
            f"{found['time'] - began:4.0f} s: {found['idle']} idle, {found['in_use']} in use, "
            f"{found['working']} working, {len(found['shown'])} seen to work{avoided}"
        )

    def _inside(self, *words: str) -> Any:
        return json.loads(self._pool.run(HEAD, f"python3 - {' '.join(words)}", INSIDE.read_text("utf-8")))

    def _keep(self, what: Mapping[str, Any]) -> None:
        with self._raw.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(what) + "\n")

    def _say(self, text: str) -> None:
        self._screen.say(self._screen.stamp(text))
