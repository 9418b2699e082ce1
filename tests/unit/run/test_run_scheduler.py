# SPDX-License-Identifier: GPL-3.0-or-later
"""The scheduler of ``make test``: which stages run, in what order, beside which, and how they end."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.run import processes, scheduler
from tests.run.running import Place, Running
from tests.run.scheduler import ENDED, FAILED, HUNG, NOT_RUN, PASSED, Scheduler
from tests.run.stages import Stage

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow

# Long for a test that waits for it to end by itself; every wait of the tests is shorter than it.
FOREVER = "import time; time.sleep(600)"
WAIT_SECONDS = 120


class Site:
    """A scheduler for one test, what it printed, and marks that stages leave."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.printed: list[str] = []
        self.place = Place(directory / "logs", f"{directory}:{os.getpid()}")
        self.place.logs.mkdir()
        self.scheduler = self.of(processors=2)

    def of(self, *, processors: float, grace: float = 60) -> Scheduler:
        self.scheduler = Scheduler(self.place, processors, self.printed.append, grace)
        return self.scheduler

    def words(self, *stages: Stage) -> dict[str, str]:
        return {name: result.word for name, result in self.scheduler.run(stages).items()}

    def mark(self, name: str) -> Path:
        return self.directory / name

    def started(self) -> list[str]:
        return [line.split(":")[0] for line in self.printed if ": started (" in line]

    def wait_for(self, *names: str) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while not all(self.mark(name).exists() for name in names):
            assert time.monotonic() < end, names
            time.sleep(0.02)

    def when(self, names: tuple[str, ...], act: Callable[[], None]) -> threading.Thread:
        """Do something once the marks are there."""

        def wait() -> None:
            self.wait_for(*names)
            act()

        thread = threading.Thread(target=wait)
        thread.start()
        return thread


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(scheduler, "POLL_SECONDS", 0.01)
    made = Site(tmp_path)
    yield made
    processes.kill(lambda process: process.run == made.place.run)


def stage(
    name: str, code: str = "", needs: tuple[str, ...] = (), weight: float = 1, limit: float = 600, holds: str = ""
) -> Stage:
    return Stage(name, (sys.executable, "-c", code), needs, weight, limit, (holds,) if holds else ())


def touch(path: Path) -> str:
    return f"open({str(path)!r}, 'w').close()\n"


def meet(mine: Path, other: Path) -> str:
    """Passes only if the stage that makes *other* runs at the same time."""
    return touch(mine) + (
        "import os, time\n"
        f"for _ in range({WAIT_SECONDS * 20}):\n"
        f"    if os.path.exists({str(other)!r}): break\n"
        "    time.sleep(0.05)\n"
        "else: raise SystemExit('alone')\n"
    )


def alone(busy: Path) -> str:
    """Passes only if no other such stage runs at the same time."""
    return f"import os, time; os.mkdir({str(busy)!r}); time.sleep(0.2); os.rmdir({str(busy)!r})"


def test_what_there_is_room_for_runs_at_the_same_time(site: Site) -> None:
    one, other = site.mark("one"), site.mark("other")
    assert site.words(stage("a", meet(one, other)), stage("b", meet(other, one))) == {"a": PASSED, "b": PASSED}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processors", "weights"), [(1, [1, 1, 1]), (2, [1.5, 1, 1.5]), (2.5, [2, 1, 2]), (1, [0.7, 0.7, 0.7])]
)
def test_what_there_is_no_room_for_waits(site: Site, processors: float, weights: list[float]) -> None:
    site.of(processors=processors)
    stages = [stage(name, alone(site.mark("busy")), weight=weight) for name, weight in zip("abc", weights)]
    assert site.words(*stages) == dict.fromkeys("abc", PASSED)
    assert site.started() == list("abc")


