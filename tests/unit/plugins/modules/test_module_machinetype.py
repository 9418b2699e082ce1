# SPDX-License-Identifier: GPL-3.0-or-later
"""machinetype: all of a site's machinetypes at once, checked before anything is replaced."""

from __future__ import annotations

import base64
import getpass
import io
import json
import os
import pwd
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._node import files
from ansible_collections.vacuum.htcondor.plugins.modules import machinetype

from condor_vac.cli import dispatch
from tests.unit.damage import MADE
from tests.unit.plugins.harness import Answer, Tools, four_calls, run

ME = getpass.getuser()
RUNNING, REMOVED, COMPLETED = 2, 3, 4


class AccessPoint:
    """condor_vac itself, and stand-ins for HTCondor's tools: nodes, a queue, a parser that may refuse."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / "etc" / "machinetypes"
        self.nodes: str | None = "3900 2\n64216 16\n"
        self.vms: list[int] = []
        self.factories = 0
        # Whose the factories' jobs are; their directories are this process's.
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.refused = ""
        self.parsed: list[str] = []
        self.tools = Tools(self.answer)
        (root / "etc").mkdir()

    def answer(self, argv: list[str], stdin: str | None) -> Answer:
        tool = argv[0].rsplit("/", 1)[-1]
        result: Answer = getattr(self, tool)(argv, stdin or "")
        return result

    def condor_vac(self, argv: list[str], _stdin: str) -> Answer:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            rc = dispatch.main(argv[1:])
        return rc, out.getvalue(), err.getvalue()

    def condor_submit(self, argv: list[str], stdin: str) -> Answer:
        assert argv[1:] == ["-disable", "-dry-run", "/dev/null", "-"]
        self.parsed.append(stdin)
        return (1, "", "ERROR: Parse error in expression") if self.refused and self.refused in stdin else (0, "", "")

    def condor_status(self, _argv: list[str], _stdin: str) -> Answer:
        return (1, "", "no collector") if self.nodes is None else (0, self.nodes, "")

    def condor_q(self, argv: list[str], _stdin: str) -> Answer:
        constraint = argv[argv.index("-constraint") + 1]
        if "VacFactory" in constraint:
            return 0, json.dumps([{"VacFactory": "old", "JobStatus": RUNNING, "Owner": self.user}] * self.factories), ""
        assert constraint.startswith((f'(Owner == "{self.user}") && ', "(False) && "))
        assert 'VacMachinetype =?= "old' in constraint
        assert "!(JobStatus == 4)" in constraint
        left = [{"JobStatus": state} for state in self.vms if state != COMPLETED]
        return 0, json.dumps(left) if left else "", ""

    def arguments(self, machinetypes: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """What the action plugin sends; each value is (document's keys, file suffix → bytes)."""
        given = {
            "directory": str(self.directory),
            "state_directory": str(self.root / "state"),
            **more,
        }
        if machinetypes is not None:
            payload = {name: self._part(name, *parts) for name, parts in machinetypes.items()}
            given["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
        return given

    def _part(self, name: str, keys: dict[str, Any], data: dict[str, bytes] | None = None) -> dict[str, Any]:
        contents = {"user_data": b"#!/bin/sh\n", **(data or {})}
        document = {
            "name": name,
            "owner": ME,
            "kind": "cernvm",
            "image": "/images/cernvm.iso",
            "user_data": f"{self.directory}/{name}.user_data",
            **keys,
        }
        found = {
            f"{name}.{suffix}": {
                "content": base64.b64encode(content).decode(),
                "secret": suffix.startswith("file."),
            }
            for suffix, content in contents.items()
        }
        return {"document": document, "files": found}


@pytest.fixture(name="ap")
def _ap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AccessPoint:
    if ME == "root":
        # condor_vac refuses root as owner; the tests' files are root's all the same.
        monkeypatch.setattr("condor_vac.model.machinetype._check_together", lambda *_: None)
    return AccessPoint(tmp_path)


ATLAS: dict[str, Any] = {
    "memory_mb": 4096,
    "user_data_options": {"token": "sesame", "proxy": "http://squid:3128"},
}


def two(ap: AccessPoint) -> dict[str, Any]:
    hostkey = {"user_data_files": {"hostkey": f"{ap.directory}/gridpp.file.hostkey"}}
    return {"atlas": (ATLAS,), "gridpp": (hostkey, {"file.hostkey": b"-----BEGIN open-sesame-----\n"})}


def names(ap: AccessPoint) -> list[str]:
    return sorted(path.name for path in ap.directory.iterdir())


def test_all_machinetypes_are_deployed_in_one_call_and_stay(ap: AccessPoint) -> None:
    results = four_calls(machinetype, ap.arguments(two(ap)), ap.tools)
    assert names(ap) == [
        "atlas.json", "atlas.user_data", "gridpp.file.hostkey", "gridpp.json", "gridpp.user_data",
    ]  # fmt: skip
    assert {path.stat().st_mode & 0o777 for path in ap.directory.iterdir()} == {0o640}
    assert (ap.root / "state" / "atlas").is_dir()
    assert results[1]["changed_machinetypes"] == ["atlas", "gridpp"]
    assert results[3]["machinetypes"] == ["atlas", "gridpp"]
    assert results[3]["files"] == results[3]["unwanted"] == []
    assert results[1]["largest_node"] == {"memory_mb": 64216, "processors": 16}
    assert len(ap.parsed) == 4, "what did not change is not parsed again"
    assert "vm_memory = 4096" in ap.parsed[0]


def test_secrets_are_in_no_result(ap: AccessPoint) -> None:
    first = run(machinetype, ap.arguments(two(ap)), tools=ap.tools)
    changed = two(ap)
    changed["atlas"] = ({"memory_mb": 2048, "user_data_options": {"token": "sesame2"}},)
    changed["gridpp"] = (changed["gridpp"][0], {"file.hostkey": b"open-sesame-3"})
    second = run(machinetype, ap.arguments(changed), tools=ap.tools)
    shown = json.dumps([first, second])
    assert "sesame" not in shown
    assert "(hidden, changed)" in shown
    # Without the key of gridpp its file goes.
    gone = run(machinetype, ap.arguments({"atlas": changed["atlas"], "gridpp": ({},)}), tools=ap.tools)
    assert any(path.endswith("gridpp.file.hostkey") for path in gone["files"])
    assert "sesame" not in json.dumps(gone)
    assert '\\"memory_mb\\": 4096' in shown, "what is not a secret is shown"
    assert second["changed_machinetypes"] == ["atlas", "gridpp"]
    encoded = base64.b64encode(b"open-sesame-3").decode()
    assert encoded not in shown


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"max_idle": -1}, "vacuum_machinetypes.gridpp.max_idle: must be a whole number"),
        ({"colour": "red"}, "vacuum_machinetypes.gridpp.'colour': unknown key"),
        ({"memory_mb": 64217}, "vacuum_machinetypes.gridpp.memory_mb: 64217 is more than any node of the pool has"),
        ({"processors": 17}, "vacuum_machinetypes.gridpp.processors: 17 is more than any node"),
        ({"rank": "$(x)"}, "rank"),
    ],
)
def test_one_that_is_wrong_stops_all_and_is_named(ap: AccessPoint, keys: dict[str, Any], message: str) -> None:
    for check in (True, False):
        result = run(machinetype, ap.arguments({**two(ap), "gridpp": (keys,)}), check=check, tools=ap.tools)
        assert result["failed"]
        assert message in result["msg"]
        assert str(ap.root) not in result["msg"]
    assert list(ap.directory.glob("*")) == []


