# SPDX-License-Identifier: GPL-3.0-or-later
"""What status, machines and explain show of damaged ads and files, and of other users' jobs."""

from __future__ import annotations

import json
import os
import pwd
import shutil
from pathlib import Path
from typing import Any

import pytest

from condor_vac.cli import survey
from condor_vac.condor.pool import Unreadable
from condor_vac.factory import state as factory_state
from condor_vac.factory.state import State
from tests.unit.condor_vac.cli.surveyed import LAST, SLOT, Site
from tests.unit.condor_vac.standins import COMPLETED, HELD, IDLE, NOW, RUNNING, ad, factory_ad, machinetype
from tests.unit.damage import MADE


def test_a_damaged_ad_is_shown_with_a_remedy_and_prevents_nothing(site: Site) -> None:
    """The VM is counted, and the others are shown."""
    site.pool.ads += [ad("50.0", QDate="x"), ad("50.1"), ad("50.2", RUNNING, VacHeartbeat=Unreadable("1 + x"))]
    site.pool.machines, site.pool.matches = [SLOT], (3, 2, [])
    code, text = site.explain()
    (line,) = [line for line in text.splitlines() if "QDate" in line]
    assert (code, line) == (0, "job 50.0: QDate is 'x', not a number from 0 up: counted as not known;"
                               " check who changed it, or condor_rm 50.0")  # fmt: skip
    code, out, _ = site.run("status", "--json")
    entry = json.loads(out)["machinetypes"]["gridpp"]
    assert (code, entry["idle"], entry["running"], entry["problems"]) == (1, 2, 1, [line])
    code, out, err = site.run("machines", "--json")
    assert (code, len(json.loads(out)), err) == (0, 3, f"gridpp: {line}\n")
    assert json.loads(out)[2]["heartbeat"] is None


def test_a_hundred_damaged_ads_take_a_few_lines(site: Site) -> None:
    site.pool.ads += [ad(f"50.{n}", RUNNING, VacBatch=7) for n in range(100)]
    _code, out, _ = site.run("status")
    assert len([line for line in out.splitlines() if "VacBatch" in line]) == 5
    assert "gridpp: and 95 more jobs with a damaged ad" in out.splitlines()


@pytest.mark.parametrize("key", ["VacHeartbeat", "ShutdownMessage", "HoldReason", "LastRejMatchReason", "VacStarted"])
@pytest.mark.parametrize("value", ["\x1b[2J\n", -1, 1e300, True, Unreadable("1 + x"), 4e9])
def test_any_value_of_a_workers_is_shown_as_printable_text(site: Site, key: str, value: Any) -> None:
    for number, state in enumerate((IDLE, RUNNING, COMPLETED, HELD)):
        site.pool.ads.append(ad(f"50.{number}", state, **{key: value}))
    for command in (["status"], ["machines"], ["explain", "gridpp"]):
        for form in ([], ["--json"]):
            _code, out, err = site.run(*command, *form)
            assert (out + err).replace("\n", "").isprintable()
            assert "50.1" in out or command != ["machines"]
    _code, out, _ = site.run("machines", "--json")
    assert all(each["heartbeat"] is None or each["heartbeat"] <= NOW for each in json.loads(out))


EVIL = "\x1b]0;owned\x07\x1b[2J\nMACHINETYPE  FACTORY\natlas  running"


def test_another_users_jobs_are_none_of_ours(site: Site, tmp_path: Path) -> None:
    """Names that any user chose reach neither the terminal nor a path, and such jobs count nowhere."""
    away = "../" * 12 + str(tmp_path)[1:] + "/evil"
    (tmp_path / "evil").mkdir()
    factory_state.save(str(tmp_path / "evil"), State(last={**LAST, "reasons": ["read from mallory's own file"]}))
    mallory: dict[str, Any] = {"Owner": "mallory"}
    site.pool.ads += [
        ad("50.0", VacMachinetype=EVIL), ad("50.1", **mallory), ad("50.2", VacMachinetype="mine", **mallory),
        factory_ad("3.0", VacFactory=away, **mallory), factory_ad("4.0", **mallory),
        factory_ad("5.0", VacFactory="mine", **mallory), ad("50.9", Owner="vac"),
    ]  # fmt: skip
    asked: list[str] = []
    real = site.pool.jobs
    site.pool.jobs = lambda constraint, *words: asked.append(constraint) or real(constraint, *words)  # type: ignore
    code, out, err = site.run("status", "--json")
    report = json.loads(out)["machinetypes"]
    assert (code, err, list(report)) == (0, "", ["gridpp"])
    assert (report["gridpp"]["idle"], report["gridpp"]["factory_job"]) == (1, "40.0")
    for command in (["status"], ["machines"], ["explain", "gridpp"]):
        _code, out, err = site.run(*command)
        assert (out + err).replace("\n", "").isprintable()
        assert "mallory" not in out + err
        assert "2 factories" not in out
    assert all('Owner == "vac"' in constraint for constraint in asked)
    assert site.run("explain", "mine")[0] == 2, "no machinetype"


def test_a_machinetype_without_its_file_is_its_directorys_owners(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (site.types / "gridpp.json").unlink()
    site.pool.ads.append(factory_ad("41.0", Owner="mallory"))
    monkeypatch.setattr(survey, "_owner", lambda directory: {"gridpp": "vac"}.get(Path(directory).name))
    entry = json.loads(site.run("status", "--json")[1])["machinetypes"]["gridpp"]
    assert (entry["factory"], entry["factory_job"]) == ("running", "40.0")
    monkeypatch.undo()
    assert survey._owner(str(site.states / "none")) is None
    assert survey._owner(str(site.states)) == pwd.getpwuid(os.geteuid()).pw_name


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("what", ["machinetype", "state", "state directory"])
def test_a_damaged_file_hides_nothing_of_the_other_machinetypes(site: Site, kind: str, what: str) -> None:
    """It is named, with what to do."""
    for name in ("aaa", "zzz"):
        (site.types / f"{name}.json").write_text(json.dumps({**machinetype().to_mapping(), "name": name}))
        (site.states / name).mkdir()
        factory_state.save(str(site.states / name), State(last=LAST))
        site.pool.ads += [factory_ad("41.0" if name == "aaa" else "42.0", VacFactory=name)]
    assert site.run("status")[0] == 0, "before"
    path = {
        "machinetype": site.types / "gridpp.json", "state": site.states / "gridpp" / "state.json",
        "state directory": site.states / "gridpp",
    }[what]  # fmt: skip
    if what == "state directory":
        shutil.rmtree(path)
        path.write_text("x")
    MADE[kind](path)
    code, out, _ = site.run("status", "--json")
    report = json.loads(out)["machinetypes"]
    assert list(report) == ["aaa", "gridpp", "zzz"]
    good = [report[name] for name in ("aaa", "zzz")]
    shown = [(entry["factory"], entry["problems"], entry["last"]["submit"]) for entry in good]
    assert shown == [("running", [], 2)] * 2
    named = report["gridpp"]["problems"]
    if kind == "from the future" or what == "state directory":
        assert named in ([], named[:1])
    else:
        assert (code, len(named), path.name in named[0]) == (1, 1, True)
        assert named[0].isprintable()


def test_a_state_that_was_put_aside_is_shown_until_it_is_removed(site: Site) -> None:
    aside = site.states / "gridpp" / "state.json.damaged"
    aside.write_text("{")
    code, out, _ = site.run("status")
    assert code == 1
    assert f"gridpp: {aside}: the factory put a damaged state file aside; remove it once you know why" in out
    aside.unlink()
    assert site.run("status")[0] == 0
