# SPDX-License-Identifier: GPL-3.0-or-later
"""The first VMs of a site, without any experiment: on every node, by each of its ways of sharing.

``build`` makes the VM's image on a worker node, as root, of the node's own kernel and programs. ``run`` submits, on an
access point, a VM job for each node, way of sharing and code (200, 300), shows how they ended, and removes them. The
playbook vacuum.htcondor.smoke does both.

Exit code: 0 good, 1 a VM failed or an error, 2 bad usage.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from condor_vac.base import table
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import one_line
from condor_vac.cli import explain
from condor_vac.cli.progress import ProgressLine
from condor_vac.condor.pool import Pool
from condor_vac.policy.words import count
from condor_vac.smoke import image, trial, vms
from condor_vac.smoke.vms import Result, Vm


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac smoke``."""
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", title="actions", metavar="ACTION", required=True)
    build = actions.add_parser("build", help="make the image on this worker node")
    build.add_argument("output", metavar="FILE", help="the ISO to write")
    run = actions.add_parser("run", help="run a VM of each kind on every node, from this access point")
    run.add_argument("nodes", metavar="FILE", help="JSON list of {name, machine, subnet, sharing}; - is standard input")
    run.add_argument("--image", default=vms.IMAGE, metavar="PATH", help="the image on the worker nodes (%(default)s)")
    run.add_argument("--owner", default="vac", metavar="USER", help="owner of the VM jobs (default %(default)s)")
    start, end = trial.Limits()
    run.add_argument(
        "--start-timeout", type=float, default=start, metavar="SECONDS",
        help="give an idle VM up when nothing has started or ended on its node for so long (default %(default)g)",
    )  # fmt: skip
    run.add_argument(
        "--run-timeout", type=float, default=end, metavar="SECONDS",
        help="how long one VM may take from its job's start (default %(default)g)",
    )  # fmt: skip
    run.add_argument("--json", action="store_true", help="print the result as JSON")
    run.add_argument("--bindings", choices=("htcondor2", "htcondor"), help="which Python bindings to use")


def run(args: argparse.Namespace) -> int:
    """One action; 1 if a VM failed. Raises VacError."""
    if args.action == "build":
        print(f"{args.output}: kernel {image.build(args.output)}")
        return 0
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    nodes = vms.read_nodes(_text(args.nodes))
    line = ProgressLine()

    def why(vm: Vm, ad: Mapping[str, Any], job: str) -> str:
        return explain.waiting(vm.node.machine, ad, job, Pool(args.bindings))

    # Ansible that is stopped, or a terminal that goes away, ends it as Ctrl-C does.
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    limits = trial.Limits(args.start_timeout, args.run_timeout)
    one = trial.Trial(vms.of_nodes(nodes), limits, why, lambda: Pool(args.bindings))
    try:
        results = one.run(args.image, args.owner, line.show)
    except KeyboardInterrupt as error:
        raise VacError("stopped; its jobs and files are removed") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        line.end()
        for stuck in one.stuck:
            print(f"condor_vac smoke: {one_line(stuck)}", file=sys.stderr)
    if args.json:
        print(json.dumps([report(result) for result in results], indent=1))
    else:
        print("\n".join(lines(results, table.terminal())))
    return 0 if all(result.good for result in results) else 1


def _text(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.read()
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error


def report(result: Result) -> dict[str, Any]:
    """A VM's entry of the JSON."""
    vm = result.vm
    return {
        "node": vm.node.name,
        "machine": vm.node.machine,
        "sharing": vm.sharing,
        "code": vm.code,
        "ok": result.good,
        "seconds": result.seconds,
        "cause": result.cause,
    }


def lines(results: Sequence[Result], width: int | None) -> list[str]:
    """The table of nodes and checks, then a line for each cause."""
    order = sorted(results, key=lambda result: (vms.WAYS.index(result.vm.sharing), vms.CODES.index(result.vm.code)))
    checks = list(dict.fromkeys(result.vm.check for result in order))
    nodes = list(dict.fromkeys(result.vm.node.name for result in results))
    cells = {(result.vm.node.name, result.vm.check): _cell(result) for result in results}
    rows = [["NODE", *checks], *([node, *(cells.get((node, check), "-") for check in checks)] for node in nodes)]
    bad = [result for result in results if not result.good]
    causes = [(f"{result.vm.node.name}:", f"{result.vm.check}:", result.cause) for result in bad]
    found = table.columns(rows, width) + (table.wrapped(causes, width) if causes else [])
    return [*found, f"{count(len(results), 'VM')}, {len(results) - len(bad)} good, {len(bad)} failed"]


def _cell(result: Result) -> str:
    seconds = "" if result.seconds is None else f" {result.seconds:.0f} s"
    return f"{'ok' if result.good else 'failed'}{seconds}"
