# SPDX-License-Identifier: GPL-3.0-or-later
"""mjf-check as guests get it: in shell and in Python it prints what condor_vac mjf-check prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from condor_vac.model import machine_job_features as mjf
from condor_vac.worker.vm import features
from tests.experiment.guest import mjfcheck

VM = features.Vm(
    uuid="7b9d3b1e-0000-4000-8000-000000000001",
    machinetype="lab",
    processors=2,
    memory_bytes=1 << 31,
    scratch_bytes=1 << 30,
    started=1764000000,
    wall_limit_secs=3600,
    grace_secs=600,
    hs06=21.5,
)
CHANGES: list[dict[str, str | None]] = [
    {},
    {"total_cpu": None},
    {"hs06": None, "hs06_job": None},
    {"job_id": "two words"},
    {"wall_limit_secs": "1 h"},
    {"max_rss_bytes": "2048"},
    {"jobstart_secs": "1764000000000"},
    {"allocated_cpu": "3"},
    {"cpu_limit_secs": "0", "shutdowntime_job": ""},
]


@pytest.mark.slow
@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("form", ["shell", "python"])
def test_prints_what_mjf_check_prints(tmp_path: Path, form: str, changes: dict[str, str | None]) -> None:
    keys = {mjf.MACHINE: features.machine_features(VM), mjf.JOB: features.job_features(VM)}
    for where, values in keys.items():
        kept = {**values, **{key: value for key, value in changes.items() if key in values}}
        keys[where] = {key: value for key, value in kept.items() if value is not None}
        (tmp_path / where).mkdir()
        for key, value in keys[where].items():
            (tmp_path / where / key).write_text(value)
    mjfcheck.main(tmp_path)
    script, program = tmp_path / "mjf_check.sh", tmp_path / "program"
    subprocess.run(["base64", "-d", tmp_path / "mjf_check.b64"], stdout=program.open("wb"), check=True)
    command = ["sh", str(script)] if form == "shell" else [sys.executable, str(program)]
    places = [str(tmp_path / mjf.MACHINE), str(tmp_path / mjf.JOB)]
    done = subprocess.run([*command, *places], capture_output=True, text=True, check=False)
    findings = mjf.check(keys)
    for severity in (mjf.ERROR, mjf.WARNING):
        wanted = sorted(f"{finding.where}/{finding.key}" for finding in findings if finding.severity == severity)
        found = [line.split()[1].rstrip(":") for line in done.stdout.splitlines() if line.startswith(severity)]
        assert sorted(found) == wanted
    assert done.returncode == (1 if any(finding.severity == mjf.ERROR for finding in findings) else 0)
