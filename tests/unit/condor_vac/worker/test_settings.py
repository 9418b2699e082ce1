# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker node's settings: defaults, checks, and no guess when the file is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from condor_vac.base.errors import UsageError
from condor_vac.worker import settings

ROLE = Path(__file__).resolve().parents[4] / "roles" / "worker"
# The role's file adds these, whose templates make words of numbers.
NUMBERS = {name: f"{{{{ worker_{name} }}}}" for name in ("outputs_mb", "disk_mb_per_second", "image_budget_gb")}


def by_the_role() -> dict[str, Any]:
    """What the role worker writes for a site that sets nothing: its settings, each from a variable's default."""
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text("utf-8"))
    variables = yaml.safe_load((ROLE / "vars" / "main.yml").read_text("utf-8"))
    table = {**variables["worker_settings"], **NUMBERS}
    named = {key: re.fullmatch(r"\{\{ (worker_\w+)( \| map\('string'\))? \}\}", text) for key, text in table.items()}
    values = {}
    for key, found in named.items():
        assert found is not None, f"{key}: not one variable"
        value = defaults.get(found[1], variables.get(found[1]))
        values[key] = [str(item) for item in value] if found[2] else value
    return values


def test_defaults_equal_those_of_the_role(tmp_path: Path) -> None:
    for name, data in (("empty", {}), ("role", by_the_role())):
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    empty, role = (settings.load(str(tmp_path / f"{name}.json")) for name in ("empty", "role"))
    assert len(by_the_role()) > 10
    assert empty._replace(sharing=()) == role._replace(sharing=())
    # A node shares by what its role set up; without it, by what needs no web server.
    assert set(empty.sharing) <= set(role.sharing)


def test_the_files_values_win(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "network": "lan",
        "bridge": "br0",
        "subnet": "10.1.0.0/16",
        "filter": "no-spoof",
        "execute": "/scratch/execute",
        "image_dir": "/scratch/images",
        "image_budget_gb": 40,
        "hostname_domain": "vms.example.org",
        "sharing": ["http"],
        "http_group": "www-vac",
        "outputs_mb": 77,
        "disk_mb_per_second": 200,
        "nfs_versions": ["4.2"],
        "site": "UKI-EXAMPLE",
        "space": "vac.example.org",
        "hs06_per_processor": 11.5,
        "grace_seconds": 7200,
        "owners": ["vac", "atlas"],
        "emulation": True,
        "access_points": ["ap.example.org", "192.0.2.1"],
        "backfill_notice": 900,
        "starts_per_cycle": 12,
    }
    path = tmp_path / "worker.json"
    path.write_text(json.dumps(given))
    loaded = settings.load(str(path))
    assert {name: getattr(loaded, name) for name in settings.CHECKS} == {
        **given,
        "nfs_versions": ("4.2",),
        "owners": ("vac", "atlas"),
        "access_points": ("ap.example.org", "192.0.2.1"),
        "sharing": ("http",),
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"netwrok": "vac"}, "'netwrok': unknown key"),  # codespell:ignore
        ({"network": "a b"}, "network: must be"),
        ({"bridge": "much-too-long-name"}, "bridge: must be the name of a network interface"),
        ({"subnet": "192.168.86.1/24"}, "subnet: '192.168.86.1/24'"),
        ({"subnet": "192.168.86.0/30"}, "subnet: 192.168.86.0/30: must be"),
        ({"subnet": 24}, "subnet: must be"),
        ({"execute": "execute"}, "execute: must be an absolute path"),
        ({"execute": "/a/../b"}, "execute: must be a path without"),
        ({"hostname_domain": "-bad-"}, "hostname_domain: '-bad-'"),
        ({"nfs_versions": ["2"]}, "nfs_versions: must be one of"),
        ({"nfs_versions": "3"}, "nfs_versions: must be a list"),
        ({"nfs_versions": []}, "nfs_versions: must name at least one"),
        ({"sharing": []}, "sharing: must name nfs, http or both"),
        ({"sharing": ["smb"]}, "sharing: must be one of"),
        ({"http_group": "a b"}, "http_group: must be the name of a group"),
        ({"hs06_per_processor": 0}, "hs06_per_processor: must be a number"),
        ({"grace_seconds": -1}, "grace_seconds: must be"),
        ({"owners": []}, "owners: must name"),
        ({"owners": ["ro ot"]}, "owners: must be a user name"),  # codespell:ignore
        ({"access_points": ["a\nb"]}, "access_points: must"),
        ([], "must hold one JSON object"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(data: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "worker.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError) as error_info:
        settings.load(str(path))
    assert str(error_info.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error_info.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"worker\.json: does not exist: this machine is not a worker node; run this"):
        settings.load(str(tmp_path / "worker.json"))
