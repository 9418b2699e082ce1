# SPDX-License-Identifier: GPL-3.0-or-later
"""The module machinetype on an access point with a real schedd, collector and condor_submit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.chroot import CHECKOUT, OWNER, Pool
from tests.integration.factory.ansible_node import Node

VM_JOB = """universe = vm
executable = vac-old
vm_type = kvm
vm_memory = 128
vm_disk = /i/x.iso:hda:r:raw
+VacMachinetype = "old"
leave_in_queue = JobStatus == 4
queue {count}
"""


class Site:
    """The access point's directories of one test, and the module with them."""

    def __init__(self, pool: Pool, work: Path, name: str) -> None:
        self.pool = pool
        self.node = Node(pool, work)
        self.files = work / "files"
        self.files.mkdir()
        self.files.joinpath("x.user_data").write_bytes(b"#!/bin/sh\r\n##user_data_uuid##\n")
        self.files.joinpath("key.pem").write_bytes(b"open-sesame\n")
        self.outside = pool.local / name
        self.fixed = {"directory": f"/pool/{name}/etc/machinetypes", "state_directory": f"/pool/{name}/state"}

    def machinetype(self, **keys: Any) -> dict[str, Any]:
        user_data = str(self.files / "x.user_data")
        return {"kind": "cernvm", "image": "/i/cernvm.iso", "user_data": user_data, "max_machines": 5, **keys}

    def run(self, *flags: str, **arguments: Any) -> dict[str, Any]:
        defaults = {"owner": OWNER, "space": "vac.test"}
        if "machinetypes" in arguments:
            arguments["defaults"] = defaults
        return self.node.run("machinetype", {**self.fixed, **arguments}, *flags)

    def factories(self) -> dict[str, str]:
        """Machinetype → job of each factory of the role's tests."""
        constraint = 'regexp("^role-", VacFactory) && JobStatus != 3'
        text = self.pool.run("condor_q", "-allusers", "-constraint", constraint, "-af:j", "VacFactory").stdout
        return {name: job for job, name in (line.split() for line in text.splitlines())}

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.outside / "etc" / "machinetypes").iterdir())


@pytest.fixture(name="site")
def _site(pool: Pool, tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    return Site(pool, tmp_path, request.node.name[:40].strip("_"))


def test_deployed_checked_and_read_by_the_programs(site: Site) -> None:
    options = {"token": "sesame-1"}
    wanted = {
        "atlas": site.machinetype(user_data_options=options, accounting_group="group_atlas.prod", rank="Memory"),
        "gridpp": site.machinetype(user_data_files={"hostkey": str(site.files / "key.pem")}, sharing="http"),
    }
    planned = site.run("--check", "--diff", machinetypes=wanted)
    assert planned["changed"]
    assert not site.outside.exists()
    done = site.run("--diff", "-vvv", machinetypes=wanted)
    assert (done["failed"], done["changed"]) == (False, True)
    assert done["files"] == planned["files"]
    assert "sesame" not in json.dumps([planned, done])
    assert not site.run(machinetypes=wanted)["changed"]
    stored = site.outside / "etc" / "machinetypes" / "gridpp.user_data"
    assert stored.read_bytes() == b"#!/bin/sh\r\n##user_data_uuid##\n"
    path = f"{site.fixed['directory']}/atlas.json"
    site.pool.run("/usr/local/bin/condor_vac", "machinetype", path, user=OWNER)
    job = json.loads(site.pool.run("/usr/local/bin/condor_vac", "factory-job", "--json", path, user=OWNER).stdout)
    assert (job["name"], job["owner"]) == ("atlas", OWNER)
    other = site.pool.run("cat", path, user="nobody", check=False)
    assert other.returncode != 0, "options may hold secrets"


def test_the_proxy_for_user_data_is_in_a_file_of_the_owners(site: Site) -> None:
    wanted = {"atlas": site.machinetype(), "vo": site.machinetype(user_data="https://vo.example/u")}
    proxy = "http://vac:sesame@squid.example.org:3128"
    done = site.run("--diff", "-vvv", machinetypes=wanted, http_proxy=proxy, no_proxy=[".example.org"])
    assert not done["failed"], done["msg"]
    assert site.names() == ["atlas.json", "atlas.user_data", "vo.http_proxy", "vo.json"]
    path = f"{site.fixed['directory']}/vo.http_proxy"
    assert json.loads(site.pool.run("cat", path, user=OWNER).stdout) == {
        "http_proxy": proxy,
        "no_proxy": [".example.org"],
    }
    assert site.pool.run("cat", path, user="nobody", check=False).returncode != 0
    document = path.replace("http_proxy", "json")
    described = site.pool.run("/usr/local/bin/condor_vac", "machinetype", "--submit", document).stdout
    assert "http_proxy" not in described, "no job takes it along"
    assert not site.run(machinetypes=wanted, http_proxy=proxy, no_proxy=[".example.org"])["changed"]
    gone = site.run("--diff", machinetypes=wanted)
    assert gone["files"] == [path]
    assert "sesame" not in json.dumps([done, gone])
    wrong = site.node.play_role(wanted, "-e", json.dumps({"vacuum_http_proxy": "http://vac:sesame@squid"}), "-vvv")
    assert "factory_http_proxy: '...@squid': must be http://[USER:PASSWORD@]HOST:PORT" in wrong
    assert "sesame" not in wrong


def test_htcondor_accepts_the_examples(site: Site) -> None:
    wanted: dict[str, Any] = {}
    for path in sorted((CHECKOUT / "docs" / "examples").glob("*.yml")):
        wanted.update(yaml.safe_load(path.read_text("utf-8")).get("vacuum_machinetypes", {}))
    for keys in wanted.values():
        named = [keys["user_data"], keys.get("root_public_key", ""), *keys.get("user_data_files", {}).values()]
        for name in named:
            if name and "://" not in name:
                site.files.joinpath(name).parent.mkdir(exist_ok=True)
                site.files.joinpath(name).write_text("of the site\n")
    done = site.run(machinetypes=wanted)
    assert not done["failed"], done["msg"]
    assert done["changed_machinetypes"] == sorted(wanted) == ["atlas-single", "debian", "gridpp", "lhcb"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"requirements": "(Memory > 1"}, "vacuum_machinetypes.atlas: HTCondor refuses its VMs' submit description"),
        ({"rank": "Memory >"}, "vacuum_machinetypes.atlas: HTCondor refuses"),
        ({"max_idle": 6}, "vacuum_machinetypes.atlas.max_idle: 6 is above max_machines 5"),
        ({"fizzle_seconds": 90000}, "vacuum_machinetypes.atlas.fizzle_seconds: 90000 is not below"),
        ({"colour": 1}, "vacuum_machinetypes.atlas.colour: unknown key"),
    ],
)
def test_what_cannot_run_replaces_nothing(site: Site, keys: dict[str, Any], message: str) -> None:
    site.run(machinetypes={"atlas": site.machinetype()})
    before = site.names()
    refused = site.run(machinetypes={"atlas": site.machinetype(**keys), "second": site.machinetype()})
    assert refused["failed"]
    assert message in refused["msg"]
    assert site.names() == before


