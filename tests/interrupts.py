# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.interrupts make demo``: interrupt a command at random moments, and see that nothing is left of it.

Half of the moments are a Ctrl-C (SIGINT to the terminal's process group), half a ``kill -9`` of that whole group. After
each, nothing that ``tests.leftovers`` looks for may be left, once what the command has left behind to clean up is done.
At last the command runs undisturbed and has to pass. No other lab of this checkout may run meanwhile.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests import leftovers
from tests.lab.paths import CHECKOUT

# For what hangs: a guard that ends a dozen nodes on a busy host takes a minute.
PATIENCE_SECONDS = 900


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m tests.interrupts", description=__doc__.splitlines()[0])
    top.add_argument("--times", type=int, default=10, metavar="N", help="how many interrupts; default %(default)s")
    top.add_argument("--within", type=float, default=240, metavar="S", help="seconds; default %(default)s")
    top.add_argument("--seed", type=int, default=None, help="of the moments; default: the time")
    top.add_argument("command", nargs=argparse.REMAINDER, metavar="WORD", help="the command, such as make demo")
    return top


def start(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    """The command in a session of its own, as a terminal has it, with its output in a file."""
    with open(log, "ab") as stream:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )


def interrupt(words: list[str], log: Path, number: signal.Signals, moment: float) -> str:
    """Start the command, signal it at that moment, and report how it ended."""
    process = start(words, log)
    try:
        code = process.wait(moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, number)
        return f"exit {process.wait(PATIENCE_SECONDS)}"
    return f"had ended by itself, exit {code}"


def left() -> list[str]:
    """What is still left after all that was being cleaned up has had its time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := leftovers.found()) and time.monotonic() < deadline:
        time.sleep(1)
    return found


def main() -> int:
    """Interrupt, look, report; 0 if nothing was ever left and the last run passed, else 1."""
    made = parser()
    arguments = made.parse_args()
    if not arguments.command:
        made.error("give a command, such as: make demo")
    if found := leftovers.found():
        print("\n".join(["a lab runs:", *found]), file=sys.stderr)
        return 1
    # A shell that starts this in the background has it ignore Ctrl-C, and with it all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seed = int(time.time()) if arguments.seed is None else arguments.seed
    rng = random.Random(seed)
    log = CHECKOUT / ".cache" / "logs" / "interrupts.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"seed {seed}; the command's output: {log}", flush=True)
    bad = 0
    for turn in range(arguments.times):
        number, moment = (signal.SIGINT, signal.SIGKILL)[turn % 2], rng.uniform(1, arguments.within)
        end = interrupt(arguments.command, log, number, moment)
        begin = time.monotonic()
        found = left()
        bad += bool(found)
        what = "; ".join(found) or f"nothing is left after {time.monotonic() - begin:.0f} s"
        print(f"{turn + 1}. {number.name} after {moment:.1f} s: {end}; {what}", flush=True)
    code = start(arguments.command, log).wait()
    found = left()
    print(f"undisturbed: exit {code}; {'; '.join(found) or 'nothing is left'}")
    return int(bool(bad or code or found))


if __name__ == "__main__":
    sys.exit(main())
