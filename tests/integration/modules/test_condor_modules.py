# SPDX-License-Identifier: GPL-3.0-or-later
"""condor_config, condor_daemons, the modules of tokens, and pool_info against HTCondor itself."""

from __future__ import annotations

import json
import re

from tests.integration.modules.conftest import Node

TOKEN = {"identity": "condor@vac.test", "authorizations": ["READ", "ADVERTISE_STARTD"], "lifetime": 1000}
RENEW = {**TOKEN, "renew_before": 100}


def startd(node: Node) -> str:
    """The startd's process id."""
    text = node.pool.run("condor_who", "-quick").stdout
    return next(line for line in text.splitlines() if line.startswith("STARTD_PID"))


def test_a_change_that_needs_a_restart(node: Node) -> None:
    fragments = {"20-size.config": "NUM_CPUS = 3\nUPDATE_INTERVAL = 6\n"}
    results = node.four_calls("condor_config", {"fragments": fragments})
    assert results[1]["knobs"]["NUM_CPUS"] == {"before": "2", "after": "3"}
    assert results[0]["diff"] == results[1]["diff"]
    assert (results[3]["action"], results[3]["daemons"]) == ("restart", ["STARTD"])
    assert results[3]["reasons"] == ["NUM_CPUS: the startd divides the machine into slots when it starts"]
    before = startd(node)
    results = node.four_calls("condor_daemons", {"state": "applied", "timeout": 60})
    assert (results[1]["ready"], results[1]["pending"], results[3]["action"]) == (True, False, "none")
    assert startd(node) != before
    seen = node.play(("pool_info", {}, False))[0]
    assert [entry["cpus"] for entry in seen["machines"]] == [3]
    assert "offers no VM universe" in seen["machines"][0]["problem"], "a chroot on this machine is no worker node"


def test_a_change_for_which_a_reconfig_is_enough(node: Node) -> None:
    before = startd(node)
    fragments = {"30-policy.config": "START = TARGET.RequiresVac =?= True\n"}
    results = node.four_calls("condor_config", {"fragments": fragments, "apply": "reconfig", "timeout": 60})
    assert [result["action"] for result in results] == ["reconfig", "none", "none", "none"]
    assert startd(node) == before
    assert "RequiresVac" in node.pool.run("condor_config_val", "-startd", "START").stdout
    node.four_calls("condor_config", {"fragments": {"30-policy.config": None}, "apply": "reconfig", "timeout": 60})
    assert "RequiresVac" not in node.pool.run("condor_config_val", "-startd", "START").stdout


def test_what_a_site_writes_and_htcondor_takes_is_right(node: Node) -> None:
    """Expressions, functions and prefixes of daemons in values and names; the value is what HTCondor makes of it."""
    site = """MEMORY = 1.2 * quantize( $(DETECTED_MEMORY), 1000 )
MAXJOBRETIREMENTTIME = $(HOUR) * 24 * 3
UPDATE_INTERVAL = $RANDOM_INTEGER(230, 370)
STARTD.SETTABLE_ATTRS_ADMINISTRATOR = StartJobs
STARTD_CRON_NODE_CHECK_MODE = periodic
GROUP_QUOTA_DYNAMIC_group_a.prod = 0.5
VM_NETWORKING_TYPE = nat, bridge
"""
    node.four_calls("condor_config", {"fragments": {"25-site.config": site}})
    names = ("VM_NETWORKING_TYPE", "GROUP_QUOTA_DYNAMIC_group_a.prod", "MAXJOBRETIREMENTTIME")
    found = [node.pool.run("condor_config_val", name).stdout.strip() for name in names]
    assert found[:2] == ["nat, bridge", "0.5"]
    assert re.fullmatch(r".*60.* \* 24 \* 3", found[2]), found
    node.four_calls("condor_config", {"fragments": {"25-site.config": None}})


