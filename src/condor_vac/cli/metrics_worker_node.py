# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics of a worker node: its leases, what vac_watch left of its last run, its images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

from condor_vac import RUN_DIRECTORY
from condor_vac.base.errors import VacError
from condor_vac.cli.metric_families import Metrics
from condor_vac.image.store import Store as ImageStore
from condor_vac.worker import settings, troubles
from condor_vac.worker.lease.store import Lease, Store

_STATES = ("starting", "running", "stopping", "saved", "ended")


def collect(made: Metrics, run_directory: str = RUN_DIRECTORY, settings_path: str = settings.PATH) -> None:
    """All of them; what cannot be read costs its own samples, and condor_vac_unreadable shows it."""
    parts: dict[str, Callable[[], None]] = {
        "leases": lambda: _leases(made, run_directory),
        "watch": lambda: _watch(made, run_directory),
        "images": lambda: _images(made, settings.load(settings_path).image_dir),
    }
    for part, look in parts.items():
        try:
            look()
        except VacError:
            # condor_vac doctor prints why.
            made.add("condor_vac_unreadable", 1, part=part)
        else:
            made.add("condor_vac_unreadable", 0, part=part)


def _leases(made: Metrics, run_directory: str) -> None:
    leases, damaged = Store(run_directory).read()
    states = Counter(map(_state, leases))
    for state in _STATES:
        made.add("condor_vac_leases", states[state], state=state)
    made.add("condor_vac_leases_damaged", len(damaged))


def _state(lease: Lease) -> str:
    if lease.ended is not None:
        return "ended"
    if lease.saved:
        return "saved"
    if lease.stopping is not None:
        return "stopping"
    return "starting" if lease.started is None else "running"


def _watch(made: Metrics, run_directory: str) -> None:
    """Each run of vac_watch ends by writing its troubles, none among them."""
    path = os.path.join(run_directory, troubles.NAME)
    try:
        ended = os.stat(path).st_mtime
    except FileNotFoundError:
        # Since the node started it has not run.
        ended = 0.0
    except OSError as error:
        raise VacError(f"{path}: {error.strerror}") from error
    made.add("condor_vac_watch_last_run_timestamp_seconds", ended)
    made.add("condor_vac_watch_troubles", len(troubles.read(run_directory)))


def _images(made: Metrics, directory: str) -> None:
    store = ImageStore(directory)
    for name in store.names():
        try:
            record = store.record(name)
        except VacError:
            record = None
        made.add("condor_vac_image_good", record is not None, image=name)
        if record is not None:
            made.add("condor_vac_image_fetched_timestamp_seconds", record.fetched, image=name)
            made.add("condor_vac_image_size_bytes", record.size, image=name)
    made.add("condor_vac_image_store_bytes", sum(store.sizes().values()))
