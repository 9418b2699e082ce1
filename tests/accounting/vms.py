# SPDX-License-Identifier: GPL-3.0-or-later
"""A few hundred VMs of three machinetypes, whose jobs a real schedd writes into its history.

Their jobs are described by the factory's own code and leave the queue by the schedd's; what HTCondor writes while a VM
runs is given to the job instead, as no VM runs here.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from condor_vac.base.shared import submit_text
from condor_vac.factory import submit_description
from condor_vac.model.machinetype import Machinetype
from tests.integration.chroot import OWNER, Pool

SITE = "UKI-EXAMPLE"
PLACE = "/pool/accounting"
NUMBER = 300
MACHINETYPES: dict[str, dict[str, Any]] = {
    "lhcb": {"processors": 4, "accounting_fqan": "/lhcb/mc/Role=pilot", "hepscore23_per_processor": 12.5},
    # Its benchmark is that of the nodes.
    "atlas": {"processors": 8, "accounting_fqan": "/atlas/Role=production", "hs06": 80.0},
    "local": {"processors": 1, "hs06_per_processor": 11.0},
}
# What a job's owner can write into its ad, and what ``usage`` finds wrong with it.
HOSTILE: dict[str, tuple[dict[str, str], str]] = {
    "comma": ({"VacVO": '"lhcb,9,9"'}, "VacVO is 'lhcb,9,9', not of the form"),
    "escape": ({"VacVO": '"\x1b[31m<script>"'}, r"VacVO is '\x1b[31m<script>'"),
    "expression": ({"VacVO": 'strcat("l","hcb,1")'}, "VacVO is '/Expr(strcat("),
    "negative": ({"RemoteUserCpu": "-1.0"}, "RemoteUserCpu is -1.0, not a number from 0"),
    "much": ({"RemoteUserCpu": "1e300"}, "RemoteUserCpu is 1e+300, not a number from 0"),
    "words": ({"RemoteUserCpu": '"1,2"'}, "RemoteUserCpu is '1,2', not a number"),
    "future": ({"LastMatchTime": "4000000000"}, "which is before its match (4000000000)"),
    "never": ({"LastMatchTime": '"x"'}, "LastMatchTime is 'x', not a whole number"),
}


def months(now: float) -> list[str]:
    """The present month and the one before it."""
    present = datetime.fromtimestamp(now, timezone.utc)
    return [present.strftime("%Y-%m"), (present.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")]


def start_of(month: str) -> int:
    """The first moment of a month, Unix s."""
    return int(datetime.strptime(month, "%Y-%m").replace(tzinfo=timezone.utc).timestamp())


def made(now: int) -> list[tuple[str, dict[str, str]]]:
    """(machinetype, attributes) of each VM. Every twentieth was started twice; some end on the month's border."""
    chance = random.Random(19)
    present, before = months(now)
    found = []
    for number in range(NUMBER):
        name = chance.choice(sorted(MACHINETYPES))
        end = {0: start_of(present), 1: start_of(present) - 1}.get(number, chance.randint(start_of(before), now - 60))
        wall = chance.randint(0, 90_000)
        run = {
            "LastMatchTime": str(end - wall),
            "CompletionDate": str(end),
            "RemoteWallClockTime": f"{wall}.0",
            "RemoteUserCpu": f"{chance.uniform(0, wall * 8):.6f}",
            "NumShadowStarts": "1",
            # HTCondor copies also what the slot's ad has not.
            **dict.fromkeys(("MachineAttrVacHepscore0", "MachineAttrVacHepspec0"), "undefined"),
        }
        if number % 20 == 0:
            run.update(NumShadowStarts="2", RemoteWallClockTime=f"{wall + 3600 + number}.0")
        if name == "atlas":
            run["MachineAttrVacHepscore0"] = chance.choice(["10.5", "14.0"])
        found.append((name, run))
    return found


def removed(now: int) -> list[tuple[str, dict[str, str]]]:
    """A VM that ran when it was removed, and jobs that waited then: again, or never started."""
    run = {"LastMatchTime": str(now - 5000), "RemoteUserCpu": "4000.5", "NumShadowStarts": "1"}
    ran, waited = {**run, "RemoteWallClockTime": "5000.0"}, {**run, "RemoteWallClockTime": "700.0"}
    return [("lhcb", ran), ("lhcb", waited), ("lhcb", {})]


def hostile(now: int) -> list[tuple[str, dict[str, str]]]:
    """One VM for each of HOSTILE, otherwise as the others."""
    run = {"LastMatchTime": str(now - 900), "CompletionDate": str(now - 60), "RemoteUserCpu": "5.0"}
    return [("lhcb", {**run, "VacCase": f'"{case}"', **change}) for case, (change, _) in HOSTILE.items()]


class Site:
    """The pool's machinetypes, files and jobs."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.directory = pool.local / "accounting"
        (self.directory / "machinetypes").mkdir(parents=True)
        (self.directory / "user_data").write_text("#!/bin/sh\n")
        self._commands: dict[str, dict[str, str]] = {}
        for name, keys in MACHINETYPES.items():
            data = {
                "name": name, "owner": OWNER, "kind": "cernvm", "image": "/images/test.iso", "gocdb_sitename": SITE,
                "user_data": f"{PLACE}/user_data", **keys,
            }  # fmt: skip
            (self.directory / f"machinetypes/{name}.json").write_text(json.dumps(data))
            machinetype = Machinetype.from_mapping(data, name)
            self._commands[name] = submit_description.describe(machinetype, f"{PLACE}/machinetypes/{name}.json")

    def leave(self, vms: Sequence[tuple[str, Mapping[str, str]]], *how: Sequence[str], user: str = OWNER) -> None:
        """Let the VMs' jobs come into the queue as ``user``'s, and out of it into the history by commands."""
        batch = f"b{time.monotonic_ns()}"
        common = {"hold": "true", "leave_in_queue": "false", "+VacTest": f'"{batch}"', "initialdir": "/tmp"}
        files: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        # What a queue command takes it leaves to the next one: in one file, all have the same attributes.
        for name, attributes in vms:
            own = {f"+{key}": value for key, value in attributes.items()}
            whole = {**self._commands[name], **common, "accounting_group_user": user}
            lines = files.setdefault((name, tuple(sorted(own))), [submit_text(whole).removesuffix("queue\n")])
            lines.append(submit_text(own))
        for number, lines in enumerate(files.values()):
            (self.directory / f"{batch}.{number}").write_text("".join(lines))
            self.pool.run("condor_submit", "-terse", f"{PLACE}/{batch}.{number}", user=user)
        mine = f'VacTest =?= "{batch}"'
        for program, *words in how:
            self.pool.run(program, "-constraint", mine, *words)
        deadline = time.monotonic() + 120
        while len(self.pool.run("condor_history", "-constraint", mine, "-af", "ClusterId").stdout.split()) < len(vms):
            assert time.monotonic() < deadline, "the jobs do not leave the queue"
            time.sleep(0.2)

    def usage(self, *words: str, config: str = "/pool/condor_config") -> tuple[int, str, str]:
        """Exit code, output and messages of ``condor_vac usage``."""
        places = ("--machinetypes", f"{PLACE}/machinetypes", "--state", f"{PLACE}/none")
        argv = self.pool.inside("condor_vac", "usage", *places, *words, env={"CONDOR_CONFIG": config})
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr
