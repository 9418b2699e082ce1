# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of this machine for Prometheus: of its factories on an access point, of its VMs on a worker node.

They come from the files that factories, vac_watch and the images' store write: nothing is asked of HTCondor or libvirt.
With --textfile they go to DIR/condor_vac.prom, whole or not at all, where node_exporter reads them
(--collector.textfile.directory=DIR); else to the standard output. The expiry of tokens is root's to read.

--json: {FAMILY: {kind, help, samples: [{labels, value}]}}

Exit code: 0 good, 1 the metrics could not be made, 2 bad usage or neither an access point nor a worker node.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from condor_vac import __version__
from condor_vac.base import atomic
from condor_vac.base.errors import UsageError
from condor_vac.cli import metrics_access_point, metrics_credentials, metrics_worker_node, survey
from condor_vac.cli.metric_families import Metrics
from condor_vac.worker import settings

NAME = "condor_vac.prom"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac metrics``."""
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    output = parser.add_mutually_exclusive_group()
    add_textfile(output, NAME)
    output.add_argument("--json", action="store_true", help="print the metrics as JSON")
    survey.add_places(parser)


def add_textfile(parser: argparse._ActionsContainer, name: str) -> None:
    """The argument of the commands that write metrics."""
    parser.add_argument("--textfile", metavar="DIR", help=f"write {name} into this directory of node_exporter's")


def run(args: argparse.Namespace) -> int:
    """Print the metrics, or write them. Raises VacError."""
    made = Metrics()
    made.add("condor_vac", 1, version=__version__)
    is_worker = os.path.lexists(settings.PATH)
    is_access_point = os.path.isdir(args.machinetypes)
    if not is_worker and not is_access_point:
        raise UsageError(
            f"neither {args.machinetypes} nor {settings.PATH} exists: this machine is neither an access point nor a"
            " worker node; run this on one"
        )
    if is_access_point:
        metrics_access_point.collect(made, args.machinetypes, args.state)
    if is_worker:
        metrics_worker_node.collect(made)
    metrics_credentials.collect(made)
    if args.textfile is not None:
        write(args.textfile, NAME, made)
    elif args.json:
        print(json.dumps(made.as_mapping(), indent=1))
    else:
        sys.stdout.write(made.text().decode())
    return 0


def write(directory: str, name: str, made: Metrics) -> None:
    """Write the file, whole or not at all. Raises UsageError, VacError."""
    if not os.path.isdir(directory):
        raise UsageError(f"--textfile {directory}: no such directory; give the one that node_exporter reads")
    # node_exporter passes over names that do not end in .prom, such as the temporary one.
    atomic.write(os.path.join(directory, name), made.text())
