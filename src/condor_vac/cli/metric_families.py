# SPDX-License-Identifier: GPL-3.0-or-later
"""The metric families of condor_vac, and their text for Prometheus (python3-prometheus-client makes it).

Names and units follow https://prometheus.io/docs/practices/naming/: base units, ``_total`` for counters,
``_timestamp_seconds`` for Unix times. No label has a VM, a job or a host, so that their number grows with the site's
machinetypes and images and not with its VMs.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from condor_vac.base.errors import VacError
from condor_vac.base.shared import one_line

GAUGE, COUNTER, INFO = "gauge", "counter", "info"
# Characters of a label's value; what is longer is cut.
_VALUE_LIMIT = 200
# Samples of one family: more than a site has machinetypes, ends of them, or images.
SAMPLES_LIMIT = 5000


class Family(NamedTuple):
    """One family: its kind, its labels, and its help text. A counter's name is without ``_total``, an info's without
    ``_info``."""

    kind: str
    labels: tuple[str, ...]
    help: str


_OF = ("machinetype",)
FAMILIES: Mapping[str, Family] = {
    "condor_vac": Family(INFO, ("version",), "The release of condor_vac that wrote these metrics."),
    "condor_vac_machinetype_readable": Family(GAUGE, _OF, "1 if the machinetype's file can be used, else 0."),
    "condor_vac_state_readable": Family(
        GAUGE, (*_OF, "file"), "1 if this file of the factory can be read or does not exist yet, 0 if it is damaged."
    ),
    "condor_vac_state_set_aside": Family(
        GAUGE, (*_OF, "file"), "1 if the factory put a damaged file of this name aside, and it is still there."
    ),
    "condor_vac_machines": Family(GAUGE, (*_OF, "state"), "VMs in the queue by state, at the factory's last cycle."),
    "condor_vac_machines_working": Family(GAUGE, _OF, "Running VMs that show work, at the factory's last cycle."),
    "condor_vac_machines_limit": Family(GAUGE, _OF, "max_machines of the machinetype."),
    "condor_vac_machines_allowed": Family(GAUGE, _OF, "VMs without proof of work that the policy allows now."),
    "condor_vac_credit_machines": Family(GAUGE, _OF, "VMs without work that the policy can afford; negative: debt."),
    "condor_vac_hosts_avoided": Family(GAUGE, _OF, "Hosts that new VMs avoid because VMs only failed there."),
    "condor_vac_machines_submitted": Family(COUNTER, _OF, "VM jobs that the factory submitted."),
    "condor_vac_machines_started": Family(COUNTER, _OF, "Runs of VM jobs that a host began."),
    "condor_vac_machines_ended": Family(
        COUNTER, (*_OF, "kind", "code"), "Ends of VMs by kind and shutdown code (none: without, other: a rare one)."
    ),
    "condor_vac_machine_worked_seconds": Family(COUNTER, _OF, "Seconds from match to end of VMs that showed work."),
    "condor_vac_machine_wasted_seconds": Family(COUNTER, _OF, "Seconds from match to end of VMs that showed no work."),
    "condor_vac_cycles": Family(COUNTER, _OF, "Cycles of the factory."),
    "condor_vac_cycle_errors": Family(COUNTER, _OF, "Cycles of the factory that failed."),
    "condor_vac_last_cycle_timestamp_seconds": Family(GAUGE, _OF, "When the factory's last cycle began."),
    "condor_vac_last_cycle_failed": Family(GAUGE, _OF, "1 if the factory's last cycle failed, else 0."),
    "condor_vac_cycle_interval_seconds": Family(GAUGE, _OF, "Seconds between the factory's cycles."),
    "condor_vac_leases": Family(GAUGE, ("state",), "Leases of this worker node by the state of their VM."),
    "condor_vac_leases_damaged": Family(GAUGE, (), "Lease files that cannot be used."),
    "condor_vac_watch_last_run_timestamp_seconds": Family(GAUGE, (), "When vac_watch ended its last run."),
    "condor_vac_watch_troubles": Family(GAUGE, (), "What vac_watch could not do in its last run."),
    "condor_vac_image_good": Family(GAUGE, ("image",), "1 if VMs can start from the image, 0 if it is damaged."),
    "condor_vac_image_fetched_timestamp_seconds": Family(GAUGE, ("image",), "When this version was fetched."),
    "condor_vac_image_size_bytes": Family(GAUGE, ("image",), "Size of the present version."),
    "condor_vac_image_store_bytes": Family(GAUGE, (), "Size of all versions of all images."),
    "condor_vac_credential_readable": Family(GAUGE, ("kind", "path"), "1 if the credential can be read, else 0."),
    "condor_vac_credential_expiry_timestamp_seconds": Family(GAUGE, ("kind", "path"), "When the credential ends."),
    "condor_vac_unreadable": Family(GAUGE, ("part",), "1 if this part of the machine could not be read."),
    "condor_vac_doctor_findings": Family(GAUGE, ("step", "check"), "Findings of condor_vac doctor."),
    "condor_vac_doctor_last_run_timestamp_seconds": Family(GAUGE, (), "When condor_vac doctor ended its last run."),
}


class Metrics:
    """The samples of one run."""

    def __init__(self) -> None:
        self._samples: dict[str, dict[tuple[str, ...], float]] = {}

    def add(self, name: str, value: float, **labels: str) -> None:
        """One sample. Its labels must be those of its family; of more than SAMPLES_LIMIT the first ones stay."""
        family = FAMILIES[name]
        values = tuple(one_line(labels.pop(label), _VALUE_LIMIT) for label in family.labels)
        if labels:
            raise KeyError(f"{name} has no label {', '.join(labels)}")
        samples = self._samples.setdefault(name, {})
        if len(samples) < SAMPLES_LIMIT:
            samples[values] = float(value)

    def as_mapping(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {
            name: {
                "kind": FAMILIES[name].kind,
                "help": FAMILIES[name].help,
                "samples": [
                    {"labels": dict(zip(FAMILIES[name].labels, values)), "value": value}
                    for values, value in samples.items()
                ],
            }
            for name, samples in self._samples.items()
        }

    def text(self) -> bytes:
        """All samples in Prometheus' text format. Raises VacError if its library is missing."""
        try:
            library = importlib.import_module("prometheus_client")
            core = importlib.import_module("prometheus_client.core")
        except ImportError as error:
            raise VacError(f"metrics need Python's prometheus_client ({error}); {_REMEDY}") from error
        registry = library.CollectorRegistry(auto_describe=False)
        registry.register(_Collector(self._samples, core))
        made: bytes = library.generate_latest(registry)
        return made


_REMEDY = "install python3-prometheus-client (Enterprise Linux: python3-prometheus_client, in EPEL)"


class _Collector:
    """What the library asks for the families."""

    def __init__(self, samples: Mapping[str, Mapping[tuple[str, ...], float]], core: Any) -> None:
        self._samples = samples
        self._core = core

    def collect(self) -> Iterator[Any]:
        """The library's own objects, in the order of FAMILIES."""
        kinds = {
            GAUGE: self._core.GaugeMetricFamily,
            COUNTER: self._core.CounterMetricFamily,
            INFO: self._core.InfoMetricFamily,
        }
        for name, family in FAMILIES.items():
            if name not in self._samples:
                continue
            made = kinds[family.kind](name, family.help, labels=() if family.kind == INFO else family.labels)
            for values, value in self._samples[name].items():
                if family.kind == INFO:
                    made.add_metric((), dict(zip(family.labels, values)))
                else:
                    made.add_metric(values, value)
            yield made
