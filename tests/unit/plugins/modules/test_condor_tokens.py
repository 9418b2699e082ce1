# SPDX-License-Identifier: GPL-3.0-or-later
"""IDTOKENS as HTCondor 23.9.6's condor_token_create prints them (recorded; signatures replaced)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import pending as condor_pending
from ansible_collections.vacuum.htcondor.plugins.modules import (
    condor_signing_key,
    condor_token,
    condor_token_create,
    condor_token_info,
)

from tests.unit.plugins.harness import Answer, Plugin, Tools, four_calls, run

RECORDED = (
    "eyJhbGciOiJIUzI1NiIsImtpZCI6IlBPT0wifQ.eyJleHAiOjE3OTU2Mjk4MTcsImlhdCI6MTc5NTYyOTcxNywiaXNzIjoiY20ubGFiIiwianRp"
    "IjoiN2FhYzU2NmUxYWMwMjQyZTE5NWE5NjY5ZmRjYTM0YjYiLCJzY29wZSI6ImNvbmRvcjpcL1JFQUQgY29uZG9yOlwvQURWRVJUSVNFX1NUQVJU"
    "RCIsInN1YiI6ImNvbmRvckBjbS5sYWIifQ.c2lnbmF0dXJl"
)
NO_KEY = "Failed to generate a token.\nTOKEN:1:Failed to read file /etc/condor/passwords.d/POOL securely.\n\n"
MASTER = 'MASTER = "Alive"\nMASTER_PID = 100\nSTARTD = "Alive"\nSTARTD_PID = 101\nSTARTD_Addr = "<1>"\nIsReady = true\n'
SECRET = "c2VjcmV0LXNpZ25hdHVyZQ"
NODE = {
    "identity": "condor@cm.lab",
    "authorizations": ["READ", "ADVERTISE_STARTD"],
    "lifetime": 1000,
    "renew_before": 100,
}


def signed(lifetime: int = 1000, issued: int | None = None, scope: str = "ADVERTISE_STARTD READ", **claims: Any) -> str:
    """A token in the form of RECORDED."""
    issued = int(time.time()) if issued is None else issued
    payload = {"iat": issued, "exp": issued + lifetime, "iss": "cm.lab", "sub": "condor@cm.lab", "jti": "ab12"}
    payload["scope"] = " ".join(f"condor:/{word}" for word in scope.split())
    text = json.dumps({key: value for key, value in {**payload, **claims}.items() if value is not None})
    return (
        f"{RECORDED.split('.', maxsplit=1)[0]}.{base64.urlsafe_b64encode(text.encode()).decode().rstrip('=')}.{SECRET}"
    )


class Machine:
    """HTCondor's tools on one machine; ``master`` is what condor_who prints."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pending_file = str(root / "pending.json")
        self.token = Plugin(condor_token, owner=None, pending_file=self.pending_file)
        self.master = ""
        self.identity: str | None = None

    @property
    def file(self) -> Path:
        return self.root / "tokens.d" / "vacuum-pool"

    @property
    def key(self) -> Path:
        return self.root / "passwords.d" / "POOL"

    def put(self, text: str, mode: int = 0o600) -> None:
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(text + "\n")
        self.file.chmod(mode)

    def __call__(self, argv: list[str], stdin: str | None) -> Answer:
        program = argv[0].rsplit("/", 1)[1]
        answer: Answer = getattr(self, program)(argv[1:], stdin)
        return answer

    def condor_config_val(self, words: list[str], _stdin: str | None) -> Answer:
        paths = {"SEC_TOKEN_SYSTEM_DIRECTORY": self.file.parent, "SEC_TOKEN_POOL_SIGNING_KEY_FILE": self.key}
        return 0, f"{paths[words[0]]}\n", ""

    def condor_who(self, words: list[str], _stdin: str | None) -> Answer:
        return (0, self.master, "") if self.master else (1, "", "")

    def condor_store_cred(self, words: list[str], stdin: str | None) -> Answer:
        assert words == ["add", "-c", "-i", "-", "-f", str(self.key)]
        assert stdin is not None
        assert len(stdin) == 88
        self.key.write_text(stdin)
        self.key.chmod(0o600)
        return 0, "", ""

    def condor_token_create(self, words: list[str], _stdin: str | None) -> Answer:
        if not self.key.exists():
            return 2, "", NO_KEY
        given = list(zip(words[::2], words[1::2]))
        values = dict(given)
        scope = " ".join(value for option, value in given if option == "-authz")
        identity = self.identity or values["-identity"]
        return 0, signed(int(values["-lifetime"]), scope=scope, sub=identity) + "\n", ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_key_is_made_once(machine: Machine) -> None:
    results = four_calls(condor_signing_key, {}, Tools(machine))
    assert machine.key.stat().st_mode & 0o777 == 0o600
    assert machine.key.parent.stat().st_mode & 0o777 == 0o700
    assert results[3]["key_since"] == int(machine.key.stat().st_mtime)
    assert machine.key.read_text() not in json.dumps(results)


