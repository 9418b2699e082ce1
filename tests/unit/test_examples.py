# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/examples: every one is a machinetype that the role takes and HTCondor's bindings read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import htcondor2
import pytest
import yaml
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import machinetypes as inventory

from condor_vac.base.shared import submit_text
from condor_vac.factory import submit_description
from condor_vac.model import user_data
from condor_vac.model.machinetype import Machinetype
from condor_vac.vac import pipe

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
FILES = sorted(path.name for path in EXAMPLES.glob("*.yml"))
OFFER = {"suffix": "vm", "root_image": "https://vo.example/i.iso", "user_data": "https://vo.example/u"}


def example(name: str) -> dict[str, Any]:
    """The machinetypes of an example, those of its pipes as if each offered one."""
    variables = yaml.safe_load((EXAMPLES / name).read_text("utf-8"))
    assert set(variables) <= {"vacuum_machinetypes", "vacuum_pipes"}
    found = dict(variables.get("vacuum_machinetypes", {}))
    for prefix, keys in variables.get("vacuum_pipes", {}).items():
        local = {key: value for key, value in keys.items() if key not in {"url", "last_good_seconds", "private_hosts"}}
        assert keys["url"].startswith("https://")
        offered = pipe.expand({"cache_seconds": 60, "machinetypes": [OFFER], "flat": False}, prefix, local)
        found.update(offered.machinetypes)
    return found


def test_the_guide_has_the_examples_and_each_of_their_files() -> None:
    guide = (EXAMPLES.parent / "machinetypes.md").read_text("utf-8")
    assert "`docs/examples/`" in guide
    assert len(FILES) >= 4
    there = {path.name for path in (EXAMPLES / "files").iterdir()}
    named = {
        Path(value).name
        for name in FILES
        for keys in example(name).values()
        for value in (keys["user_data"], *keys.get("user_data_files", {}).values())
        if "://" not in value
    }
    assert there <= named, "an example's file that no example uses"


@pytest.mark.parametrize("name", FILES)
def test_an_example_is_what_the_role_takes_and_htcondor_reads(name: str) -> None:
    checked = inventory.checked(example(name))
    assert checked
    for found, keys in checked.items():
        document = inventory.document(keys, found, "/d", "/i/vm.iso", {"owner": "vac"})
        machinetype = Machinetype.from_mapping(document, found)
        assert machinetype.accounting_group is not None, "shares need groups"
        commands = submit_description.describe(machinetype)
        submit = htcondor2.Submit(submit_text(commands))
        assert submit["vm_memory"] == str(machinetype.memory_mb)
        assert submit["accounting_group"] == machinetype.accounting_group


def test_the_sites_own_template_uses_only_names_with_values() -> None:
    template = (EXAMPLES / "files" / "cloud_init.user_data").read_bytes()
    rendered = user_data.render(
        template,
        user_data.Values(
            {
                "machine_hostname": b"vm-1.vac.internal",
                "uuid": b"6d3b0d5e-8f66-4f0f-9a5b-0d2f7f0d1c11",
                "manager_version": b"condor_vac",
                "joboutputs_url": b"http://169.254.169.253/joboutputs",
            },
            {"queue_url": b"https://queue.example.org/tasks"},
        ),
    )
    assert (rendered.unset, rendered.unknown) == ((), ())
    config = yaml.safe_load(rendered.data)
    script = config["write_files"][0]["content"]
    assert "outputs='http://169.254.169.253/joboutputs'" in script
    assert not re.search("##", script)
