# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten situations, staged one after another in one pool, and what each program says of them.

Nothing waits for long: what needs two hours has them in the queue's dates, and a factory that stopped has the minute
after which it is late in its state.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from condor_vac.cli.survey import MISSED_CYCLES
from tests.integration.chroot import OWNER
from tests.integration.factory.site import Site, ended, job_id, running
from tests.integration.situations.access_point import CYCLE_SECONDS, PLACES, AccessPoint, Said, wait_for
from tests.unit.webserver import certificate

# More than the minute that a factory has besides its cycles.
LATE = 70
WAITED = 7300
NODES = ("wn1.vac.test", "wn2.vac.test")
HOSTS = [f"wn{number}.vac.test" for number in range(3, 8)]
PORT = 8443
SERVER = """
import http.server, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
TRUST = {"SSL_CERT_FILE": "/pool/images.pem"}
SETTINGS = json.dumps({"execute": "/pool/execute", "image_dir": "/pool/images"})
LIFETIME = str(12 * 86400)


class Stages:
    """The machinetypes of the access point, and what was said so far; ``screens`` are what commands printed once."""

    def __init__(self, ap: AccessPoint) -> None:
        self.ap = ap
        self.said: dict[str, Said] = {}
        self.screens: dict[str, str] = {}
        self._nodes(cpus=8)
        self.well = ap.site("lhcb", max_machines=6, first_machines=4)
        self.held = ap.site("alice")
        self.dry = ap.site("atlas")
        self.banned = ap.site("cms")
        self.hole = ap.site("belle")
        self.full = ap.site("na62", processors=4)
        self.wrong = ap.site("gridpp", requirements='TARGET.OpSysAndVer == "Debain13"')

    def play(self) -> None:
        """All of them, one after another."""
        for site in (self.well, self.held, self.dry, self.banned, self.hole, self.full, self.wrong):
            self.ap.decided(site, f'"idle": {4 if site is self.well else 6}')
        # Counters have their first values before anything ends.
        self.ap.alerts()
        self._hold()
        self._lives()
        self._wait_long(self.wrong, self.full)
        for words in ("status", "machines --ended 7d"):
            self.screens[words] = self.ap.printed(*words.split(), *PLACES)
        self._say("no work", self.dry)
        self._say("experiment banned", self.banned)
        self._say("black hole", self.hole)
        self._say("wrong requirements", self.wrong)
        self._token()
        (self.ap.pool.local / "etc/worker.json").write_text(SETTINGS)
        self._image_server()
        self._full()
        self._clock()
        self._late(self.held)
        self._say("factory held", self.held)
        self._schedd_away()

    def _nodes(self, cpus: int) -> None:
        for node in NODES:
            self.ap.pool.advertise(
                node, HasVM="True", VM_Type='"kvm"', VM_AvailNum="8", VM_Memory="65536", VM_Networking="True",
                VM_Networking_Types='"nat"', OpSysAndVer='"Debian13"', Cpus=str(cpus),
                Requirements="MY.Cpus >= TARGET.RequestCpus",
            )  # fmt: skip

    def _say(self, situation: str, site: Site, explain: str = "", doctor: str = "", also: str = "") -> None:
        """What the programs have of a machinetype now; ``also``: alerts of the machine."""
        shown = explain or self.ap.explain(site.name)
        alerts = self.ap.alerts(site.name).union(also.split())
        self.said[situation] = Said(shown, doctor, self.ap.page(site.name), alerts)

    def _of_machine(self, situation: str, step: str, make: Callable[[], object], site: Site, user: str = OWNER) -> None:
        """A situation that the machine's doctor finds in one step; ``site``'s machinetype is looked at as well."""
        before = self.ap.alerts()
        make()
        explain, doctor = self.ap.explain(site.name, user), self.ap.doctor(step)
        self._say(situation, site, explain, doctor, " ".join(self.ap.alerts() - before))

    def _hold(self) -> None:
        (job,) = (job_id(ad) for ad in self.held.factory_jobs())
        self.held.start(idle(self.held)[0], host=NODES[0])
        self.ap.decided(self.held, '"running": 1')
        self.ap.pool.run("condor_hold", job)
        wait_for(lambda: not self.held.pids() and not idle(self.held), "the factory is held, and took VMs back")

    def _lives(self) -> None:
        """VMs that work, that find no work, that the experiment bans, and those of a black hole."""
        works, waits = running(900, 0.9, NODES[0]), running(30, 0.0, NODES[1])
        with paused(self.well, self.dry, self.banned, self.hole):
            self.well.jobs(edits=dict.fromkeys(idle(self.well)[:3], works))
            lives = {site: idle(site)[:5] for site in (self.dry, self.banned, self.hole)}
            for site in (self.dry, self.banned):
                site.jobs(
                    edits={job: {**waits, "RemoteHost": f'"slot1_1@{host}"'} for job, host in zip(lives[site], HOSTS)}
                )
            good, bad = lives[self.hole][:2], lives[self.hole][2:]
            self.hole.jobs(edits={**dict.fromkeys(good, works), **dict.fromkeys(bad, waits)})
        for site in lives:
            self.ap.decided(site, '"running": 5')
        # A run keeps its start.
        start = {"JobCurrentStartDate": waits["JobCurrentStartDate"]}
        for site, code in ((self.dry, 300), (self.banned, 400)):
            ends = {job: {**ended(code, 30, False, host), **start} for job, host in zip(lives[site], HOSTS)}
            site.jobs(edits=ends)
        failed = {**ended(500, 30, False, NODES[1]), **start}
        self.hole.jobs(edits=dict.fromkeys(bad, failed))
        self.ap.decided(self.dry, "No VM finds work")
        self.ap.decided(self.banned, "banned by the experiment")
        self.ap.decided(self.hole, 'Submitting none (limited by max_idle = 6).", "Avoiding 1 host')
        self.ap.decided(self.well, "3 VMs found work")

    def _wait_long(self, *sites: Site) -> None:
        """Let their VMs have waited for two hours."""
        before = time.time() - WAITED
        with paused(*sites):
            for site in sites:
                site.jobs(edits={job: {"QDate": str(int(before))} for job in idle(site)})
        wait_for(
            lambda: all(site.last()["observed"]["oldest_idle"] <= before for site in sites),
            "the factories have seen it",
        )

    def _token(self) -> None:
        def make() -> None:
            made = self.ap.pool.run("condor_token_create", "-identity", "condor@vac.test", "-lifetime", LIFETIME)
            path.write_text(made.stdout)

        path = self.ap.pool.local / "tokens.d" / "pool"
        self._of_machine("token about to end", "condor", make, self.well, "root")
        path.unlink()
        self.screens["doctor --step condor"] = self.ap.doctor("condor")
        assert "0 with a finding" in self.screens["doctor --step condor"]

    def _image_server(self) -> None:
        image = ("image", "put", "vm.iso", f"https://127.0.0.1:{PORT}/vm.iso")
        (self.ap.pool.local / "vm.iso").write_bytes(bytes(range(256)) * 1000)
        certificate(self.ap.pool.local / "images.pem", "127.0.0.1")
        with self._served():
            wait_for(lambda: "changed" in self.ap.printed(*image, env=TRUST), "the image is here")
        self._of_machine(
            "image server away", "images", lambda: self.ap.printed("image", "refresh", env=TRUST), self.well
        )
        with self._served():
            wait_for(lambda: "unchanged" in self.ap.printed("image", "refresh", env=TRUST), "the server answers")
        wait_for(lambda: "0 with a finding" in self.ap.doctor("images"), "the doctor finds nothing")

    @contextlib.contextmanager
    def _served(self) -> Iterator[None]:
        """While this lasts there is a web server with the image, in the pool's network."""
        command = [*self.ap.pool.beside(), sys.executable, "-c", SERVER, "images.pem", str(PORT)]
        server = subprocess.Popen(command, cwd=self.ap.pool.local, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            server.terminate()
            server.wait(timeout=30)

    def _full(self) -> None:
        """No node has processors left, and this one no room on its disk either."""

        def make() -> None:
            self.ap.pool.run("mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", "/pool/execute")
            self._nodes(cpus=0)

        self._of_machine("node full", "images", make, self.full)
        self._nodes(cpus=8)
        self.ap.pool.run("umount", "/pool/execute")
        assert "0 with a finding" in self.ap.doctor("images")

    def _clock(self) -> None:
        self._of_machine("clock off", "checks", lambda: None, self.well)

    def _late(self, site: Site) -> None:
        """Let the last cycle of a factory that has stopped be long enough ago to count as late."""
        state = site.state_file()
        state["last"]["time"] -= LATE + MISSED_CYCLES * CYCLE_SECONDS
        (site.states / "state.json").write_text(json.dumps(state))

    def _schedd_away(self) -> None:
        self.ap.pool.run("condor_off", "-fast", "-schedd")
        wait_for(lambda: not self.ap.pool.answers() and not self.well.pids(), "schedd and factories have ended")
        self._late(self.well)
        self._say("schedd away", self.well)


def idle(site: Site) -> list[str]:
    """The VM jobs that wait, by number."""
    return sorted(job_id(ad) for ad in site.jobs("JobStatus == 1"))


@contextlib.contextmanager
def paused(*sites: Site) -> Iterator[None]:
    """While this lasts their factories stand still: none takes back a VM that waits and is to run."""
    # A process that one of them started for a moment may be gone by now.
    pool, pids = sites[0].pool, [str(pid) for site in sites for pid in site.pids()]
    assert len(pids) >= len(sites)
    pool.run("kill", "-STOP", *pids, check=False)
    try:
        yield
    finally:
        pool.run("kill", "-CONT", *pids, check=False)