def test_one_that_left_the_inventory_drains(site: Site) -> None:
    site.run(machinetypes={"old": site.machinetype(), "atlas": site.machinetype()})
    assert site.run(machinetypes={"atlas": site.machinetype()})["unwanted"] == ["old"]
    site.pool.run("condor_submit", "-", user=OWNER, input=VM_JOB.format(count=3))
    constraint = 'VacMachinetype =?= "old"'
    first = site.pool.run("condor_q", "-allusers", "-constraint", constraint, "-af:j", "JobStatus").stdout.split()[0]
    site.pool.run("condor_qedit", first, "JobStatus", "2")
    # The module goes by who owns the factories' directories, in their place on an access point.
    site.pool.run("install", "-d", "-o", OWNER, "/var/lib/condor_vac/old")
    try:
        site.node.run("factory", {"names": ["atlas"], "exclusive": True})
    finally:
        site.pool.run("rmdir", "/var/lib/condor_vac/old")
    done = site.run(retire=["old"])
    assert done["retired"] == {"old": {"gone": False, "vms": 1}}
    assert "old.json" in site.names()
    site.pool.run("condor_qedit", first, "JobStatus", "4")
    done = site.run(retire=["old"])
    assert done["retired"]["old"]["gone"]
    assert site.names() == ["atlas.json", "atlas.user_data"]
    assert not (site.outside / "state" / "old").exists()


def test_the_role_keeps_what_the_inventory_has_and_only_that(site: Site) -> None:
    """The role's own directories, so one test: deployed, unchanged, changed, and gone."""
    both = {name: site.machinetype(user_data_options={"token": "sesame"}) for name in ("role-a", "role-b")}
    first = site.node.play_role(both)
    assert "failed=0" in first, first
    assert "sesame" not in first
    assert "changed=0" in site.node.play_role(both)
    factories = site.factories()
    assert set(factories) == {"role-a", "role-b"}

    last = site.node.play_role({"role-a": site.machinetype(memory_mb=64)})
    assert "failed=0" in last, last
    assert site.factories() == {"role-a": factories["role-a"]}, "a changed machinetype needs no new factory"
    directory = site.pool.local / "etc" / "machinetypes"
    assert not list(directory.glob("role-b*"))
    assert json.loads((directory / "role-a.json").read_text())["memory_mb"] == 64

    for refused in ({}, {"role-c": site.machinetype()}):
        assert "1 of 1 machinetypes with a factory are missing (role-a)" in site.node.play_role(refused)
    limited = site.node.play_role({}, "--limit", "all")
    assert "failed=0" in limited, limited
    assert site.factories() == {"role-a": factories["role-a"]}, "neither a refused run nor a limited one drains"
    assert (directory / "role-a.json").exists()

    gone = site.node.play_role({}, removable=["role-a"])
    assert "failed=0" in gone, gone
    assert site.factories() == {}
    assert not list(directory.glob("role-*"))
