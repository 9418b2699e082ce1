# SPDX-License-Identifier: GPL-3.0-or-later
"""The conformance checker: WLCG's severities, types and units, from directories and over HTTP."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from condor_vac.cli import dispatch
from condor_vac.model import machine_job_features as mjf
from condor_vac.model.machinetype_keys import hs06
from condor_vac.worker.vm import features
from condor_vac.worker.vm.features import Vm

VM = Vm(
    uuid="8f7b1f0e-3c57-4c53-9a51-0a6f3d1e2b4c",
    machinetype="atlas",
    processors=8,
    memory_bytes=16 * 2**30,
    scratch_bytes=30 * 2**30,
    started=1700000000,
    wall_limit_secs=86400,
    grace_secs=3600,
    hs06=88.0,
)
MACHINE = features.machine_features(VM)
JOB = features.job_features(VM)


def found(machine: dict[str, str] | None = None, job: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """(severity, key) of each finding for our own features with some keys changed; "" takes one away."""
    both = {"machinefeatures": {**MACHINE, **(machine or {})}, "jobfeatures": {**JOB, **(job or {})}}
    kept = {where: {key: value for key, value in keys.items() if value} for where, keys in both.items()}
    return [(finding.severity, finding.key) for finding in mjf.check(kept)]


def test_what_we_write_ourselves_conforms() -> None:
    assert found() == []


ABSENT = {
    "ERROR": ["total_cpu", "allocated_cpu", "jobstart_secs", "job_id", "wall_limit_secs", "cpu_limit_secs"],
    "WARNING": ["hs06", "hs06_job", "max_rss_bytes", "max_swap_bytes", "scratch_limit_bytes"],
    "INFO": ["shutdowntime", "grace_secs", "shutdowntime_job", "grace_secs_job"],
}


def test_absent_keys_have_the_severities_of_wlcgs_probe() -> None:
    findings = mjf.check({"machinefeatures": {}, "jobfeatures": {}})
    by_severity = {severity: {item.key for item in findings if item.severity == severity} for severity in ABSENT}
    assert by_severity == {severity: set(keys) for severity, keys in ABSENT.items()}
    assert {item.message for item in findings} == {"absent"}


WRONG = {
    "total_cpu": ["0", "-1", "1.0", "one", "8 ", "None"],
    "hs06": ["0", "1e2", "x", "-1", "nan", ".", "0.", ".0", "1.1.1", "3,3", "inf"],
    "shutdowntime": ["None", "0", "1700000000000", "86400"],
    "grace_secs": ["1.5", "1h"],
    "allocated_cpu": ["0", "1\n2"],
    "jobstart_secs": ["8f7b1f0e-3c57-4c53-9a51-0a6f3d1e2b4c", "60"],
    "job_id": ["a b", "a\tb", "caf\u00e9", "a\nb"],
    "wall_limit_secs": ["0", "24h"],
    "cpu_limit_secs": ["0", "3.5"],
    "max_rss_bytes": ["2048", "2GB"],
    "max_swap_bytes": ["-1"],
    "scratch_limit_bytes": ["30"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_wrong_value_is_an_error_whatever_the_key(key: str, value: str) -> None:
    change = {key: value}
    findings = (
        found(machine=change) if key in {"total_cpu", "hs06", "shutdowntime", "grace_secs"} else found(job=change)
    )
    assert ("ERROR", key) in findings


@pytest.mark.parametrize("value", [".87", "0.87", "7.", "3.3000000000000003", "87.99999999999999", "00.5", "1" * 15])
def test_decimals_as_sites_write_them_are_right(value: str) -> None:
    assert found({"hs06": "999999999999999"}, {"hs06_job": value}) == []


@pytest.mark.parametrize("processors", [1, 3, 7, 8, 48])
@pytest.mark.parametrize("of_one", [0.1, 1.1, 3.3, 10.87, 11.5, 0.001, 12.3456789012345])
def test_our_own_figures_pass_our_own_check(processors: int, of_one: float) -> None:
    vm = features.Vm(
        uuid="u", machinetype="m", processors=processors, memory_bytes=1 << 31, scratch_bytes=0, started=1700000000,
        wall_limit_secs=3600, grace_secs=3600, hs06=hs06(of_one, processors),
    )  # fmt: skip
    findings = mjf.check({mjf.MACHINE: features.machine_features(vm), mjf.JOB: features.job_features(vm)})
    assert [(item.severity, item.key) for item in findings] == [("WARNING", "scratch_limit_bytes")]
    assert len(features.machine_features(vm)["hs06"]) <= 16


def test_values_that_contradict_each_other() -> None:
    assert ("ERROR", "allocated_cpu") in found(job={"allocated_cpu": "9"})
    assert ("ERROR", "hs06_job") in found(job={"hs06_job": "89"})
    assert ("ERROR", "jobstart_secs") in found(job={"jobstart_secs": "1700086401"})
    assert ("WARNING", "cpu_limit_secs") in found(job={"cpu_limit_secs": "691201"})
    assert ("WARNING", "grace_secs") in found({"shutdowntime": "1700000100", "grace_secs": ""})
    assert ("WARNING", "grace_secs_job") in found(job={"grace_secs_job": ""})


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A directory with both kinds of features."""
    for where, keys in (("machinefeatures", MACHINE), ("jobfeatures", JOB)):
        (tmp_path / where).mkdir()
        features.write(str(tmp_path / where), keys)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    status = dispatch.main(["mjf-check", "--json", *argv])
    return status, json.loads(capsys.readouterr().out)


