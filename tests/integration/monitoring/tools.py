# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus, promtool and node_exporter from Debian's packages, unpacked and never installed, since that starts them.

So is libfaketime, by which one daemon has a wrong clock.

``Scraper`` runs node_exporter and Prometheus in a network namespace of their own, where only loopback is.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from tests.integration.chroot import CHECKOUT

CACHE = CHECKOUT / ".cache"
PROGRAMS = ("prometheus", "prometheus-node-exporter")
FILES = CHECKOUT / "roles" / "monitoring" / "files"
RULES = FILES / "condor_vac.rules.yml"
DASHBOARD = FILES / "condor_vac.dashboard.json"
TOOLS = ("apt-get", "dpkg-deb", "unshare", "nsenter", "ip", "curl")
EXPORTER, PROMETHEUS = 9100, 9090
# The first process of the namespace: as pid 1 its end is that of the others.
START = """
set -e
ip link set lo up
exporter=$1 textfiles=$2 prometheus=$3 place=$4
"$exporter" --web.listen-address=127.0.0.1:9100 --collector.disable-defaults --collector.textfile \
  --collector.textfile.directory="$textfiles" &
"$prometheus" --web.listen-address=127.0.0.1:9090 --config.file="$place/prometheus.yml" \
  --storage.tsdb.path="$place/data" &
wait
"""


def missing() -> str | None:
    """Why these tests cannot run on this machine, in one line; None if they can."""
    if os.geteuid() != 0:
        return "a network namespace needs root; run the tests as root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not found: {', '.join(absent)}" if absent else None


def program(name: str) -> Path:
    """A program of the packages of Prometheus."""
    return _unpacked("prometheus", PROGRAMS) / "usr" / "bin" / name


def faketime() -> Path:
    """The library that, loaded first, gives a process another time."""
    (found,) = _unpacked("faketime", ("libfaketime",)).glob("usr/lib/*/faketime/libfaketime.so.1")
    return found


def _unpacked(name: str, packages: Sequence[str]) -> Path:
    """The files of Debian packages, fetched once for all who ask at the same time."""
    directory = CACHE / name
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            _fetch(directory.with_name(f"{name}.partial"), packages).rename(directory)
    return directory


def _fetch(partial: Path, packages: Sequence[str]) -> Path:
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *packages], cwd=partial, check=True)
    for package in partial.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(partial)], check=True)
        package.unlink()
    return partial


def promtool(*words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """The answer of promtool."""
    argv = [str(program("promtool")), *words]
    return subprocess.run(argv, input=given, capture_output=True, text=True, check=False)


class Scraper:
    """A Prometheus that scrapes a node_exporter whose textfile collector reads ``textfiles``; a context manager.

    ``rules`` is the file of its alert rules.
    """

    def __init__(self, place: Path, textfiles: Path, rules: Path = RULES) -> None:
        self._place = place
        self._textfiles = textfiles
        self._rules = rules
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0

    def __enter__(self) -> Scraper:
        scrape = {
            "job_name": "node", "scrape_interval": "1s", "static_configs": [{"targets": [f"127.0.0.1:{EXPORTER}"]}],
        }  # fmt: skip
        configuration = {
            "global": {"evaluation_interval": "1s"}, "scrape_configs": [scrape], "rule_files": [str(self._rules)],
        }  # fmt: skip
        (self._place / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        words = [program("prometheus-node-exporter"), self._textfiles, program("prometheus"), self._place]
        with open(self._place / "console", "ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "-npf", "--kill-child", "sh", "-c", START, "sh", *map(str, words)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        self._first = int(self.wait(lambda: children.read_text().split(), "the namespace")[0])
        self.wait(lambda: self._get("/-/ready", check=False), "Prometheus answers")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._first, signal.SIGKILL)
            self._process.wait(timeout=30)

    def wait(self, condition: Any, what: str, seconds: float = 120) -> Any:
        """The first true value of ``condition``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(0.3)
        raise AssertionError(f"not in {seconds} s: {what}\n{(self._place / 'console').read_text()[-2000:]}")

    def _get(self, path: str, *, check: bool = True) -> str:
        argv = [
            "nsenter",
            "-t",
            str(self._first),
            "-n",
            "curl",
            "-sS",
            "--fail",
            f"http://127.0.0.1:{PROMETHEUS}{path}",
        ]
        return subprocess.run(argv, capture_output=True, text=True, check=check).stdout

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector that an instant query gives."""
        answer = json.loads(self._get(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}"))
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def value(self, expression: str) -> float | None:
        """The one number of an instant query; None where there is no sample."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def alerts(self) -> set[tuple[str, str]]:
        """Name and state of each alert that is pending or fires."""
        found = json.loads(self._get("/api/v1/alerts"))["data"]["alerts"]
        return {(alert["labels"]["alertname"], alert["state"]) for alert in found}
