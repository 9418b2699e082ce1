# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.bench.converge [--machine NAME] [--nodes 1,2,4] [--json]``.

Converges one lab machine with the collection's roles (runtime and worker) and with the same written with builtin
modules only, and measures changeless runs of both: time for each node, and round trips to the node (executions by
SSH). More than one node is one machine under several inventory names: the nodes' own share of the time adds up then,
as it does not on machines of their own. Exits 1 if a run that should change nothing does, or a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tarfile
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from tests.lab import plays

MACHINE = "bench"
DIRECTORY = plays.ROOT / ".cache" / "bench"
PLAYBOOKS = {"roles": "tests/bench/converge/roles.yml", "builtin": "tests/bench/converge/generic.yml"}
ROUND_TRIPS_GOAL = 15
RATIO_GOAL = 3.0
_TASK = re.compile(r"^TASK \[(?:vacuum\.htcondor\.(\w+) : )?(.*?)\] \*+$")


@dataclass(frozen=True)
class Figure:
    """Changeless runs of one kind over a number of nodes: best seconds of the runs, round trips by role."""

    kind: str
    nodes: int
    seconds: float
    round_trips: dict[str, int]


def inventory(machine: str, nodes: int) -> list[str]:
    """The lab's inventory with *nodes* names for the one machine, all of them worker nodes."""
    lab = yaml.safe_load((plays.ROOT / ".cache/lab/inventory.yml").read_text())
    found = lab["all"]["hosts"][machine]
    hosts = {f"{machine}-{number}": found for number in range(1, nodes + 1)}
    head = {"hosts": {machine: found}}
    groups = {"central_manager": head, "access_point": head, "worker_node": {"hosts": hosts}}
    path = DIRECTORY / f"inventory-{nodes}.yml"
    path.write_text(yaml.safe_dump({"all": {"children": groups}}))
    return [str(path)]


def converge(kind: str, inventories: list[str], machine: str, *words: str) -> plays.Play:
    """One run. Raises SystemExit with its output if it fails."""
    variables = ["-e", f"@{plays.ROOT}/tests/lab/group_vars/all.yml"] if kind == "roles" else []
    play = plays.run(PLAYBOOKS[kind], inventories, None, *variables, *words)
    if play.status != 0:
        sys.exit(f"{kind} on {machine} failed:\n{play.output[-6000:]}")
    return play


def round_trips(output: str, host: str) -> dict[str, int]:
    """Executions on *host* by role (without those of facts), in what ``ansible-playbook -vvv`` printed."""
    role, found = "", Counter[str]()
    for line in output.splitlines():
        match = _TASK.match(line)
        if match:
            role = match.group(1) or ("facts" if match.group(2) == "Gathering Facts" else "builtin")
        elif "SSH: EXEC" in line and f"<{host}>" in line:
            found[role] += 1
    return dict(found)


def measure(kind: str, machine: str, counts: list[int], repeat: int) -> list[Figure]:
    """Converge the machine, then measure changeless runs over each number of nodes."""
    one = inventory(machine, 1)
    say(f"{kind}: converging {machine}")
    converge(kind, one, machine)
    changeless(converge(kind, one, machine), kind)
    say(f"{kind}: counting round trips")
    trips = round_trips(converge(kind, one, machine, "-vvv").output, "127.0.0.1")
    figures = []
    for nodes in counts:
        several = inventory(machine, nodes)
        runs = [converge(kind, several, machine, "--forks", str(nodes)) for _ in range(repeat)]
        for play in runs:
            changeless(play, kind)
        figures.append(Figure(kind, nodes, min(play.seconds for play in runs), trips))
        say(f"{kind}: {nodes} nodes: {', '.join(f'{play.seconds:.1f} s' for play in runs)}")
    return figures


def changeless(play: plays.Play, kind: str) -> None:
    """Raises SystemExit if the run changed something."""
    if play.changed():
        sys.exit(f"{kind}: a run that should change nothing changed {sorted(play.changed())}")


def say(text: str) -> None:
    """A progress line."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def archive() -> None:
    """The programs as one archive, for the builtin way."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with tarfile.open(DIRECTORY / "programs.tar", "w") as tar:
        tar.add(plays.ROOT / "src" / "condor_vac", "condor_vac", filter=_clean)


def _clean(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return None if "__pycache__" in info.name else info


def report(figures: list[Figure]) -> list[str]:
    """The figures as a table."""
    by = {(figure.kind, figure.nodes): figure for figure in figures}
    lines = [f"{'nodes':>5} {'roles':>9} {'builtin':>9} {'ratio':>6}"]
    for nodes in sorted({figure.nodes for figure in figures}):
        ours, theirs = by["roles", nodes].seconds, by["builtin", nodes].seconds
        lines.append(f"{nodes:>5} {ours:>7.1f} s {theirs:>7.1f} s {theirs / ours:>6.1f}")
    for kind in PLAYBOOKS:
        trips = by[kind, figures[0].nodes].round_trips
        lines.append(f"round trips, {kind}: " + ", ".join(f"{role} {count}" for role, count in sorted(trips.items())))
    return lines


def missed(figures: list[Figure]) -> list[str]:
    """The goals that were missed."""
    by = {(figure.kind, figure.nodes): figure for figure in figures}
    found = []
    trips = by["roles", figures[0].nodes].round_trips.get("worker", 0)
    if trips > ROUND_TRIPS_GOAL:
        found.append(f"the role worker makes {trips} round trips, not at most {ROUND_TRIPS_GOAL}")
    for nodes in sorted({figure.nodes for figure in figures}):
        ratio = by["builtin", nodes].seconds / by["roles", nodes].seconds
        if ratio < RATIO_GOAL:
            found.append(f"{nodes} nodes: builtin modules take {ratio:.1f} times as long, not {RATIO_GOAL:g}")
    return found


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.converge")
    parser.add_argument("--machine", default=MACHINE, help="a lab machine, which is started if need be")
    parser.add_argument("--nodes", default="1,2,4", help="numbers of nodes, with commas (default %(default)s)")
    parser.add_argument("--repeat", type=int, default=2, help="runs of each, of which the best counts")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    archive()
    subprocess.run([sys.executable, "-m", "tests.lab", "up", args.machine], cwd=plays.ROOT, check=True)
    say(f"a pool on {args.machine}")
    # The machine is a worker node under other names: the groups do not show its role.
    roles = {"pool_roles": ["central_manager", "access_point", "execute"]}
    words = ("-e", f"@{plays.ROOT}/tests/lab/group_vars/all.yml", "--limit", "access_point")
    tags = ("--tags", "pool_packages,pool_config,pool_ready")
    site = plays.run(plays.SITE, inventory(args.machine, 1), roles, *words, *tags)
    if site.status != 0:
        sys.exit(site.output[-6000:])
    counts = [int(word) for word in args.nodes.split(",")]
    figures: list[Figure] = []
    for kind in PLAYBOOKS:
        figures += measure(kind, args.machine, counts, args.repeat)
    goals: list[str] = missed(figures)
    result: dict[str, Any] = {"figures": [asdict(figure) for figure in figures], "missed": goals}
    print(json.dumps(result, indent=1) if args.json else "\n".join([*report(figures), *goals]))
    return 1 if goals else 0


if __name__ == "__main__":
    sys.exit(main())