def test_what_htcondor_refuses_changes_nothing(node: Node) -> None:
    directory = node.pool.local / "config.d"
    before, pid = {path.name: path.read_bytes() for path in directory.iterdir()}, startd(node)
    bad = {
        "VM_MEMROY = 4\n": "did you mean VM_MEMORY?",
        "use feature : Nonsense\n": "does not recognise Nonsense",
        "if version > \nA = 1\n": "/pool/config.d/40-bad.config",
        "START = (a && b\n": "START is not a valid ClassAd expression",
        "UPDATE_INTERVAL = soon\n": "soon is not a whole number",
    }
    steps = [("condor_config", {"fragments": {"40-bad.config": text}, "apply": "restart"}, False) for text in bad]
    for result, words in zip(node.play(*steps), bad.values()):
        assert result["failed"]
        assert words in result["msg"]
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert startd(node) == pid


def test_a_startd_that_does_not_come_back_gets_its_old_configuration(node: Node) -> None:
    directory = node.pool.local / "config.d"
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    fragments = {"50-execute.config": "EXECUTE = /pool/nowhere\n"}
    result = node.play(("condor_config", {"fragments": fragments, "apply": "restart", "timeout": 12}, False))[0]
    assert result["failed"]
    assert result["rolled_back"], result["msg"]
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert node.play(("condor_daemons", {"state": "ready", "timeout": 60}, False))[0]["ready"]


def test_drained_and_ready_again(node: Node) -> None:
    drained = node.four_calls("condor_daemons", {"state": "drained", "timeout": 60})
    assert drained[1]["daemons"]["STARTD"] == "Hold"
    ready = node.four_calls("condor_daemons", {"state": "ready", "timeout": 60})
    assert ready[1]["ready"]


def test_a_token_is_created_given_and_good_for_its_claims(node: Node) -> None:
    # The collector made the key when it started: what is asserted of a new one is its form.
    node.pool.run("rm", "-rf", "/pool/passwords.d")
    key = node.four_calls("condor_signing_key", {})[3]
    checked = node.play(("condor_token_info", {**RENEW, "host": "w1"}, False))[0]
    assert (checked["needed"], checked["reason"]) == (True, "there is none")
    requests = {"requests": [checked["request"]]}
    token = node.play(("condor_token_create", requests, False))[0]["tokens"]["w1"]
    given = {**RENEW, "token": token, "issued_after": key["key_since"]}
    results = node.four_calls("condor_token", given)
    assert token.rpartition(".")[2] not in json.dumps(results)
    path = node.pool.local / "tokens.d" / "vacuum-pool"
    assert path.stat().st_mode & 0o777 == 0o600
    listed = node.pool.run("condor_token_list").stdout
    assert '"sub":"condor@vac.test"' in listed
    assert "ADVERTISE_STARTD" in listed
    assert node.play(("condor_daemons", {"state": "applied", "timeout": 60}, False))[0]["action"] == "reconfig"
    # A client without the key: the token is all that it has.
    for level, good in (("ADVERTISE_STARTD", True), ("ADVERTISE_SCHEDD", False), ("ADMINISTRATOR", False)):
        client = (
            "env",
            "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS=IDTOKENS",
            "_CONDOR_SEC_PASSWORD_DIRECTORY=/nowhere",
        )
        ping = node.pool.run(*client, "condor_ping", "-type", "collector", "-quiet", level, check=False)
        assert (ping.returncode == 0) is good, f"{level}: {ping.stdout}{ping.stderr}"


def test_a_token_that_ends_soon_is_asked_for_again(node: Node) -> None:
    text = node.pool.run("condor_token_create", "-identity", "condor@vac.test", "-lifetime", "50").stdout
    path = node.pool.local / "tokens.d" / "vacuum-pool"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    soon, other = node.play(
        ("condor_token_info", {**RENEW, "authorizations": []}, False),
        ("condor_token_info", RENEW, False),
    )
    assert soon["reason"] == "it expires within 100 s"
    assert other["reason"] == "its authorizations is (unlimited), not ADVERTISE_STARTD READ"
