# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules that programs and plugins share, and that nothing beside them repeats one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import ModuleError
from ansible_collections.vacuum.htcondor.plugins.module_utils._libvirt.network import Description
from ansible_collections.vacuum.htcondor.plugins.module_utils._node import sysctl
from ansible_collections.vacuum.htcondor.plugins.module_utils._programs import entry_points
from ansible_collections.vacuum.htcondor.plugins.modules import sudoers_rule
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import machinetypes
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.base import fields
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import (
    DNS_DOMAIN,
    INTERFACE_NAME,
    LIBVIRT_NAME,
    STATUS_WORDS,
    USER_NAME,
    JobStatus,
    one_line,
    submit_text,
    sysctl_path,
)
from condor_vac.condor import submit_parser
from condor_vac.condor.pool import Pool
from condor_vac.factory import scheduler_job
from condor_vac.model.machinetype_keys import CHECKS
from condor_vac.worker import network as addresses
from condor_vac.worker import settings
from condor_vac.worker.checks import network as checked_network
from condor_vac.worker.lease import requests
from condor_vac.worker.vm import job_ad
from tests.unit.condor_vac.standins import StandInPool, factory_ad

ROOT = Path(__file__).resolve().parents[4]
SHARED = {ROOT / "src/condor_vac/base/shared.py", ROOT / "plugins/module_utils/_shared.py"}
SOURCES = sorted({path for place in ("src", "plugins") for path in (ROOT / place).rglob("*.py")} - SHARED)


def test_each_job_status_has_a_word_of_its_own() -> None:
    numbers = {value for name, value in vars(JobStatus).items() if name.isupper()}
    assert numbers == set(STATUS_WORDS) == set(range(1, 8)), "as condor_q's manual has them"
    assert len(set(STATUS_WORDS.values())) == len(STATUS_WORDS)


@pytest.mark.parametrize(("status", "word"), [(1, "idle"), (4, "completed"), (6, "transferring"), (7, "suspended")])
def test_a_factory_job_of_any_status_can_be_shown(status: int, word: str) -> None:
    """Two tables had five of the seven: a job in another state was an error here, and ``unknown`` to the module."""
    ad = factory_ad("40.0", status)
    assert [job.status for job in scheduler_job.jobs(cast(Pool, StandInPool([ad])), {"vac"})] == [word]


@pytest.mark.parametrize("status", [9, "2", True, 2.0, None])
def test_a_job_status_that_htcondor_does_not_have_is_unknown(status: Any) -> None:
    ads = [factory_ad("40.0", status), factory_ad("41.0")]
    found = scheduler_job.jobs(cast(Pool, StandInPool(ads)), {"vac"})
    assert [job.status for job in found] == ["unknown", "running"]


USERS = {
    "vac": True, "lhcb_user": True, "Vac.Users-1": True, "a+b": True, "1abc": True, "_x": True, "a" * 64: True,
    "ALL": False, "VAC_1": False, "VACx": True, "_VAC": True,
    "a@b": False, "a@pool.example": False, "4711": False, "-a": False, ".a": False, "+a": False, "": False,
    "a b": False, "a\n": False, "a:b": False, "ä": False, "a" * 65: False,
}  # fmt: skip
NAMES = {"gridpp": True, "a-1": True, "7": True, "-" * 64: True, "": False, "A": False, "a_b": False, "a.b": False,
         "a\n": False, "a" * 65: False}  # fmt: skip


def accepts(check: Callable[[str], object], text: str) -> bool:
    """Whether a check takes the text; it raises ValueError, or returns what is false, where it does not."""
    try:
        return bool(check(text))
    except ValueError:
        return False


