# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of an access point, from its machinetypes' files and what their factories keep."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from condor_vac.base.errors import VacError
from condor_vac.cli import survey
from condor_vac.cli.metric_families import Metrics
from condor_vac.factory import state as factory_state
from condor_vac.factory import totals as factory_totals
from condor_vac.factory.state import State
from condor_vac.factory.totals import Totals
from condor_vac.policy.schema import MOST

_STATES = ("idle", "running", "held", "removed")
Content = TypeVar("Content")


def collect(made: Metrics, machinetypes: str, state: str) -> None:
    """Every machinetype that has a file; what is damaged of one costs its own samples, and a sample shows it."""
    for name, site in survey.sites(machinetypes, state).items():
        if site.file is None:
            continue
        made.add("condor_vac_machinetype_readable", site.machinetype is not None, machinetype=name)
        if site.machinetype is not None:
            made.add("condor_vac_machines_limit", site.machinetype.max_machines, machinetype=name)
        _state(made, name, _read(made, name, site.directory, factory_state.NAME, factory_state.load))
        _totals(made, name, _read(made, name, site.directory, factory_totals.NAME, factory_totals.load))


def _read(made: Metrics, name: str, directory: str, file: str, load: Callable[[str], Content]) -> Content | None:
    """What one of a factory's files holds; None if it is damaged or not there."""
    aside = os.path.lexists(factory_state.damaged_path(directory, file))
    made.add("condor_vac_state_set_aside", aside, machinetype=name, file=file)
    try:
        found = load(directory)
    except VacError:
        # condor_vac status prints why.
        made.add("condor_vac_state_readable", 0, machinetype=name, file=file)
        return None
    made.add("condor_vac_state_readable", 1, machinetype=name, file=file)
    return found if os.path.lexists(os.path.join(directory, file)) else None


def _state(made: Metrics, name: str, state: State | None) -> None:
    if state is None or not state.last:
        return
    last = state.last
    made.add("condor_vac_last_cycle_timestamp_seconds", last["time"], machinetype=name)
    made.add("condor_vac_last_cycle_failed", last["error"] is not None, machinetype=name)
    made.add("condor_vac_cycle_interval_seconds", last["cycle_seconds"], machinetype=name)
    made.add("condor_vac_hosts_avoided", len(state.avoid), machinetype=name)
    observed, numbers = last.get("observed") or {}, last.get("numbers") or {}
    for word in _STATES:
        _add(made, "condor_vac_machines", observed, word, machinetype=name, state=word)
    _add(made, "condor_vac_machines_working", observed, "works", machinetype=name)
    _add(made, "condor_vac_machines_allowed", numbers, "allowed_unproven", machinetype=name)
    _add(made, "condor_vac_credit_machines", numbers, "credit", machinetype=name)


def _add(made: Metrics, family: str, source: Mapping[str, Any], key: str, **labels: str) -> None:
    """A figure of the state that its schema leaves open, if it is a number."""
    value = source.get(key)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MOST:
        made.add(family, value, **labels)


def _totals(made: Metrics, name: str, totals: Totals | None) -> None:
    if totals is None:
        return
    made.add("condor_vac_cycles", totals.cycles, machinetype=name)
    made.add("condor_vac_cycle_errors", totals.failed_cycles, machinetype=name)
    made.add("condor_vac_machines_submitted", totals.submitted, machinetype=name)
    made.add("condor_vac_machines_started", totals.started, machinetype=name)
    made.add("condor_vac_machine_worked_seconds", totals.worked_seconds, machinetype=name)
    made.add("condor_vac_machine_wasted_seconds", totals.wasted_seconds, machinetype=name)
    for row, number in sorted({**dict.fromkeys(factory_totals.USUAL_ENDS, 0), **totals.ends}.items()):
        kind, code = row.split()
        made.add("condor_vac_machines_ended", number, machinetype=name, kind=kind, code=code)
