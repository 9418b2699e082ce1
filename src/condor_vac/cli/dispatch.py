# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``condor_vac`` command: finds the subcommand, runs it, turns errors into one line and an exit code.

Exit codes: 0 good, 1 a finding or an error, 2 bad usage. Each subcommand is a module with
``add_arguments(parser)`` and ``run(args) -> int``, imported only when it is called, so that a command loads
what it needs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from condor_vac import __version__
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import one_line
from condor_vac.cli import reader
from condor_vac.cli.parser import Parser

COMMANDS = {
    "factory": ("condor_vac.cli.factory", "run the factory of one machinetype (the scheduler-universe job)"),
    "factory-job": ("condor_vac.cli.factory_job", "the submit description of a factory's own job"),
    "status": ("condor_vac.cli.status", "factories and VMs, and the factories' last decisions"),
    "machines": ("condor_vac.cli.machines", "every VM: state, host, runtime, outcome"),
    "usage": ("condor_vac.cli.usage", "what the VMs of a month used, from HTCondor's history"),
    "page": ("condor_vac.cli.page", "write a page with the VMs of the last day, as static HTML"),
    "explain": ("condor_vac.cli.explain", "why no VM of a machinetype starts"),
    "trace": ("condor_vac.cli.trace", "one VM's life in order, or the VMs of one node"),
    "metrics": ("condor_vac.cli.metrics", "metrics of this machine for Prometheus"),
    "simulate": ("condor_vac.cli.simulate", "compare the policy with others in a virtual pool"),
    "render-user-data": ("condor_vac.cli.render_user_data", "the user data that a VM would get, byte for byte"),
    "machinetype": ("condor_vac.cli.machinetype", "check machinetype files"),
    "pipe": ("condor_vac.cli.pipe", "the machinetypes that a vacuum pipe offers"),
    "import": ("condor_vac.cli.importer", "machinetypes from Vac's configuration or a submit file of HTCondorVMs"),
    "image": ("condor_vac.cli.image", "the images of this worker node: fetch, check, list, remove"),
    "proxy": ("condor_vac.cli.proxy", "check that a machinetype's proxies can be made, or make one"),
    "outcome": ("condor_vac.cli.outcome", "how a shutdown message is read and acted on"),
    "mjf-check": ("condor_vac.cli.mjf_check", "machine/job features conformance of a directory or URL"),
    "shutdowntime": ("condor_vac.cli.shutdowntime", "plan a shutdown of this worker node, and announce it to its VMs"),
    "smoke": ("condor_vac.cli.smoke", "a first VM on every node, without an experiment: build its image, run it"),
    "doctor": ("condor_vac.cli.doctor", "check this worker node, step by step"),
}


def build_parser(only: str | None = None) -> Parser:
    """The argument parser; with ``only``, just that subcommand's module is imported for its arguments."""
    parser = Parser(
        prog="condor_vac",
        description=(
            "The programs that vacuum.htcondor runs in a pool. image and shutdowntime belong on a worker node, "
            "factory, status, machines, usage, page, explain and smoke on an access point, trace, metrics and doctor "
            "on both; the others run anywhere. See condor_vac COMMAND --help."
        ),
        epilog="Exit code: 0 good, 1 a finding or an error, 2 bad usage.",
    )
    parser.add_argument("--version", action="version", version=f"condor_vac {__version__}")
    subparsers = parser.add_subparsers(dest="command", title="commands", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        sub = subparsers.add_parser(name, help=summary, description=summary)
        if name == only:
            importlib.import_module(module).add_arguments(sub)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run one subcommand and return its exit code; where the reader of its output leaves, SIGPIPE ends it."""
    with reader.may_leave():
        return _run(argv)


def _run(argv: Sequence[str]) -> int:
    name = next((word for word in argv if not word.startswith("-")), None)
    args = build_parser(only=name if name in COMMANDS else None).parse_args(argv)
    module = importlib.import_module(COMMANDS[args.command][0])
    try:
        return int(module.run(args))
    except UsageError as error:
        print(f"condor_vac {args.command}: {one_line(str(error))}", file=sys.stderr)
        return 2
    except VacError as error:
        print(f"condor_vac {args.command}: {one_line(str(error))}", file=sys.stderr)
        return 1