def test_an_empty_key_is_not_taken_for_one(machine: Machine) -> None:
    machine.key.parent.mkdir()
    machine.key.write_text("")
    result = run(condor_signing_key, {}, tools=Tools(machine))
    assert result["failed"]
    assert str(machine.key) in result["msg"]


def test_a_token_is_given_to_a_machine(machine: Machine) -> None:
    machine.master = MASTER
    token = signed()
    results = four_calls(machine.token, {**NODE, "token": token}, Tools(machine))
    assert machine.file.read_text() == token + "\n"
    assert machine.file.stat().st_mode & 0o777 == 0o600
    assert machine.file.parent.stat().st_mode & 0o777 == 0o700
    assert results[0]["reason"] == "there is none"
    assert SECRET not in json.dumps(results)
    pending = condor_pending.load({"MASTER_PID": 100, "STARTD_PID": 101}, machine.pending_file)
    assert pending.action == "reconfig"


def test_check_mode_does_without_a_token_and_nothing_else_does(machine: Machine) -> None:
    assert run(machine.token, NODE, check=True, tools=Tools(machine))["changed"]
    result = run(machine.token, NODE, tools=Tools(machine))
    assert result["failed"]
    assert "there is none" in result["msg"]


def test_what_a_machine_needs_is_what_gets_created(machine: Machine) -> None:
    tools = Tools(machine)
    checked = run(condor_token_info, {**NODE, "host": "node7"}, tools=tools)
    assert (checked["needed"], checked["changed"]) == (True, False)
    run(condor_signing_key, {}, tools=tools)
    created = run(condor_token_create, {"requests": [checked["request"]]}, tools=tools)
    assert tools.calls[-1][1:] == [
        *("-identity", "condor@cm.lab", "-authz", "ADVERTISE_STARTD", "-authz", "READ"),
        *("-lifetime", "1000"),
    ]
    result = run(machine.token, {**NODE, "token": created["tokens"]["node7"]}, tools=tools)
    assert result["changed"]
    again = run(condor_token_info, NODE, tools=tools)
    assert (again["needed"], again["reason"]) == (False, "")


def test_check_mode_creates_nothing(machine: Machine) -> None:
    request = {"host": "node1", "identity": "condor@cm.lab", "lifetime": 5}
    tools = Tools(machine)
    result = run(condor_token_create, {"requests": [request]}, check=True, tools=tools)
    assert (result["changed"], result["tokens"], tools.calls) == (True, {}, [])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: signed(issued=int(time.time()) - 950), "it expires within 100 s"),
        (lambda: signed(issued=int(time.time()) - 5000), "it has expired"),
        (lambda: signed(exp=None), "it never expires"),
        (lambda: signed(scope="READ"), "its authorizations is READ, not ADVERTISE_STARTD READ"),
        (lambda: signed(scope=""), "its authorizations is (unlimited), not ADVERTISE_STARTD READ"),
        (lambda: signed(sub="root@cm.lab"), "its identity is root@cm.lab, not condor@cm.lab"),
        (lambda: signed(iss="other.lab"), "its issuer is other.lab, not cm.lab"),
        (lambda: signed(issued=int(time.time()) - 400), "it was signed before the central manager got its present key"),
        (lambda: "no.token", "holds no IDTOKEN of HTCondor"),
        (lambda: signed() + "\n" + signed(), "holds 2 tokens"),
    ],
)
def test_a_token_that_does_not_serve(machine: Machine, make: Callable[[], str], reason: str) -> None:
    token = make()  # only now: a busy machine may come to this test minutes after it read the file
    machine.put(token)
    given = {**NODE, "issued_after": int(time.time()) - 300 if "present key" in reason else 0}
    result = run(condor_token_info, given, tools=Tools(machine))
    assert result["needed"]
    assert result["reason"].endswith(reason)
    refused = run(machine.token, {**given, "token": token}, tools=Tools(machine))
    assert refused["failed"]
    assert SECRET not in json.dumps(refused)
    assert machine.file.read_text() == token + "\n"


