# SPDX-License-Identifier: GPL-3.0-or-later
"""Which jobs a worker node starts: its START, as HTCondor evaluates it against a job's ad."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest

from tests.unit.roles.test_platforms import ROLES, resolve

TEMPLATE = (ROLES / "worker/templates/50-vm-universe.config.j2").read_text()
VM = {"JobUniverse": 13, "RequiresVac": True, "HookKeyword": "VAC"}
BATCH = {"JobUniverse": 5}
SITE = 'TARGET.Project =?= "physics"'


def starts(job: dict[str, Any], site: str = "True", **variables: Any) -> bool:
    """Whether the node takes the job; ``site`` is the START of the site's own files."""
    text = resolve("debian13", TEMPLATE, ansible_managed="", worker_owners=["vac", "lhcb"], **variables).replace(
        "\\\n", ""
    )
    macros = {"START": site}
    for name, value in re.findall(r"^(VAC_OWNER|VAC_START|START) = (.*)$", text, re.MULTILINE):
        macros[name] = re.sub(r"\$\((\w+)\)", lambda found: macros[found[1]], value)
    # HTCondor's own functions, such as stringListMember, come with the whole of the bindings.
    importlib.import_module("htcondor2")
    classad = importlib.import_module("classad2")
    node, ad = classad.ClassAd({"Start": classad.ExprTree(macros["START"])}), classad.ClassAd(job)
    result = classad.ExprTree(macros["START"]).eval(node, ad)
    assert isinstance(result, bool) or result is classad.Value.Undefined
    return result is True


@pytest.mark.parametrize("owner", ["vac", "lhcb"])
@pytest.mark.parametrize("others", ["", "true", "false", 'TARGET.Owner =!= "nobody"'])
def test_an_owner_of_vms_starts_nothing_but_vms(owner: str, others: str) -> None:
    assert starts({**VM, "Owner": owner}, worker_start_others=others)
    for universe in (1, 5, 9, 10, 11, 12):
        assert not starts({"JobUniverse": universe, "Owner": owner}, worker_start_others=others)
        assert not starts({**VM, "JobUniverse": universe, "Owner": owner}, worker_start_others=others)


@pytest.mark.parametrize(
    ("others", "site", "good"),
    [
        ("", "True", True),
        ("", "False", False),
        ("", SITE, False),
        ("true", "False", True),
        ("false", "True", False),
        ('TARGET.Owner == "alice"', "False", True),
        ('TARGET.Owner == "bob" || TARGET.Owner == "carol"', "True", False),
    ],
)
def test_batch_jobs_of_others_start_as_the_site_and_the_role_say(others: str, site: str, good: bool) -> None:
    assert starts({**BATCH, "Owner": "alice"}, site, worker_start_others=others) is good
    assert starts({**BATCH, "Owner": "alice", "Project": "physics"}, SITE, worker_start_others="")


def test_nobody_elses_vm_starts() -> None:
    for changes in ({"Owner": "alice"}, {"Owner": "vac2"}, {"RequiresVac": False}, {"HookKeyword": "OTHER"}):
        assert not starts({**VM, "Owner": "vac", **changes})
    assert not starts(VM)
    assert not starts({**VM, "Owner": "vac"}, "False")
    assert not starts({**VM, "Owner": "vac"}, worker_start='TARGET.Owner == "lhcb" || False')
    assert starts({**VM, "Owner": "lhcb"}, worker_start='TARGET.Owner == "lhcb" || False')


def test_without_a_job_the_node_is_as_open_as_the_site_has_it() -> None:
    """The startd asks its START about no job to know whether it offers itself at all."""
    assert starts({})
    assert not starts({}, "False")