def test_one_directory_with_both_or_each_by_itself(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = {"machinefeatures": f"{base}/machinefeatures", "jobfeatures": f"{base}/jobfeatures"}
    for argv in ([str(base)], [f"{base}/"], [f"{base}/jobfeatures", f"{base}/machinefeatures/"]):
        status, result = run(capsys, *argv)
        assert (status, result["locations"], result["errors"], result["warnings"]) == (0, both, 0, 0)
    status, result = run(capsys, f"{base}/machinefeatures")
    assert (status, list(result["locations"])) == (0, ["machinefeatures"])


def test_a_directory_of_another_name_is_known_by_its_keys(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (base / "jobfeatures").rename(base / "jf.4711")
    status, result = run(capsys, str(base / "jf.4711"))
    assert (status, result["locations"]) == (0, {"jobfeatures": f"{base}/jf.4711"})


def test_a_job_finds_its_own(base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACHINEFEATURES", str(base / "machinefeatures"))
    monkeypatch.setenv("JOBFEATURES", str(base / "jobfeatures"))
    assert len(run(capsys)[1]["locations"]) == 2
    monkeypatch.delenv("MACHINEFEATURES")
    assert len(run(capsys)[1]["locations"]) == 1
    monkeypatch.delenv("JOBFEATURES")
    assert dispatch.main(["mjf-check"]) == 2
    assert "give a DIR or URL" in capsys.readouterr().err


def test_errors_fail_and_warnings_only_if_asked(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features.remove_key(str(base / "machinefeatures"), "hs06")
    assert run(capsys, str(base))[0] == 0
    status, result = run(capsys, "--strict", str(base))
    assert (status, result["warnings"]) == (1, 1)
    features.remove_key(str(base / "jobfeatures"), "job_id")
    status, result = run(capsys, str(base))
    assert (status, result["errors"]) == (1, 1)
    assert dispatch.main(["mjf-check", str(base)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "ERROR   jobfeatures/job_id: absent" in lines
    assert "WARNING machinefeatures/hs06: absent" in lines
    assert lines[-1].startswith("1 errors, 1 warnings in machinefeatures at ")


def test_a_line_end_is_not_a_part_of_a_value(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (base / "machinefeatures" / "total_cpu").write_text("8\n")
    assert run(capsys, str(base))[0] == 0


def test_what_is_there_and_unreadable_is_an_error_of_that_key(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features.remove_key(str(base / "jobfeatures"), "hs06_job")
    (base / "jobfeatures" / "hs06_job").mkdir()
    (base / "jobfeatures" / "job_id").write_text("x" * 5000)
    status, result = run(capsys, str(base))
    errors = {item["key"]: item["message"] for item in result["findings"] if item["severity"] == "ERROR"}
    assert status == 1
    assert set(errors) == {"hs06_job", "job_id"}
    assert "larger than" in errors["job_id"]


def test_a_base_with_one_of_the_two_lacks_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "jobfeatures").mkdir()
    status, result = run(capsys, str(tmp_path))
    assert (status, result["errors"]) == (1, 6)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["{base}/absent"], "not a directory"),
        (["{base}/jobfeatures/job_id"], "not a directory"),
        (["ftp://example.org/machinefeatures"], "must be a directory or an http or https URL"),
        (["{base}/empty"], "no machine or job features found"),
        (["{base}", "{base}/jobfeatures"], "was given already"),
    ],
)
def test_a_wrong_location_is_bad_usage(
    argv: list[str], message: str, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (base / "empty").mkdir()
    assert dispatch.main(["mjf-check", *(word.format(base=base) for word in argv)]) == 2
    assert message in capsys.readouterr().err


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.keys`` (path → body or status), as an MJF server does."""

    def do_GET(self) -> None:
        answer = self.server.keys.get(self.path, 404)  # type: ignore[attr-defined]
        body = answer if isinstance(answer, bytes) else b""
        self.send_response(200 if isinstance(answer, bytes) else answer)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        keys: dict[str, bytes | int] = {f"/machinefeatures/{key}": value.encode() for key, value in MACHINE.items()}
        keys.update({f"/jobfeatures/{key}": value.encode() for key, value in JOB.items()})
        web.keys = keys  # type: ignore[attr-defined]
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        yield web
        web.shutdown()
        thread.join()


def test_over_http(server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    url = f"http://127.0.0.1:{server.server_port}"
    for argv in ([url], [f"{url}/"], [f"{url}/machinefeatures", f"{url}/jobfeatures/"]):
        status, result = run(capsys, *argv)
        assert (status, result["errors"], len(result["locations"])) == (0, 0, 2)
    server.keys["/jobfeatures/job_id"] = 403
    server.keys["/jobfeatures/max_rss_bytes"] = b"1" * 5000
    del server.keys["/jobfeatures/allocated_cpu"]
    status, result = run(capsys, url)
    errors = {item["key"]: item["message"] for item in result["findings"] if item["severity"] == "ERROR"}
    assert status == 1
    assert set(errors) == {"job_id", "max_rss_bytes", "allocated_cpu"}
    assert "HTTP status 403" in errors["job_id"]


def test_a_missing_server_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        port = web.server_port
    assert dispatch.main(["mjf-check", f"http://127.0.0.1:{port}/machinefeatures"]) == 1
    error = capsys.readouterr().err
    assert "cannot read" in error
    assert error.count("\n") == 1