def test_small_weights_share_a_processor(site: Site) -> None:
    site.of(processors=1)
    one, other = site.mark("one"), site.mark("other")
    assert site.words(stage("a", meet(one, other), weight=0.5), stage("b", meet(other, one), weight=0.5)) == {
        "a": PASSED,
        "b": PASSED,
    }


@pytest.mark.slow
def test_a_stage_that_is_larger_than_the_machine_runs_alone(site: Site) -> None:
    site.of(processors=2)
    busy = site.mark("busy")
    assert site.words(
        *(stage(name, alone(busy), weight=weight) for name, weight in (("a", 1), ("b", 9), ("c", 1)))
    ) == {
        "a": PASSED,
        "b": PASSED,
        "c": PASSED,
    }


def test_none_overtakes_the_stage_that_waits_for_room(site: Site) -> None:
    """Else small stages could keep a large one, which comes first for a reason, from ever beginning."""
    site.of(processors=2)
    site.words(stage("long", "import time; time.sleep(0.3)"), stage("large", weight=2), stage("small", weight=0.1))
    assert site.started() == ["long", "large", "small"]


def test_a_stage_that_waits_for_what_it_needs_lets_others_go_first(site: Site) -> None:
    site.of(processors=1)
    stages = (
        stage("image", "import time; time.sleep(0.2)", weight=0.5),
        stage("lab", needs=("image",)),
        stage("unit", weight=0.5),
    )
    assert site.words(*stages) == dict.fromkeys(("image", "unit", "lab"), PASSED)
    assert site.started() == ["image", "unit", "lab"]


def test_a_stage_starts_after_all_that_it_needs(site: Site) -> None:
    made = [site.mark("image"), site.mark("key")]
    slow = [f"import time; time.sleep(0.2)\n{touch(path)}" for path in made]
    uses = "".join(f"open({str(path)!r})\n" for path in made)
    stages = stage("image", slow[0]), stage("key", slow[1]), stage("lab", uses, needs=("image", "key"))
    assert site.words(*stages) == dict.fromkeys(("image", "key", "lab"), PASSED)


def test_what_was_not_asked_for_counts_as_passed(site: Site) -> None:
    assert site.words(stage("lab", needs=("image",))) == {"lab": PASSED}


def test_stages_that_hold_the_same_thing_take_turns_and_others_pass_them(site: Site) -> None:
    busy = site.mark("busy")
    stages = (
        stage("drift", alone(busy), holds="box"),
        stage("kinds", alone(busy), holds="box"),
        stage("unit", touch(site.mark("unit"))),
    )
    assert site.words(*stages) == {"drift": PASSED, "kinds": PASSED, "unit": PASSED}
    assert site.started() == ["drift", "unit", "kinds"]


def test_a_failed_stage_stops_only_what_needs_it(site: Site) -> None:
    stages = (
        stage("image", "raise SystemExit('msg: no disk')"),
        stage("lab", needs=("image",)),
        stage("more", needs=("lab",)),
        stage("sid"),
    )
    assert site.words(*stages) == {"image": FAILED, "lab": NOT_RUN, "more": NOT_RUN, "sid": PASSED}
    assert "lab: not run, because image did not pass" in site.printed
    assert any("the end of" in line and "msg: no disk" in line for line in site.printed)


def test_a_command_that_is_not_there_fails_its_stage_alone(site: Site) -> None:
    assert site.words(Stage("lint", ("/nowhere/program",)), stage("unit")) == {"lint": FAILED, "unit": PASSED}
    assert "/nowhere/program" in site.place.log("lint").read_text()


def test_what_hangs_is_ended_and_named_and_the_others_go_on(site: Site) -> None:
    stages = stage("pool", FOREVER, limit=0.2), stage("after", needs=("pool",)), stage("unit")
    assert site.words(*stages) == {"pool": HUNG, "after": NOT_RUN, "unit": PASSED}
    assert any(line.startswith("pool: HUNG: not over after its limit") for line in site.printed)


def test_a_stage_within_its_limit_is_left_alone(site: Site) -> None:
    assert site.words(stage("pool", "import time; time.sleep(0.5)", limit=300)) == {"pool": PASSED}


