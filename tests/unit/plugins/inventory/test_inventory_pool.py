# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin with Ansible's own inventory and options, and a program in place of condor_status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import fragment_loader
from ansible.template import Templar
from ansible.utils.plugin_docs import add_fragments
from ansible_collections.vacuum.htcondor.plugins.inventory import pool

from tests.unit.plugins.modules.test_pool_info import UNREACHABLE, slot

NOW = 1_795_630_712
NAME = "vacuum.htcondor.pool"


def plugin() -> pool.InventoryModule:
    """The plugin, with what Ansible's loader gives it: its name, and its options' definitions."""
    page = yaml.safe_load(pool.DOCUMENTATION)
    add_fragments(page, pool.__file__, fragment_loader)
    constants.config.initialize_plugin_configuration_definitions("inventory", NAME, page["options"])
    made = pool.InventoryModule()
    made._load_name = NAME
    return made


class Controller:
    """A directory with an inventory, and a condor_status that prints ads and counts its calls."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "site.htcondor.yml"

    def answer(self, *ads: dict[str, Any], text: str = "", rc: int = 0) -> None:
        """What condor_status does from now on."""
        (self.directory / "answer").write_text(text or json.dumps(list(ads)))
        program = self.directory / "condor_status"
        place, out = self.directory, ">&2" if rc else ""
        program.write_text(f'#!/bin/sh\necho "$*" >> {place}/calls\ncat {place}/answer {out}\nexit {rc}\n')
        program.chmod(0o755)

    def calls(self) -> list[str]:
        path = self.directory / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def write(self, **options: Any) -> None:
        self.path.write_text(yaml.safe_dump({"plugin": "vacuum.htcondor.pool", **options}))

    def read(self, *, use_cache: bool = True, **options: Any) -> InventoryData:
        """The inventory with these options."""
        self.write(**options)
        inventory, made = InventoryData(), plugin()
        assert made.verify_file(str(self.path))
        made.parse(inventory, DataLoader(), str(self.path), cache=use_cache)
        if options.get("cache"):
            made.update_cache_if_changed()
        return inventory

    def fault(self, **options: Any) -> str:
        """What the plugin says is wrong."""
        with pytest.raises(AnsibleParserError) as raised:
            self.read(**options)
        return str(raised.value)


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Controller:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Controller(tmp_path)


def members(inventory: InventoryData) -> dict[str, list[str]]:
    """Group → its own hosts, of groups that have some."""
    groups = {name: sorted(host.name for host in group.hosts) for name, group in inventory.groups.items()}
    return {name: hosts for name, hosts in groups.items() if hosts}


def warnings(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_each_machine_is_a_host_and_in_the_groups_that_fit(controller: Controller) -> None:
    controller.answer(
        slot("wn1.lab", VacImages="cernvm3.iso,b.iso"),
        slot("WN2.lab", VacShutdownTime=NOW, VacImages="b.iso"),
        slot("wn3.lab", HasVM=False, VMOfflineReason="it was libvirt", VMOfflineTime=NOW),
        slot("wn4.lab", State="Drained", VacFindings=2),
        slot("wn5.lab", Draining=True, Offline=True),
        slot("wn6.lab", HasVM=None, VM_Type=None, VacShutdownTime="soon"),
    )
    inventory = controller.read()
    assert members(inventory) == {
        "has_vm": ["wn1.lab", "wn2.lab", "wn4.lab", "wn5.lab"],
        "problem": ["wn3.lab", "wn6.lab"],
        "offline": ["wn3.lab", "wn5.lab"],
        "draining": ["wn2.lab", "wn4.lab", "wn5.lab"],
        "findings": ["wn4.lab"],
        "image_cernvm3_iso": ["wn1.lab"],
        "image_b_iso": ["wn1.lab", "wn2.lab"],
    }
    found = inventory.hosts["wn3.lab"].get_vars()["htcondor"]
    assert (found["name"], found["offline_since"], found["has_vm"]) == ("wn3.lab", NOW, False)
    assert "it was libvirt" in found["problem"]


def test_options_reach_the_collector_and_the_inventory(controller: Controller) -> None:
    controller.answer(slot("wn1.lab", VacImages="b"), slot("bank.example.org"))
    inventory = controller.read(
        collector="cm.lab:9618",
        constraint='Arch == "X86_64"',
        host_pattern="wn[0-9]+[.]lab",
        group_prefix="pool ",
        compose={"gib": "htcondor.memory // 1024", "ansible_host": "htcondor.name ~ '.mgmt'"},
        groups={"worker_node": True, "none": "htcondor.cpus > 100"},
        keyed_groups=[{"key": "htcondor.version", "prefix": "condor"}],
    )
    groups = ("pool_has_vm", "pool_image_b", "worker_node", "condor_23_9_6")
    assert members(inventory) == {group: ["wn1.lab"] for group in groups}
    variables = inventory.hosts["wn1.lab"].get_vars()
    assert (variables["gib"], variables["ansible_host"]) == (5, "wn1.lab.mgmt")
    assert controller.calls()[0].startswith('-pool cm.lab:9618 -constraint Arch == "X86_64" -json -attributes ')


NAMES = (
    *(
        "wn;id",
        "-oProxyCommand=id",
        "../etc",
        "a b",
        "wn\nx",
        "wn1.lab:22",
        "wn[1:9].lab",
        "{{ lookup('pipe', 'id') }}",
    ),
    *("localhost", "all", "draining", "x" * 64, ".".join(["a" * 60] * 5), "ÿ.lab", "\x1b[2J", "", "WN1.lab"),
)


def test_hostile_names_are_left_out_and_named(controller: Controller, capsys: pytest.CaptureFixture[str]) -> None:
    controller.answer(slot("wn1.lab"), *(slot(name) for name in NAMES), {"Machine": ["wn9.lab"]}, {"Cpus": 3})
    inventory = controller.read()
    assert list(inventory.hosts) == ["wn1.lab"]
    said = warnings(capsys)
    assert "left out" in said
    assert "'-oProxyCommand=id' is not a valid host name" in said
    assert "and 8 more" in said
    assert "\x1b" not in said


def test_texts_of_ads_are_no_templates_and_no_terminal_sequences(controller: Controller) -> None:
    reason = f"{{{{ lookup('pipe', 'touch {controller.directory}/run') }}}}\n\x1b[2J"
    controller.answer(slot("wn1.lab", HasVM=False, VMOfflineReason=reason))
    inventory = controller.read(
        compose={"why": "htcondor.offline_reason"}, keyed_groups=[{"key": "htcondor.offline_reason", "prefix": "why"}]
    )
    variables = inventory.hosts["wn1.lab"].get_vars()
    assert variables["why"].startswith("{{ lookup")
    assert "\x1b" not in json.dumps(variables["htcondor"], ensure_ascii=False)
    shown = Templar(loader=DataLoader(), variables=variables).template(variables["htcondor"]["offline_reason"])
    assert shown.startswith("{{ lookup")
    assert not (controller.directory / "run").exists()


def test_one_damaged_ad_costs_itself(controller: Controller, capsys: pytest.CaptureFixture[str]) -> None:
    many = ",".join(f"i{number}" for number in range(150))
    deep = "[" * 5000 + "]" * 5000
    good, nested = json.dumps(slot("wn1.lab")), json.dumps(slot("wn2.lab", VM_Networking_Types="DEEP"))
    ads = [slot("wn3.lab", VacImages=f"{many},a b,x/y"), slot("wn4.lab", VacImages=["no"], TotalCpus="many")]
    rest = ", ".join(json.dumps(ad) for ad in ads)
    controller.answer(text=f"[{good}, {nested.replace(chr(34) + 'DEEP' + chr(34), deep)}, {rest}]")
    inventory = controller.read()
    assert sorted(inventory.hosts) == ["wn1.lab", "wn2.lab", "wn3.lab", "wn4.lab"]
    assert "wn3.lab: 5" in warnings(capsys)
    assert len([name for name in inventory.groups if name.startswith("image_")]) <= 101


def test_what_cannot_be_asked_is_one_error(controller: Controller) -> None:
    assert controller.fault().startswith("condor_status is not on this controller: install HTCondor's tools")
    controller.answer(text=UNREACHABLE, rc=1)
    assert controller.fault() == (
        "condor_status failed: Error: communication error CEDAR:6001:Failed to connect to <10.77.0.1:9618>: see "
        "whether the central manager runs and whether this machine may read from it (CONDOR_HOST, ALLOW_READ)"
    )
    controller.answer(text="Hello")
    assert "printed no JSON" in controller.fault()
    assert controller.fault(host_pattern="wn[").startswith("host_pattern: is not a valid regular expression")
    controller.answer()
    (controller.directory / "answer").write_text("")
    assert controller.read().hosts == {}


def test_the_cache_saves_a_query_until_it_is_refreshed(controller: Controller) -> None:
    options: dict[str, Any] = {
        "cache": True,
        "cache_plugin": "jsonfile",
        "cache_connection": str(controller.directory / "cache"),
        "cache_timeout": 3600,
    }
    controller.answer(slot("wn1.lab"))
    assert list(controller.read(**options).hosts) == ["wn1.lab"]
    controller.answer(slot("wn2.lab"))
    for _ in range(2):
        assert list(controller.read(**options).hosts) == ["wn1.lab"]
    assert len(controller.calls()) == 1
    for use_cache in (False, True):
        assert list(controller.read(**options, use_cache=use_cache).hosts) == ["wn2.lab"]
    assert len(controller.calls()) == 2


@pytest.mark.parametrize(("name", "good"), [("htcondor.yaml", True), ("a.htcondor.yml", True), ("site.yml", False)])
def test_the_files_name(controller: Controller, name: str, good: bool) -> None:
    path = controller.directory / name
    path.write_text("plugin: vacuum.htcondor.pool\n")
    assert plugin().verify_file(str(path)) is good