@pytest.mark.parametrize(("name", "good"), USERS.items())
def test_a_user_is_one_everywhere_or_nowhere(name: str, good: bool) -> None:
    """``a@b`` was an owner in a node's sudo rule and none in a machinetype; ``a+b`` and ``1a`` were only on nodes."""
    assert accepts(CHECKS["owner"], name) is good
    assert accepts(fields.user_name, name) is good
    assert accepts(lambda text: settings.CHECKS["owners"]([text]), name) is good
    assert accepts(sudoers_rule.ACCOUNT.fullmatch, name) is good
    owner = json.dumps(name, ensure_ascii=False)
    ad = f'User = "vac@pool"\nOwner = {owner}\nClusterId = 7\nProcId = 0\nRequestMemory = 100\n'
    # A line end is two characters in the ad, and one of them is of no plain text.
    wrong = "job ad: Owner: must be a (user name|whole number, true, false or a text)"
    with pytest.raises(VacError, match="job ad: VMPARAM_vm_Disk: missing" if good else wrong):
        job_ad.parse(ad)


@pytest.mark.parametrize(
    ("variable", "pattern"),
    [
        ("worker_owners", USER_NAME), ("worker_network", LIBVIRT_NAME), ("worker_bridge", INTERFACE_NAME),
        ("worker_domain", DNS_DOMAIN),
    ],
)  # fmt: skip
def test_the_role_worker_asks_the_same_of_names_before_it_changes_anything(variable: str, pattern: str) -> None:
    requirements = yaml.safe_load((ROOT / "roles/worker/vars/main.yml").read_text("utf-8"))["worker_requirements"]
    asked = [entry["that"] for entry in requirements if variable in entry["that"]]
    assert len(asked) == 1
    assert f"'^{pattern}$'" in asked[0]


@pytest.mark.parametrize(("domain", "good"), {"vac.internal": True, "a" * 63: True, "a" * 64: False, "x.a-.y": False,
                                              "a..b": False, "": False, "A.b": False}.items())  # fmt: skip
def test_a_domain_is_one_for_settings_and_for_libvirts_network(domain: str, good: bool) -> None:
    """The settings of a node and its role took labels of more than 63 characters, libvirt's network does not."""
    network = Description("n", "b", "10.0.0.0/24", 10, 250, "vm-{number}", domain, "nat", False)
    if good:
        network.check()
        assert network.hosts()[0]["name"] == "vm-10"
        assert addresses.host("10.0.0.0/24", 10, domain).hostname == f"vm-10.{domain}"
    else:
        with pytest.raises(ModuleError, match="domain"):
            network.check()
        with pytest.raises(UsageError, match="hostname_domain"):
            addresses.host("10.0.0.0/24", 10, domain)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.5/forwarding", "net/ipv4/conf/eth0.5/forwarding"),
        ("net.ipv4.conf.eth0/5.forwarding", "net/ipv4/conf/eth0.5/forwarding"),
        ("/net//ipv4/./ip_forward", "net/ipv4/ip_forward"),
        ("vm", "vm"),
    ],
)
def test_a_sysctl_key_is_a_path_in_either_spelling(key: str, path: str) -> None:
    """The doctor did not see that ``net//ipv4/ip_forward`` is the same key, as the module ip_forward does."""
    assert sysctl_path(key) == path
    printed = f"# /etc/sysctl.d/x.conf\n{key} = 1\n"
    assert list(checked_network.assignments(printed)) == [("/etc/sysctl.d/x.conf", path, "1")]
    assert [entry.key for entry in sysctl.parse(f"{key} = 1", "x.conf")] == [path]


@pytest.mark.parametrize(("name", "good"), NAMES.items())
def test_a_machinetypes_name_is_one_everywhere_or_nowhere(name: str, good: bool) -> None:
    """A lease could be asked for with names, such as ``a.b``, that no machinetype can have."""
    assert accepts(CHECKS["name"], name) is good
    assert accepts(requests._CHECKS["machinetype"], name) is good
    data = {"kind": "cernvm", "image": "x.iso", "user_data": "u"}
    try:
        assert machinetypes.checked({name: data})
    except machinetypes.MachinetypeError:
        assert not good
    else:
        assert good


def test_no_other_source_has_a_path_that_is_shared() -> None:
    assert found(r"\bLIBVIRT_HOOK\b")
    programs, others = r"/usr/local/(libexec/|bin/condor|lib/condor)", r"/etc/libvirt/hooks|/var/lib/condor_vac"
    assert found(rf"""["']({programs}|{others}|/etc/condor_vac/(files|machinetypes))""") == []


