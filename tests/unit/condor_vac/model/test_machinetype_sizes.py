# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes for each processor: what a machinetype has of them, and that whole sizes win."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.base.errors import UsageError
from condor_vac.model.machinetype import Machinetype
from tests.unit.condor_vac.standins import machinetype


@pytest.mark.parametrize(
    ("keys", "memory"),
    [
        ({}, 2048),
        ({"processors": 8}, 16384),
        ({"processors": 8, "memory_mb_per_processor": 2500}, 20000),
        ({"processors": 8, "memory_mb": 3000}, 3000),
        ({"processors": 8, "memory_mb": 3000, "memory_mb_per_processor": 2500}, 3000),
    ],
)
def test_memory(keys: dict[str, int], memory: int) -> None:
    assert machinetype(**keys).memory_mb == memory


@pytest.mark.parametrize(
    ("keys", "cache_and_scratch"),
    [
        ({}, (20, 30)),
        ({"processors": 8}, (20, 30)),
        # 40 x 10^9 bytes are 37.25 GiB.
        ({"disk_gb_per_processor": 40}, (38, 0)),
        ({"disk_gb_per_processor": 40, "processors": 4}, (150, 0)),
        ({"disk_gb_per_processor": 0.5}, (20, 0)),
        ({"disk_gb_per_processor": 2**30 / 10**9, "processors": 100}, (100, 0)),
        ({"kind": "cloud-init", "disk_gb_per_processor": 40.5, "processors": 8}, (0, 302)),
        ({"kind": "cloud-init", "disk_gb_per_processor": 0.5}, (0, 1)),
        ({"disk_gb_per_processor": 40, "scratch_gb": 5}, (38, 5)),
        ({"disk_gb_per_processor": 40, "cvmfs_cache_gb": 0}, (0, 0)),
    ],
)
def test_disks(keys: dict[str, Any], cache_and_scratch: tuple[int, int]) -> None:
    found = machinetype(**keys)
    assert (found.cvmfs_cache_gb, found.scratch_gb) == cache_and_scratch


@pytest.mark.parametrize(
    ("keys", "hs06"),
    [
        ({"processors": 3}, None),
        ({"processors": 3, "hs06_per_processor": 1.1}, 3.3),
        ({"processors": 8, "hs06_per_processor": 11.5}, 92.0),
        ({"processors": 8, "hs06_per_processor": 11.5, "hs06": 90.0}, 90.0),
    ],
)
def test_hs06(keys: dict[str, Any], hs06: float | None) -> None:
    assert machinetype(**keys).hs06 == hs06


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"processors": 1024, "memory_mb_per_processor": 1 << 20}, "memory_mb: must be"),
        ({"processors": 1024, "disk_gb_per_processor": 1 << 20}, "cvmfs_cache_gb: must be"),
        ({"memory_mb_per_processor": 10}, "memory_mb_per_processor: must be"),
        ({"disk_gb_per_processor": 0}, "disk_gb_per_processor: must be"),
        ({"hs06_per_processor": "much"}, "hs06_per_processor: must be"),
    ],
)
def test_a_size_that_cannot_be_is_named(keys: dict[str, Any], key: str) -> None:
    with pytest.raises(UsageError, match=key):
        machinetype(**keys)


@given(
    st.integers(1, 64),
    st.integers(64, 9000),
    st.floats(0.01, 100),
    st.floats(0.01, 50),
    st.sampled_from(["cernvm", "cloud-init"]),
)
def test_a_machinetype_written_out_is_the_same(
    processors: int, memory: int, disk: float, hs06: float, kind: str
) -> None:
    found = machinetype(
        processors=processors, kind=kind,
        memory_mb_per_processor=memory, disk_gb_per_processor=disk, hs06_per_processor=hs06,
    )  # fmt: skip
    assert Machinetype.from_mapping(found.to_mapping(), "x") == found
    assert found.memory_mb == processors * memory
    assert found.cvmfs_cache_gb + found.scratch_gb >= processors * disk * 10**9 / 2**30 - 1e-6
