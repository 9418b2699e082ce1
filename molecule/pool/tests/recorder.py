#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the access point: writes down every cycle of a factory, whose state file has only the last one.

``recorder.py DIRECTORY FILE``: DIRECTORY is the factory's. FILE gets one JSON object per line: the cycle's ``last`` of
the state file, and ``avoid``, the hosts that VMs avoid.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

# Several looks a cycle, so that none is missed.
LOOK_SECONDS = 1.0


def main(directory: str, file: str) -> None:
    """Append a line for each new cycle until this process is ended."""
    state, seen = Path(directory, "state.json"), 0.0
    with open(file, "a", encoding="utf-8", buffering=1) as stream:
        while True:
            if state.exists():
                found = json.loads(state.read_text("utf-8"))
                last = found["last"]
                if last and last["time"] != seen:
                    seen = last["time"]
                    stream.write(json.dumps({**last, "avoid": found["avoid"]}) + "\n")
            time.sleep(LOOK_SECONDS)


main(*sys.argv[1:])
