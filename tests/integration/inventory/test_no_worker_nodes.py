# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks for worker nodes where the inventory or --limit names none: an error, never a success."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.inventory.sites import Site

CHECK = "Stop where this run has none"


@pytest.fixture(params=["verify", "smoke", "drain"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    site = Site(tmp_path)
    site.playbook = request.param
    return site


@pytest.mark.parametrize("limit", ["ap", "wn[1:3]:ap", ""])
def test_a_run_without_a_worker_node_is_an_error(site: Site, limit: str) -> None:
    if not limit:
        del site.groups["worker_node"]
    run = site.play(*(["--limit", limit] if limit else []))
    assert run.status == 2, run.output
    assert "this run has no host of the group worker_node: give the site's inventory with -i" in run.output
    assert {task for _, task in run.started} == {CHECK}
    assert "UNREACHABLE" not in run.output


@pytest.mark.parametrize("limit", ["wn2", "worker_node[0:1]"])
def test_one_with_worker_nodes_contacts_them(site: Site, limit: str) -> None:
    run = site.play("--limit", limit)
    assert "this run has no host" not in run.output
    assert "Connection refused" in run.output
    assert {task for _, task in run.started} > {CHECK}
