# SPDX-License-Identifier: GPL-3.0-or-later
"""AUDITOR's collector and APEL plugin as docs/examples has them, and a server that stands in for AUDITOR and APEL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.accounting.vms import SITE, Site
from tests.interpreters import ROOT

HERE = Path(__file__).resolve().parent
EXAMPLES = ROOT / "docs/examples/auditor"
BROKER = "localhost"
LIMIT_SECONDS = 120


class Programs:
    """AUDITOR's programs ``where``, run on this machine's files and in the pool's network."""

    def __init__(self, site: Site, where: Path, condor: Path, directory: Path) -> None:
        self.site = site
        self.where = where
        self.directory = directory
        self.store = directory / "store"
        self.store.mkdir()
        self._path = f"{condor}:{os.environ['PATH']}"
        self._server: subprocess.Popen[bytes] | None = None
        self._certificate()

    def _certificate(self) -> None:
        """What the broker shows, and what the plugin signs and shows: one for both."""
        key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, BROKER)])
        now = datetime.now(timezone.utc)
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(BROKER)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        form, plain = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        (self.store / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (self.store / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))

    def start(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        """One of the programs, with its words in ``program.log``."""
        environment = {"PATH": self._path, "HOME": str(self.directory), "REQUESTS_CA_BUNDLE": f"{self.store}/cert.pem"}
        with open(self.directory / f"{program}.log", "ab") as log:
            return subprocess.Popen(
                [*self.site.pool.beside(), str(self.where / program), *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip

    def log(self, program: str) -> str:
        """What it has written."""
        return (self.directory / f"{program}.log").read_text()

    def serve(self, *, ignore: bool, hold: int | None = None) -> None:
        """Start the server anew. With ``hold``, it takes that record and never answers."""
        self.end_server()
        for name, wanted in (("ignore", ignore), ("hold", hold is not None), ("held", False), ("ready", False)):
            (self.store / name).unlink(missing_ok=True)
            if wanted:
                (self.store / name).write_text(str(hold))
        self._server = self.start("python", str(HERE / "server.py"), str(self.store))
        self.wait(self.store / "ready", self._server)

    def end_server(self) -> None:
        """End the server, if one runs."""
        if self._server is not None:
            end(self._server)
        self._server = None

    def wait(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        """Wait until the file is there. Fails if the process ends before, or after a long time."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not path.exists():
            assert process.poll() is None, "ended early"
            assert time.monotonic() < deadline, f"no {path.name}"
            time.sleep(0.05)

    def collector(self) -> subprocess.Popen[bytes]:
        """The collector, once, with the example's configuration; only where things are is this test's."""
        schedd = self.site.pool.run("condor_status", "-schedd", "-af", "Name").stdout.strip()
        example = yaml.safe_load((EXAMPLES / "htcondor_collector.yml").read_text())
        own = {"schedd_names": [schedd], "state_db": f"{self.directory}/state.db", "earliest_datetime": "2020-01-01"}
        assert own.keys() <= example.keys()
        path = self.directory / "collector.yml"
        path.write_text(json.dumps({**example, **own}))
        return self.start("auditor-htcondor-collector", "--one-shot", "--config", str(path))

    def republish(self, month: str, *more: str) -> int:
        """The APEL plugin's exit code for a month, with the example's configuration."""
        text = (EXAMPLES / "apel_plugin.conf").read_text()
        for old, new in (
            ("SITE-EXAMPLE: [SITE-EXAMPLE]", f"{SITE}: [{SITE}]"),
            ("host: msg.argo.grnet.gr", f"host: {BROKER}"),
            ("port: 8443", "port: 443"),
            ("/etc/grid-security/hostcert.pem", f"{self.store}/cert.pem"),
            ("/etc/grid-security/hostkey.pem", f"{self.store}/key.pem"),
            ("/var/lib/auditor_apel_plugin/time.json", f"{self.directory}/time.json"),
        ):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path = self.directory / "apel.yml"
        path.write_text(text)
        year, number = month.split("-")
        return self.start(
            "auditor-apel-republish", "--config", str(path), "-s", SITE, "-y", year, "-m", str(int(number)), *more
        ).wait(LIMIT_SECONDS)

    def records(self) -> list[dict[str, Any]]:
        """What the server has."""
        return [json.loads(line) for line in (self.store / "records").read_text().splitlines()]

    def messages(self) -> list[str]:
        """What the broker got, the last two: sync and summary."""
        found = sorted((self.store / "messages").iterdir(), key=lambda path: int(path.name))
        return [path.read_text() for path in found[-2:]]


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill it with its children, at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(LIMIT_SECONDS)
