# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Prometheus scrapes, by a real node_exporter, what ``condor_vac metrics`` makes of a native pool's factory.

Growth, the end of work and a fault: totals equal those of condor_history, the alert of the fault fires, and each
expression of the dashboard's panels gives data.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from condor_vac.cli import dispatch, metrics, metrics_credentials
from condor_vac.cli.metric_families import Metrics
from condor_vac.worker import settings
from condor_vac.worker.checks.node import Node
from tests.integration import chroot
from tests.integration.factory.site import Site, wait_until
from tests.integration.factory.test_cycle import COMPLETED, IDLE, of
from tests.integration.monitoring import tools
from tests.integration.monitoring.tools import Scraper

pytestmark = pytest.mark.xdist_group("monitoring")
# Families of a worker node and of the doctor, which this machine is not, as those write them.
OTHERS = {
    "condor_vac_leases": {"state": "running"},
    "condor_vac_watch_last_run_timestamp_seconds": {},
    "condor_vac_image_fetched_timestamp_seconds": {"image": "cernvm.iso"},
    "condor_vac_doctor_findings": {"step": "nfs", "check": "exports"},
    "condor_vac_credential_expiry_timestamp_seconds": {"kind": "token", "path": "/etc/condor/tokens.d/pool"},
}


class Watched:
    """A site whose metrics are written where node_exporter reads them."""

    def __init__(self, site: Site, textfiles: Path) -> None:
        self.site = site
        self.textfiles = textfiles

    def cycle(self) -> None:
        """One cycle of the factory, then one run of the timer's command."""
        done = self.site.once()
        assert done.returncode == 0, self.site.last()
        self.write()

    def write(self) -> None:
        places = ("--machinetypes", str(self.site.outside), "--state", str(self.site.outside / "states"))
        assert dispatch.main(["metrics", "--textfile", str(self.textfiles), *places]) == 0

    def history(self) -> list[dict[str, Any]]:
        """The VM jobs that ended, as condor_history has them once they have left the queue."""
        over = of(self.site.jobs(), COMPLETED)
        self.site.jobs(edits={job: {"EnteredCurrentStatus": str(int(time.time()) - 3700)} for job in over})
        wait_until(lambda: not of(self.site.jobs(), COMPLETED), "completed jobs leave the queue")
        names = "ShutdownCode,NumShadowStarts,JobCurrentStartDate,VacEnded"
        constraint = f'VacMachinetype =?= "{self.site.name}" && JobStatus == 4'
        done = self.site.pool.run("condor_history", "-json", "-constraint", constraint, "-attributes", names)
        return list(json.loads(done.stdout))


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    for reason in (chroot.missing(), tools.missing()):
        if reason is not None:
            pytest.skip(reason)
    textfiles = tmp_path / "textfiles"
    textfiles.mkdir()
    textfiles.chmod(0o755)
    monkeypatch.setattr(settings, "PATH", str(tmp_path / "none"))
    monkeypatch.setattr(metrics_credentials, "Node", lambda: Node(str(tmp_path)))
    with chroot.Pool("trixie") as pool:
        site = Site(pool, "metered", real_policy=True)
        site.write(first_machines=5)
        yield Watched(site, textfiles)
        site.clear()


def test_growth_end_of_work_and_a_fault(watched: Watched, tmp_path: Path) -> None:
    site = watched.site
    made = Metrics()
    for name, labels in OTHERS.items():
        made.add(name, time.time() - 60, **labels)
    metrics.write(str(watched.textfiles), "others.prom", made)
    watched.cycle()
    with Scraper(tmp_path, watched.textfiles) as scraper:
        mine = f'machinetype="{site.name}"'
        jobs = of(site.jobs(), IDLE)
        for job in jobs[:3]:
            site.start(job)
        watched.cycle()
        growth = f'condor_vac_machines{{{mine},state="running"}} == 3'
        scraper.wait(lambda: scraper.query(growth), "Prometheus has the VMs that run")
        assert scraper.value(f"condor_vac_machines_working{{{mine}}}") == 3
        # 777 is not a code that the platform defines, and the last VM leaves none.
        for job, code, worked in zip(jobs, (200, 300, 300, 777, None), (True, False, False, False, False)):
            site.finish(job, code, worked=worked, life=2000 + (code or 0))
        watched.cycle()
        watched.cycle()
        seen = watched.history()
        codes = Counter("none" if ad["ShutdownCode"] is None else str(ad["ShutdownCode"]) for ad in seen)
        assert sum(codes.values()) == len(jobs) == 5
        for word, number in codes.items():
            total = f'sum(condor_vac_machines_ended_total{{{mine},code="{word}"}}) == {number}'
            scraper.wait(lambda total=total: scraper.query(total), total)
        assert scraper.value(f"sum(condor_vac_machines_ended_total{{{mine}}})") == 5
        assert scraper.value(f"condor_vac_machines_started_total{{{mine}}}") == sum(
            ad["NumShadowStarts"] for ad in seen
        )
        seconds = sum(ad["VacEnded"] - ad["JobCurrentStartDate"] for ad in seen)
        both = f"condor_vac_machine_worked_seconds_total{{{mine}}} + condor_vac_machine_wasted_seconds_total{{{mine}}}"
        assert scraper.value(both) == seconds
        assert scraper.value(f"condor_vac_machine_worked_seconds_total{{{mine}}}") == pytest.approx(
            3 * 2000 + 800, abs=1
        )
        _fault(watched, scraper)
        for expression in panels(site.name):
            scraper.wait(lambda expression=expression: scraper.query(expression), expression)
        done = tools.promtool("check", "metrics", given=(watched.textfiles / metrics.NAME).read_text())
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def _fault(watched: Watched, scraper: Scraper) -> None:
    """The schedd goes away: cycles fail, and the alert of that waits for its time to fire."""
    assert ("CondorVacFactoryFailing", "pending") not in scraper.alerts()
    watched.site.pool.run("condor_off", "-fast", "-schedd")
    scraper.wait(lambda: not watched.site.pool.answers(), "the schedd is away")
    assert watched.site.once().returncode == 1
    watched.write()
    scraper.wait(lambda: ("CondorVacFactoryFailing", "pending") in scraper.alerts(), "the alert")
    assert scraper.value("condor_vac_cycle_errors_total") == 1
    watched.site.pool.run("condor_on", "-schedd")
    watched.site.pool.wait_for_schedd()
    watched.cycle()


def panels(machinetype: str) -> list[str]:
    """The expressions of the dashboard, with its variable as Grafana sets it."""
    found = [
        target["expr"] for panel in json.loads(tools.DASHBOARD.read_text())["panels"] for target in panel["targets"]
    ]
    assert len(found) > 10
    return [re.sub(r"\$machinetype", machinetype, expression) for expression in found]
