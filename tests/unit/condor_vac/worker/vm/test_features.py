# SPDX-License-Identifier: GPL-3.0-or-later
"""Machine and job features: the note's keys and units, the older ones, and how they are written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.base.errors import VacError
from condor_vac.worker.vm import features
from condor_vac.worker.vm.features import Vm, job_features, machine_features

VM = Vm(
    uuid="8f7b1f0e-3c57-4c53-9a51-0a6f3d1e2b4c",
    machinetype="atlas",
    processors=8,
    memory_bytes=16 * 2**30,
    scratch_bytes=30 * 2**30,
    started=1700000000,
    wall_limit_secs=86400,
    grace_secs=3600,
    space="vac.example.org",
    hs06=88.0,
)


def test_machine_features_in_the_units_of_the_note() -> None:
    assert machine_features(VM) == {
        "total_cpu": "8",
        "hs06": "88.0",
        "shutdowntime": "1700086400",
        "grace_secs": "3600",
        "phys_cores": "8",
        "log_cores": "8",
        "jobslots": "1",
        "vac_space": "vac.example.org",
        "vac_uuid": VM.uuid,
        "vac_vmtype": "atlas",
    }


def test_job_features_in_the_units_of_the_note() -> None:
    assert job_features(VM) == {
        "allocated_cpu": "8",
        "hs06_job": "88.0",
        "shutdowntime_job": "1700086400",
        "grace_secs_job": "3600",
        "jobstart_secs": "1700000000",
        "job_id": VM.uuid,
        "wall_limit_secs": "86400",
        "cpu_limit_secs": "691200",
        "max_rss_bytes": "17179869184",
        "max_swap_bytes": "0",
        "scratch_limit_bytes": "32212254720",
        "cpufactor_lrms": "1.0",
        "cpu_limit_secs_lrms": "691200",
        "wall_limit_secs_lrms": "86400",
        "mem_limit_MB": "17179",
        "disk_limit_GB": "32",
        "allocated_CPU": "8",
    }


def test_an_unknown_value_has_no_key() -> None:
    vm = VM._replace(hs06=None, space=None, scratch_bytes=0)
    machine, job = machine_features(vm), job_features(vm)
    assert not {"hs06", "vac_space"} & set(machine)
    assert not {"hs06_job", "scratch_limit_bytes", "disk_limit_GB"} & set(job)
    assert "None" not in {**machine, **job}.values()


@pytest.mark.parametrize(("planned", "end"), [(None, 1700086400), (1700000100, 1700000100), (1800000000, 1700086400)])
def test_both_shutdown_times_are_that_of_the_earlier_end(planned: int | None, end: int) -> None:
    vm = VM._replace(shutdowntime=planned)
    assert machine_features(vm)["shutdowntime"] == str(end)
    assert job_features(vm)["shutdowntime_job"] == str(end)


@given(st.floats(0.001, 1e9))
def test_hs06_is_written_in_plain_decimal(value: float) -> None:
    written = machine_features(VM._replace(hs06=value))["hs06"]
    assert set(written) <= set("0123456789.")
    assert float(written) == value


def test_the_sites_own_keys_come_in_and_win() -> None:
    extra = {"site_rack": "r12", "mem_limit_MB": "17000"}
    assert job_features(VM, extra) == {**job_features(VM), **extra}
    assert machine_features(VM, {"rack": "7"})["rack"] == "7"


def test_written_one_file_per_key_without_line_end_readable_by_all(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        features.write(str(tmp_path), machine_features(VM))
    finally:
        os.umask(old)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == machine_features(VM)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


def test_a_dynamic_key_is_set_changed_and_removed(tmp_path: Path) -> None:
    dir_fd = os.open(tmp_path, os.O_RDONLY)
    try:
        features.set_key(dir_fd, "shutdowntime", "1700000000")
        features.set_key(str(tmp_path), "shutdowntime", "1700000001")
        assert (tmp_path / "shutdowntime").read_text() == "1700000001"
        features.remove_key(dir_fd, "shutdowntime")
        features.remove_key(str(tmp_path), "shutdowntime")
    finally:
        os.close(dir_fd)
    assert os.listdir(tmp_path) == []


def test_links_in_the_way_are_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    directory = tmp_path / "features"
    directory.mkdir()
    (directory / "total_cpu").symlink_to(victim)
    features.write(str(directory), {"total_cpu": "1"})
    assert victim.read_text() == "precious"
    assert (directory / "total_cpu").read_text() == "1"
    (directory / "shutdowntime").symlink_to(victim)
    features.remove_key(str(directory), "shutdowntime")
    assert victim.read_text() == "precious"
    (tmp_path / "link").symlink_to(directory)
    with pytest.raises(VacError, match="link: cannot open: Not a directory"):
        features.write(str(tmp_path / "link"), {"a": "1"})


@pytest.mark.parametrize("key", ["", ".", "..", "a/b", "../x", "a-b", "a b", "a\n", "\u00e9", "x" * 65])
def test_a_key_is_one_plain_name(key: str, tmp_path: Path) -> None:
    with pytest.raises(VacError, match="not a feature's name"):
        features.set_key(str(tmp_path), key, "1")
    with pytest.raises(VacError, match="not a feature's name"):
        features.remove_key(str(tmp_path), key)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", ["", "1\n2", "a\0b", "\x1b[0m"])
def test_a_value_is_one_line_of_text(value: str, tmp_path: Path) -> None:
    with pytest.raises(VacError, match=r"^hs06: .* is not one line of printable text"):
        features.set_key(str(tmp_path), "hs06", value)
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_removed_is_reported(tmp_path: Path) -> None:
    (tmp_path / "shutdowntime").mkdir()
    with pytest.raises(VacError, match="shutdowntime: cannot remove"):
        features.remove_key(str(tmp_path), "shutdowntime")
