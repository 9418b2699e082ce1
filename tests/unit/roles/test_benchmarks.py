# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role worker makes of a node's benchmarks: attributes of its slots, and a setting for features."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.roles.test_platforms import ROLES, resolve

TEMPLATE = (ROLES / "worker/templates/50-vm-universe.config.j2").read_text()
SETTINGS = "{{ worker_files['/etc/condor_vac/worker.json'] }}"


@pytest.mark.parametrize(
    ("variables", "lines"),
    [
        ({}, []),
        ({"worker_hepscore23_per_processor": 0, "worker_hs06_per_processor": "0"}, []),
        (
            {"worker_hepscore23_per_processor": "12.5"},
            ["VacHepscore = 12.5", "STARTD_ATTRS = $(STARTD_ATTRS) VacHepscore"],
        ),
        ({"worker_hs06_per_processor": 11}, ["VacHepspec = 11.0", "STARTD_ATTRS = $(STARTD_ATTRS) VacHepspec"]),
    ],
)
def test_a_measured_node_publishes_its_benchmark(variables: dict[str, Any], lines: list[str]) -> None:
    text = resolve("debian13", TEMPLATE, ansible_managed="", **variables)
    assert [line for line in text.splitlines() if line.startswith(("VacHep", "STARTD_ATTRS"))] == lines


@pytest.mark.parametrize(("variable", "figure"), [(0, None), ("0", None), ("11.5", 11.5), (11.5, 11.5)])
def test_features_have_the_nodes_hs06(variable: Any, figure: float | None) -> None:
    settings = resolve("debian13", SETTINGS, worker_hs06_per_processor=variable)
    found = json.loads(settings) if isinstance(settings, str) else settings
    assert found["hs06_per_processor"] == figure
