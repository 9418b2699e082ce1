# SPDX-License-Identifier: GPL-3.0-or-later
"""The smoke VMs: nodes as the playbook gives them, jobs, and what ends mean, hostile ads and outputs included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import UsageError
from condor_vac.smoke import vms
from tests.unit.condor_vac.standins import COMPLETED, NOW, ad

NODE = vms.Node("wn1", "wn1.example.org", "192.168.86.1/24", ("http", "nfs"))
VM = vms.Vm(NODE, "http", 300, "smoke-0-http-300")
TOKEN = "0a1b2c"


def nodes(*changes: dict[str, Any]) -> str:
    base = {"name": "wn1", "machine": "wn1.example.org", "subnet": "192.168.86.0/24", "sharing": ["nfs", "http"]}
    return json.dumps([{**base, **change} for change in changes])


def test_nodes_and_their_vms() -> None:
    found = vms.read_nodes(nodes({}, {"name": "b", "machine": "WN2", "subnet": "10.9.0.0/16", "sharing": ["nfs"]}))
    assert found == [NODE, vms.Node("b", "WN2", "10.9.0.1/16", ("nfs",))]
    assert [(vm.node.name, vm.check) for vm in vms.of_nodes(found)] == [
        ("wn1", "http 200"), ("wn1", "nfs 200"), ("b", "nfs 200"),
        ("wn1", "http 300"), ("wn1", "nfs 300"), ("b", "nfs 300"),
    ]  # fmt: skip
    names = [vm.name for vm in vms.of_nodes(found)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "not JSON"),
        ("[]", "at least one"),
        ('["wn1"]', "wn1"),
        (nodes({"machine": 'x" || True || "'}), "not a host name"),
        (nodes({"machine": None}), "not a host name"),
        (nodes({"sharing": []}), "sharing"),
        (nodes({"sharing": ["nfs", "smb"]}), "smb"),
        (nodes({"sharing": [["nfs"]]}), "sharing"),
        (nodes({"subnet": "10.0.0.0/30"}), "subnet"),
    ],
)
def test_wrong_nodes_are_one_line(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        vms.read_nodes(text)
    assert "\n" not in str(caught.value)


def test_a_job_goes_to_its_machine_alone_and_goes_by_itself(tmp_path: Path) -> None:
    commands = vms.describe(VM, str(tmp_path), image="/images/s.iso", owner="vac", token=TOKEN)
    assert 'TARGET.Machine == "wn1.example.org"' in commands["requirements"]
    assert commands["vm_disk"] == "/images/s.iso:hda:r:raw"
    assert commands["initialdir"] == f"{tmp_path}/smoke-0-http-300"
    assert "QDate" in commands["periodic_remove"]
    described = json.loads((tmp_path / "smoke-0-http-300.json").read_text())
    assert described["user_data_options"] == {
        "sharing": "http", "gateway": "192.168.86.1/24", "code": "300", "token": TOKEN
    }  # fmt: skip


def ended(tmp_path: Path, message: str | None, output: bytes | None, **attributes: Any) -> str:
    place = tmp_path / "joboutputs"
    place.mkdir()
    if message is not None:
        (place / "shutdown_message").write_text(message)
    if output is not None:
        (place / "smoke.txt").write_bytes(output)
    return vms.judge(VM, ad(state=COMPLETED, **attributes), str(tmp_path), TOKEN)


def test_a_vm_that_did_everything_is_well(tmp_path: Path) -> None:
    assert ended(tmp_path, "300 smoke\n", b"machinefeatures/total_cpu 1\nsmoke 0a1b2c\n") == ""


@pytest.mark.parametrize(
    ("message", "output", "attributes", "named"),
    [
        (
            "600 smoke: cannot read jobfeatures/job_id",
            b"smoke 0a1b2c",
            {},
            "600 instead of 300: smoke: cannot",
        ),
        ("200 smoke", b"smoke 0a1b2c", {}, "200 instead of 300"),
        ("300 smoke", None, {}, "smoke.txt did not come back"),
        ("300 smoke", b"smoke 0a1b2c0", {}, "is not what it wrote"),
        (None, None, {}, "without a shutdown message"),
        ("300 smoke", b"smoke 0a1b2c", {"Iwd": "/etc", "ShutdownCode": "300\n\x1b[2J"}, "instead of 300"),
        (None, None, {"ShutdownCode": 600, "ShutdownMessage": "a\n\x1b[31mb\u202e" * 200}, "600 instead of 300"),
        (None, None, {"VacCause": ["x", "\n"]}, "without a shutdown message"),
    ],
)
def test_what_is_not_well_is_one_printable_line(
    tmp_path: Path, message: str | None, output: bytes | None, attributes: dict[str, Any], named: str
) -> None:
    cause = ended(tmp_path, message, output, **attributes)
    assert named in cause
    assert cause.isprintable()
    assert len(cause) <= vms.TEXT_LIMIT


def test_the_last_line_of_the_console_is_shown_and_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_text("smoke[1] kernel up\nsmoke[9] no context ISO\x07\n")
    assert "last line of its console: smoke[9] no context ISO" in ended(tmp_path, None, None)
    secret = tmp_path / "secret"
    secret.write_text("secret words")
    (tmp_path / "console.log").unlink()
    (tmp_path / "console.log").symlink_to(secret)
    cause = vms.judge(VM, ad(state=COMPLETED), str(tmp_path), TOKEN)
    assert "secret words" not in cause
    assert "console: none" in cause


@pytest.mark.parametrize(
    ("state", "attributes", "seconds"),
    [
        (1, {}, None),
        (2, {"JobCurrentStartDate": NOW - 7}, 7.0),
        (COMPLETED, {"JobCurrentStartDate": NOW - 50, "VacEnded": NOW - 20}, 30.0),
        (COMPLETED, {"JobCurrentStartDate": NOW - 50, "EnteredCurrentStatus": NOW - 10, "VacEnded": "x"}, 40.0),
        (2, {"JobCurrentStartDate": "yesterday"}, None),
        (2, {"JobCurrentStartDate": True}, None),
        (2, {"JobCurrentStartDate": NOW + 99}, 0.0),
    ],
)
def test_seconds(state: int, attributes: dict[str, Any], seconds: float | None) -> None:
    assert vms.seconds_of(ad(state=state, **attributes), NOW) == seconds
