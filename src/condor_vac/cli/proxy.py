# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac proxy``: check that a machinetype's proxies can be made, or make one."""

from __future__ import annotations

import argparse
import json
import time

from condor_vac.base import atomic
from condor_vac.base.errors import UsageError
from condor_vac.base.x509 import utc
from condor_vac.factory import proxy as proxies
from condor_vac.model import machinetype


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``condor_vac proxy``."""
    parser.add_argument("machinetype", metavar="MACHINETYPE.json", help="the machinetype's file")
    parser.add_argument("--out", metavar="FILE", help="write a proxy there (mode 0600)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Make a proxy as the factory does, show what it is, and keep it only with ``--out``. Raises VacError."""
    m = machinetype.load(args.machinetype)
    credential = proxies.of_machinetype(m)
    if credential is None:
        raise UsageError(f"{args.machinetype}: user_data_proxy: not set; its VMs get no proxy")
    now = time.time()
    proxy = proxies.make(credential, now, now + proxies.lifetime(m))
    if args.out:
        atomic.write(args.out, proxy.pem, mode=0o600)
    shown = {
        "subject": proxy.subject,
        "ends": utc(proxy.ends),
        "bits": proxies.KEY_BITS,
        "certificate_ends": utc(credential.ends),
    }
    if args.json:
        print(json.dumps(shown))
    else:
        for name, value in shown.items():
            print(f"{name:18}{value}")
    return 0