def test_a_token_that_others_can_read_is_replaced(machine: Machine) -> None:
    machine.put(signed(), 0o644)
    result = run(condor_token_info, NODE, tools=Tools(machine))
    assert result["reason"] == "others than root can read or replace it"


def test_clocks_that_differ_are_named(machine: Machine) -> None:
    result = run(machine.token, {**NODE, "token": signed(issued=int(time.time()) + 7200)}, tools=Tools(machine))
    assert result["failed"]
    assert "chrony" in result["remedy"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"lifetime": 0}, "lifetime"),
        ({"lifetime": -7, "renew_before": 0}, "lifetime"),
        ({"renew_before": 1000}, "renew_before"),
        ({"identity": "condor"}, "identity"),
        ({"identity": "a b@c"}, "identity"),
        ({"name": "../x"}, "name"),
        ({"name": ".hidden"}, "name"),
    ],
)
@pytest.mark.parametrize("module", [condor_token_info, condor_token])
def test_what_cannot_be_is_refused(machine: Machine, given: dict[str, Any], name: str, module: ModuleType) -> None:
    result = run(module, {**NODE, **given}, tools=Tools(machine))
    assert result["failed"]
    assert result["msg"].startswith(f"{name}:")


@pytest.mark.parametrize("request_", [{"lifetime": 0}, {"identity": "nobody"}])
def test_nothing_is_created_if_one_request_is_bad(machine: Machine, request_: dict[str, Any]) -> None:
    good = {"host": "node1", "identity": "condor@cm.lab", "lifetime": 5}
    tools = Tools(machine)
    requests = [good, {**good, "host": "node2", **request_}]
    assert run(condor_token_create, {"requests": requests}, tools=tools)["failed"]
    assert tools.calls == []


def test_without_a_key_the_remedy_names_the_central_manager(machine: Machine) -> None:
    request = {"host": "node1", "identity": "condor@cm.lab", "lifetime": 5}
    result = run(condor_token_create, {"requests": [request]}, tools=Tools(machine))
    assert result["failed"]
    assert "node1" in result["msg"]
    assert "central manager" in result["remedy"]


def test_a_token_for_somebody_else_is_not_handed_out(machine: Machine) -> None:
    tools = Tools(machine)
    run(condor_signing_key, {}, tools=tools)
    machine.identity = "root@cm.lab"
    request = {"host": "node1", "identity": "condor@cm.lab", "lifetime": 5}
    assert run(condor_token_create, {"requests": [request]}, tools=tools)["failed"]


def test_the_recorded_token_is_read(machine: Machine) -> None:
    machine.put(RECORDED)
    result = run(condor_token_info, NODE, tools=Tools(machine))
    assert (result["expires"], result["id"]) == (1795629817, "7aac566e1ac0242e195a9669fdca34b6")


def test_a_machine_without_htcondor_is_predicted(machine: Machine) -> None:
    tools = Tools(machine, missing=["condor_config_val"])
    for module, given in ((condor_signing_key, {}), (condor_token_info, NODE), (condor_token, NODE)):
        result = run(module, given, check=True, tools=tools)
        assert not result.get("failed")
        assert result["changed"] is (module is not condor_token_info)
    assert run(condor_token_info, NODE, tools=tools)["failed"]
