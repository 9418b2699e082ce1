# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac import``: machinetypes as inventory data from a site's files; ``import`` itself is a Python keyword."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from condor_vac.vac import importer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac import``."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="files of Vac's or Vcycle's configuration, or submit files"
    )
    parser.add_argument("--json", action="store_true", help="machinetypes, pipes and notes as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print what the files give; exit code 1 if that is nothing. Raises UsageError for a file that is neither."""
    imported = importer.load(args.files)
    if args.json:
        print(json.dumps(asdict(imported), indent=1))
    else:
        print("\n".join(importer.inventory(imported)))
    return 0 if imported.machinetypes or imported.pipes else 1