def test_what_htcondor_refuses_is_not_deployed(ap: AccessPoint) -> None:
    run(machinetype, ap.arguments(two(ap)), tools=ap.tools)
    before = {path.name: path.read_bytes() for path in ap.directory.iterdir()}
    ap.refused = "requirements = ((Memory >"
    changed = {**two(ap), "atlas": ({"requirements": "(Memory >"},)}
    result = run(machinetype, ap.arguments(changed), tools=ap.tools)
    assert result["failed"]
    assert "vacuum_machinetypes.atlas: HTCondor refuses" in result["msg"]
    assert {path.name: path.read_bytes() for path in ap.directory.iterdir()} == before


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"processors": 16, "memory_mb_per_processor": 4014}, "gridpp.memory_mb: 64224 is more than any node"),
        ({"processors": 32}, "gridpp.memory_mb: 65536 is more than any node"),
    ],
)
def test_memory_for_each_processor_is_judged_as_a_whole(ap: AccessPoint, keys: dict[str, Any], message: str) -> None:
    result = run(machinetype, ap.arguments({"gridpp": (keys,)}), tools=ap.tools)
    assert message in result["msg"]
    fits = {"processors": 16, "memory_mb_per_processor": 4013}
    assert not run(machinetype, ap.arguments({"gridpp": (fits,)}), tools=ap.tools).get("failed")


