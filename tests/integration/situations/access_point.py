# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine that is a whole pool, with its machinetypes, its page, its metrics and a Prometheus that scrapes them.

The daemons are HTCondor's, the factories are jobs of the schedd, and the programs run in the pool as on a site. VMs and
the nodes ``wn1`` and ``wn2`` are stand-ins; the machine's own startd runs with a clock that is ahead.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import prometheus_client
import yaml

from tests.integration.chroot import OWNER, Pool
from tests.integration.factory.site import Site, wait_until
from tests.integration.monitoring import tools
from tests.integration.monitoring.tools import Scraper

PLACE = "situations"
PLACES = ("--machinetypes", f"/pool/sites/{PLACE}", "--state", f"/pool/sites/{PLACE}/states")
AHEAD = 611
CYCLE_SECONDS = 3
CONFIG = """
DAEMON_LIST = MASTER COLLECTOR SCHEDD STARTD
SEC_TOKEN_SYSTEM_DIRECTORY = /pool/tokens.d
SEC_PASSWORD_DIRECTORY = /pool/passwords.d
SEC_TOKEN_POOL_SIGNING_KEY_FILE = /pool/passwords.d/POOL
TRUST_DOMAIN = vac.test
STARTD = /pool/startd
NUM_CPUS = 2
MEMORY = 4096
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = True
START = False
VM_TYPE = kvm
VM_MEMORY = 1048576
VM_NETWORKING = True
VM_NETWORKING_TYPE = nat
VM_GAHP_SERVER = /pool/vm-gahp
RUNBENCHMARKS = False
"""
# The library leaves files in /dev/shm.
STARTD = f"""#!/bin/sh
exec unshare -m sh -c 'mount -t tmpfs tmpfs /dev/shm && exec env LD_PRELOAD=/pool/libfaketime.so.1 FAKETIME=+{AHEAD} \
  FAKETIME_DONT_FAKE_MONOTONIC=1 /usr/sbin/condor_startd "$@"' sh "$@"
"""
# What the startd asks whether VMs can run.
VM_GAHP = """#!/bin/sh
printf '%s\\n' 'VM_GAHP_VERSION = "$VMGahpVersion stand-in$"' 'VM_TYPE = "kvm"' 'VM_MEMORY = 1048576'
printf '%s\\n' 'VM_NETWORKING = True'
printf '%s\\n' 'VM_NETWORKING_TYPES = "nat"'
"""
# The last rule of the group: once it fires for a step, all others were evaluated with that step's data.
STEP = {"alert": "Step", "expr": "situations_step >= 0", "labels": {"step": "{{ $value }}"}}


@dataclass(frozen=True)
class Said:
    """What an administrator sees of a situation; ``alerts`` are those that fire for it."""

    explain: str = ""
    doctor: str = ""
    page: str = ""
    alerts: frozenset[str] = frozenset()


class AccessPoint:
    """The machine while the context of ``access_point`` lasts."""

    def __init__(self, pool: Pool, scraper: Scraper, textfiles: Path) -> None:
        self.pool = pool
        self._scraper = scraper
        self._textfiles = textfiles
        self._step = 0

    def site(self, name: str, **keys: object) -> Site:
        """A machinetype whose factory runs as a job and has decided once."""
        made = Site(self.pool, name, real_policy=True, place=PLACE)
        made.write(
            **{
                "requirements": "True",
                "cycle_seconds": CYCLE_SECONDS,
                "max_machines": 12,
                "max_idle": 6,
                "first_machines": 6,
                **keys,
            }
        )
        made.submit_factory()
        return made

    def explain(self, name: str, user: str = OWNER) -> str:
        """What ``condor_vac explain`` prints, or why it cannot."""
        return self.printed("explain", name, *PLACES, user=user)

    def doctor(self, step: str) -> str:
        """What the doctor finds in one step; its metrics are written as well."""
        self.printed("doctor", "--step", step, "--textfile", "/pool/textfiles")
        return self.printed("doctor", "--step", step)

    def printed(self, *words: str, user: str = "root", env: dict[str, str] | None = None) -> str:
        """The output of a command of condor_vac in the pool, whatever its exit code is."""
        given = {"PYTHONPATH": "/pool/python", **(env or {})}
        command = self.pool.inside("condor_vac", *words, user=user, env=given)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode in {0, 1}, (words, done.stderr)
        return done.stdout + done.stderr

    def page(self, name: str) -> str:
        """The part of the page about a machinetype, and its nodes with findings, a line for each text."""
        self.printed("page", "/pool/www", *PLACES)
        whole = (self.pool.local / "www/index.html").read_text("utf-8")
        parts = re.findall(r'<section id="([^"]+)">(.*?)</section>', whole, re.DOTALL)
        wanted = [part for which, part in parts if which in {f"machinetype-{name}", "nodes"}]
        assert len(wanted) == 2, [which for which, _part in parts]
        return html.unescape(re.sub(r"(<[^>]*>\s*)+", "\n", "\n".join(wanted)))

    def alerts(self, machinetype: str = "") -> frozenset[str]:
        """The alerts that fire for a machinetype, or for the machine, after the metrics of now were scraped."""
        self.printed("metrics", "--textfile", "/pool/textfiles", *PLACES)
        self._step += 1
        marker = self._textfiles / ".marker"
        marker.write_text(f"situations_step {self._step}\n")
        marker.rename(self._textfiles / "marker.prom")
        done = f'ALERTS{{alertname="Step",step="{self._step}",alertstate="firing"}}'
        self._scraper.wait(lambda: self._scraper.query(done), f"step {self._step} is scraped and judged")
        found = self._scraper.query(f'ALERTS{{alertstate="firing",alertname!="Step",machinetype="{machinetype}"}}')
        return frozenset(each["metric"]["alertname"] for each in found)

    def decided(self, site: Site, text: str) -> None:
        """Wait until the machinetype's factory gives this reason, or counts VMs so."""
        try:
            wait_for(lambda: text in json.dumps(site.last()), f"{site.name}: {text}")
        except AssertionError as error:
            raise AssertionError(f"{error}; {site.last()}\n{site.log()[-2000:]}") from error


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait as long as a busy machine may take."""
    wait_until(condition, what, seconds=240)


@contextmanager
def access_point(suite: str, place: Path) -> Iterator[AccessPoint]:
    """The machine with HTCondor of a Debian suite; ``place`` is for Prometheus."""
    pool = Pool(suite, CONFIG)
    _prepare(pool.local)
    rules = yaml.safe_load(tools.RULES.read_text())
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = "0s"
    rules["groups"][0]["rules"].append(STEP)
    (place / "rules.yml").write_text(yaml.safe_dump(rules))
    textfiles = pool.local / "textfiles"
    with pool, Scraper(place, textfiles, place / "rules.yml") as scraper:
        yield AccessPoint(pool, scraper, textfiles)


def _prepare(local: Path) -> None:
    """What the pool needs before it starts."""
    for name in ("textfiles", "www", "tokens.d", "passwords.d", "images", "python"):
        (local / name).mkdir(mode=0o755)
    (local / "passwords.d" / "POOL").write_text(f"{time.time_ns()} is no secret")
    (local / "passwords.d" / "POOL").chmod(0o600)
    shutil.copy(tools.faketime(), local / "libfaketime.so.1")
    for name, text in (("startd", STARTD), ("vm-gahp", VM_GAHP)):
        (local / name).write_text(text)
        (local / name).chmod(0o755)
    # It is not in the root directory, and has no machine code.
    library = Path(prometheus_client.__file__).parent
    shutil.copytree(library, local / "python" / library.name, ignore=shutil.ignore_patterns("__pycache__"))