@pytest.mark.parametrize("session", [False, True])
def test_a_hung_stage_that_is_deaf_is_killed_with_all_that_it_started(
    site: Site, session: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGINT does nothing here, and one process has left the stage's session as a daemon does."""
    deaf = "import signal, subprocess, sys\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    daemon = f"{touch(site.mark('daemon'))}{FOREVER}"
    code = f"{deaf}subprocess.run([sys.executable, '-c', {daemon!r}], start_new_session={session})"
    site.of(processors=2, grace=0.2)
    # Over its limit as soon as the daemon is there, however long that takes.
    seconds = property(lambda _: 700.0 if site.mark("daemon").exists() else 0.0)
    monkeypatch.setattr(Running, "seconds", seconds)
    assert site.words(stage("pool", code)) == {"pool": HUNG}
    assert processes.find(lambda process: process.run == site.place.run) == []
    assert any(line.startswith("pool: killed ") for line in site.printed)


def test_an_interruption_ends_all_that_runs_and_starts_nothing_more(site: Site) -> None:
    sleeps = [touch(site.mark(name)) + FOREVER for name in ("first", "second")]
    thread = site.when(("first", "second"), site.scheduler.stop)
    stages = stage("lab", sleeps[0]), stage("unit", sleeps[1]), stage("later"), stage("last")
    assert site.words(*stages) == {"lab": ENDED, "unit": ENDED, "later": NOT_RUN, "last": NOT_RUN}
    thread.join()


def test_what_is_interrupted_may_clean_up(site: Site) -> None:
    code = (
        f"try:\n    {touch(site.mark('up'))}    {FOREVER}\nexcept KeyboardInterrupt:\n    {touch(site.mark('clean'))}"
    )
    thread = site.when(("up",), site.scheduler.stop)
    assert site.words(stage("lab", code)) == {"lab": ENDED}
    thread.join()
    assert site.mark("clean").exists()


def test_a_second_interruption_waits_for_no_cleaning(site: Site) -> None:
    asked = f"import signal\ndef asked(*_):\n    {touch(site.mark('asked'))}signal.signal(signal.SIGINT, asked)\n"
    code = f"{asked}{touch(site.mark('up'))}while True:\n    {FOREVER}"
    first = site.when(("up",), site.scheduler.stop)
    second = site.when(("asked",), site.scheduler.stop)
    assert site.words(stage("lab", code)) == {"lab": ENDED}
    first.join()
    second.join()


def test_what_a_passed_stage_leaves_stays(site: Site) -> None:
    """A stage may leave a machine to those after it."""
    leave = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {FOREVER!r}], start_new_session=True)"
    site.words(stage("lab", leave))
    assert len(processes.find(lambda process: process.run == site.place.run)) == 1


def test_what_runs_for_long_is_shown_with_its_last_line(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "PROGRESS_SECONDS", 0.1)
    go = site.mark("go")
    wait = f"while not os.path.exists({str(go)!r}): time.sleep(0.02)"
    code = f"import os, time; print('node' + '1 is up', flush=True)\n{wait}"
    says = site.printed.append

    def hear(line: str) -> None:
        says(line)
        if "node1 is up" in line:
            go.touch()

    site.scheduler.say = hear
    assert site.words(stage("lab", code)) == {"lab": PASSED}
    assert any(line.startswith("lab: running for ") and line.endswith(": node1 is up") for line in site.printed)


def test_each_stage_has_its_mark_and_a_place_for_its_counts(site: Site) -> None:
    code = "import os; print(os.environ['VAC_TEST_STAGE'], os.environ['VAC_JUNIT_DIRECTORY'])"
    site.words(stage("unit", code), stage("lint", code))
    for name in ("unit", "lint"):
        directory = site.place.counts(name)
        assert site.place.log(name).read_text() == f"{name} {directory}\n"
        assert directory.is_dir()