def test_roles_and_playbooks_name_programs_that_are_installed() -> None:
    texts = [path.read_text("utf-8") for place in ("roles", "playbooks") for path in (ROOT / place).rglob("*.[yj]*")]
    named = {word for text in texts for word in re.findall(r"/usr/local/(?:libexec|bin)/[a-z_]+", text)}
    assert named
    assert named <= entry_points.paths()


def test_submit_text_holds_each_command_once_and_one_queue_at_the_end(tmp_path: Path) -> None:
    commands = {"universe": "vm", "+VacMachinetype": '"a"', "arguments": "x = y", "vm_memory": "100", "rank": ""}
    path = tmp_path / "x.sub"
    path.write_text(submit_text(commands))
    assert submit_parser.parse(str(path), path.read_text("utf-8")) == commands
    assert path.read_text("utf-8").splitlines()[-1] == "queue"
    assert found(r"\bsubmit_text\(")
    assert found(r"""["']queue["'](, ["']{2})?\]""") == []


HOSTILE = ["\x1b[2J", "\x9b31m", "\x00", "\x07", "\u202e", "\ud800", "\u200b", "\ue000"]


@pytest.mark.parametrize("character", HOSTILE)
def test_what_is_not_printable_is_shown_as_one_character(character: str) -> None:
    assert one_line(f"a{character}b") == f"a\ufffd{character[1:]}b"
    assert one_line("a ä\u4e2d b") == "a ä\u4e2d b", "what is printable stays"


@given(st.text(), st.integers(1, 40), st.booleans())
def test_whatever_the_text_it_is_one_printable_line(text: str, limit: int, end: bool) -> None:
    line = one_line(text, limit, end=end)
    assert line.isprintable()
    assert len(line) <= limit
    assert one_line(line, limit, end=end) == line
    whole = one_line(text)
    assert whole == line or (whole.endswith(line[1:]) if end else whole.startswith(line[:-1]))


@pytest.mark.parametrize(
    ("text", "limit", "end", "line"),
    [
        (" a\n\tb\r\u2028c ", None, False, "a b c"),
        ("abcdef", 6, False, "abcdef"),
        ("abcdef", 5, False, "abcd…"),
        ("abcdef", 5, True, "…cdef"),
        ("abcdef", 1, False, "…"),
        ("abcdef", 1, True, "…"),
    ],
)
def test_one_line(text: str, limit: int | None, end: bool, line: str) -> None:
    assert one_line(text, limit, end=end) == line


def test_no_other_source_makes_a_printable_line_of_a_text() -> None:
    assert found(r"\bone_line\(")
    own = "src/condor_vac/base/x509.py:"
    assert [place for place in found(r"isprintable\(\) .*else|\" \"\.join\(str\(") if not place.startswith(own)] == []
    assert found(r"\.join\(str\(\w+\)\.split\(\)\)") == []


def found(pattern: str) -> list[str]:
    """FILE:LINE of what the pattern matches in the sources, the shared file apart."""
    lines = ((path, number, line) for path in SOURCES for number, line in enumerate(path.open(encoding="utf-8"), 1))
    return [f"{path.relative_to(ROOT)}:{number}" for path, number, line in lines if re.search(pattern, line)]


def test_no_other_source_has_numbers_of_states_or_universes() -> None:
    assert found(r"JobStatus [=!]= ([0-9]|\{JobStatus\.)"), "the pattern finds constraints that name a constant"
    assert found(r"Job(Status|Universe)\W{0,3} ?[=!]= ?[0-9]") == []
    assert found(r"^[A-Z_]*(UNIVERSE|COMPLETED)\b.* = [0-9]") == []


def test_no_other_source_has_a_pattern_of_a_machinetypes_name() -> None:
    assert found(r"\bMACHINETYPE_NAME\b")
    assert found(r"\[a-z0-9-\](\+|\{1,64\})") == []