def test_one_of_a_pipe_that_no_node_can_run_costs_only_itself(ap: AccessPoint, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: warnings.append(text))
    arguments = ap.arguments({**two(ap), "gridpp": ({"processors": 64, "memory_mb": 1000},)})
    payload = json.loads(base64.b64decode(arguments["payload"]))
    payload["gridpp"]["of_pipe"] = True
    arguments["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    result = run(machinetype, arguments, tools=ap.tools)
    assert result["machinetypes"] == ["atlas", "gridpp"]
    assert any("gridpp.processors: 64 is more than any node" in warning for warning in warnings)


@pytest.mark.parametrize("nodes", [None, "", "undefined undefined\n"])
def test_without_nodes_sizes_are_not_judged(ap: AccessPoint, nodes: str | None) -> None:
    ap.nodes = nodes
    result = run(machinetype, ap.arguments({"big": ({"memory_mb": 1 << 20},)}), tools=ap.tools)
    assert not result.get("failed")
    assert result["largest_node"] is None


def test_a_write_that_fails_leaves_what_was_there(ap: AccessPoint, monkeypatch: pytest.MonkeyPatch) -> None:
    run(machinetype, ap.arguments(two(ap)), tools=ap.tools)
    before = {path.name: path.read_bytes() for path in ap.directory.iterdir()}
    real, calls = os.replace, []

    def replace(source: str, target: str) -> None:
        calls.append(target)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(files.os, "replace", replace)
    changed = {
        "atlas": ({"memory_mb": 128}, {"user_data": b"new\n", "pub": b"ssh-rsa x\n"}),
        "gridpp": ({"memory_mb": 128}, {"user_data": b"new\n"}),
    }
    result = run(machinetype, ap.arguments(changed), tools=ap.tools)
    assert result["failed"]
    assert "No space left" in result["msg"]
    assert {path.name: path.read_bytes() for path in ap.directory.iterdir()} == before


def test_a_file_that_a_machinetype_lost_is_removed(ap: AccessPoint) -> None:
    run(machinetype, ap.arguments(two(ap)), tools=ap.tools)
    (ap.directory / "gridpp2.file.hostkey").write_bytes(b"of another")
    four_calls(machinetype, ap.arguments({"gridpp": ({},)}), ap.tools)
    assert "gridpp.file.hostkey" not in names(ap)
    assert "gridpp2.file.hostkey" in names(ap)


def test_one_that_left_the_inventory_is_reported_then_retired_when_its_last_vm_ended(ap: AccessPoint) -> None:
    run(machinetype, ap.arguments({"old": ({},), "atlas": ({},)}), tools=ap.tools)
    result = run(machinetype, ap.arguments({"atlas": ({},)}), tools=ap.tools)
    assert (result["unwanted"], result["changed"]) == (["old"], False)

    ap.vms = [RUNNING, RUNNING, REMOVED, COMPLETED]
    result = run(machinetype, ap.arguments(retire=["old"]), tools=ap.tools)
    assert result["retired"] == {"old": {"gone": False, "vms": 3}}
    assert not result["changed"]
    assert "old.json" in names(ap)

    ap.vms = [COMPLETED]
    results = four_calls(machinetype, ap.arguments(retire=["old"]), ap.tools)
    assert results[1]["retired"]["old"]["gone"]
    assert names(ap) == ["atlas.json", "atlas.user_data"]
    assert sorted(path.name for path in (ap.root / "state").iterdir()) == ["atlas"]


def test_what_is_of_a_pipe_that_cannot_be_read_is_not_unwanted(ap: AccessPoint) -> None:
    run(machinetype, ap.arguments(dict.fromkeys(("atlas", "vo-prod", "vo", "vox"), ({},))), tools=ap.tools)
    for silent, unwanted in (([], ["vo", "vo-prod", "vox"]), (["vo"], ["vox"])):
        result = run(machinetype, ap.arguments({"atlas": ({},)}, silent_pipes=silent), tools=ap.tools)
        assert (result["unwanted"], result["changed"]) == (unwanted, False)


@pytest.mark.parametrize("kind", sorted(set(MADE) - {"a directory", "from the future"}))
def test_a_damaged_file_is_replaced_and_the_others_stay(ap: AccessPoint, kind: str) -> None:
    run(machinetype, ap.arguments(two(ap)), tools=ap.tools)
    MADE[kind](ap.directory / "atlas.json")
    result = run(machinetype, ap.arguments(two(ap)), tools=ap.tools)
    assert not result.get("failed"), result
    assert result["changed_machinetypes"] == ["atlas"]
    assert json.loads((ap.directory / "atlas.json").read_text())["memory_mb"] == 4096
    assert "sesame" not in json.dumps(result)


def test_a_directory_in_a_files_place_is_named(ap: AccessPoint) -> None:
    run(machinetype, ap.arguments(two(ap)), tools=ap.tools)
    MADE["a directory"](ap.directory / "atlas.json")
    result = run(machinetype, ap.arguments(two(ap)), tools=ap.tools)
    assert result["failed"]
    assert f"{ap.directory}/atlas.json" in result["msg"]


def test_a_factory_must_be_gone_before(ap: AccessPoint) -> None:
    run(machinetype, ap.arguments({"old": ({},)}), tools=ap.tools)
    ap.factories = 1
    result = run(machinetype, ap.arguments(retire=["old"]), tools=ap.tools)
    assert result["failed"]
    assert "factory of old is still in the queue" in result["msg"]


def test_a_factory_of_another_user_is_no_hindrance(ap: AccessPoint, monkeypatch: pytest.MonkeyPatch) -> None:
    run(machinetype, ap.arguments({"old": ({},)}), tools=ap.tools)
    forged = [{"VacFactory": "old", "JobStatus": RUNNING, "Owner": "mallory"}]
    asked: list[str] = []

    def condor_q(argv: list[str], _stdin: str) -> Answer:
        asked.append(argv[argv.index("-constraint") + 1])
        return 0, json.dumps(forged) if "VacFactory" in asked[-1] else "", ""

    monkeypatch.setattr(ap, "condor_q", condor_q)
    result = run(machinetype, ap.arguments(retire=["old"]), tools=ap.tools)
    assert result["retired"] == {"old": {"gone": True, "vms": 0}}
    assert all(f'(Owner == "{ap.user}") && ' in constraint for constraint in asked)


def test_another_machinetypes_factory_is_no_hindrance(ap: AccessPoint) -> None:
    run(machinetype, ap.arguments({"old": ({},), "older": ({},)}), tools=ap.tools)
    ap.factories = 1
    result = run(machinetype, ap.arguments(retire=["older"]), tools=ap.tools)
    assert result["retired"] == {"older": {"gone": True, "vms": 0}}


def test_check_mode_before_htcondor_is_installed_predicts_and_a_run_names_the_package(ap: AccessPoint) -> None:
    ap.tools.missing = {"condor_q"}
    result = run(machinetype, ap.arguments(retire=["old"]), check=True, tools=ap.tools)
    assert result["retired"] == {"old": {"gone": True, "vms": 0}}
    result = run(machinetype, ap.arguments(retire=["old"]), tools=ap.tools)
    assert result["failed"]
    assert "condor_q is not installed on this node: install HTCondor" in result["msg"]


@pytest.mark.parametrize("name", ["../x", "a.b", "", "A"])
def test_only_names_are_retired(ap: AccessPoint, name: str) -> None:
    result = run(machinetype, ap.arguments(retire=[name]), tools=ap.tools)
    assert result["failed"]
    assert "not a valid machinetype name" in result["msg"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives files to root")
def test_an_owner_that_does_not_exist_is_named(ap: AccessPoint) -> None:
    arguments = ap.arguments({"atlas": ({"owner": "nobody-of-that-name"},)})
    result = run(machinetype, arguments, tools=ap.tools)
    assert result["failed"]
    assert "vacuum_machinetypes.atlas.owner: no user nobody-of-that-name" in result["msg"]
    assert not run(machinetype, arguments, check=True, tools=ap.tools).get("failed"), "it may be created before"


def test_a_payload_of_ones_own_is_refused(ap: AccessPoint) -> None:
    result = run(machinetype, {**ap.arguments(), "payload": "x"}, tools=ap.tools)
    assert result["failed"]
    assert "leave it out" in result["msg"]


@pytest.mark.parametrize(
    ("wanted", "removable", "refused"),
    [
        ([], [], True),
        ([], ["a"], True),
        ([], ["a", "b", "c"], False),
        ([], ["all"], False),
        ([], None, False),
        (["a"], [], True),
        (["a"], ["b", "c"], False),
        (["new"], [], True),
        (["a", "b"], [], False),
        (["a", "b", "c", "new"], [], False),
    ],
)
def test_an_inventory_that_is_not_whole_drains_nothing(
    ap: AccessPoint, monkeypatch: pytest.MonkeyPatch, wanted: list[str], removable: list[str] | None, refused: bool
) -> None:
    run(machinetype, ap.arguments(dict.fromkeys("abcd", ({},))), tools=ap.tools)
    # d was drained before; somebody's own job calls itself a factory of what is none.
    jobs = [{"VacFactory": name, "JobStatus": RUNNING, "Owner": ap.user} for name in ("a", "b", "c", "x", "y", "z")]
    monkeypatch.setattr(ap, "condor_q", lambda *_: (0, json.dumps(jobs), ""))
    before = sorted(path.name for path in ap.directory.iterdir())
    given = ap.arguments(dict.fromkeys(wanted, ({},)), removable=removable)
    for check in (True, False):
        result = run(machinetype, given, check=check, tools=ap.tools)
        assert result.get("failed", False) == refused
        if refused:
            missing = [name for name in "abc" if name not in wanted]
            assert (
                f"{len(missing)} of 3 machinetypes with a factory are missing ({', '.join(missing)})" in result["msg"]
            )
            assert f"vacuum_remove_machinetypes: [{', '.join(missing)}]" in result["msg"]
            assert sorted(path.name for path in ap.directory.iterdir()) == before
