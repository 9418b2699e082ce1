# SPDX-License-Identifier: GPL-3.0-or-later
"""Two experiments with plenty of work: how the pool is divided, and what their VMs got."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from typing import Any

import pytest

from condor_vac.model.outcome_record import completed

VM_UNIVERSE, IDLE, RUNNING, COMPLETED = 13, 1, 2, 4
SHARES = {"alpha": 2, "beta": 1}
SLOTS = 4
LOOK_SECONDS = 3
# Longer than anything takes on a busy machine: it is for what never comes.
PATIENCE_SECONDS = 3000
# So many VMs have come to their end while it is measured: whole slots take turns.
MEASURED_VMS = 12


def vms(box: Any) -> list[dict[str, Any]]:
    """The VM jobs in the queue."""
    wanted = "ClusterId,ProcId,JobStatus,VacMachinetype,AccountingGroup,AcctGroup,Iwd,VacOutcome"
    text = box.check_output(f"condor_q -allusers -constraint 'JobUniverse == {VM_UNIVERSE}' -json -attributes {wanted}")
    return [dict(completed(ad)) for ad in json.loads(text or "[]") if ad.get("VacMachinetype") in SHARES]


def count(ads: list[dict[str, Any]], status: int) -> Counter[str]:
    return Counter(str(ad["VacMachinetype"]) for ad in ads if ad["JobStatus"] == status)


@pytest.fixture(scope="session")
def measured(box: Any) -> dict[str, Any]:
    """{running: slot-seconds of each experiment while both had VMs waiting, seconds, looks: the samples}.

    It begins when both have VMs that wait, so that it is the negotiator who decides, and not the lack of demand.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        began = time.monotonic()
        ads = vms(box)
        if set(count(ads, IDLE)) == set(SHARES) and sum(count(ads, RUNNING).values()) == SLOTS:
            break
        assert began < end, f"no contention: {count(ads, IDLE)} idle, {count(ads, RUNNING)} running"
        time.sleep(LOOK_SECONDS)
    running: defaultdict[str, float] = defaultdict(float)
    looks: list[dict[str, int]] = []
    before = started = time.monotonic()
    there = count(ads, COMPLETED).total()
    while count(ads, COMPLETED).total() < there + MEASURED_VMS:
        assert before - started < PATIENCE_SECONDS, f"too few VMs end: {looks}"
        time.sleep(LOOK_SECONDS)
        ads = vms(box)
        now = time.monotonic()
        found = count(ads, RUNNING)
        for name, number in found.items():
            running[name] += number * (now - before)
        looks.append(dict(found))
        before = now
    print(f"slot-seconds in {before - started:.0f} s: {dict(running)}; looks: {looks}")
    return {"running": running, "seconds": before - started, "looks": looks}


def test_the_negotiator_knows_the_groups(box: Any) -> None:
    names = box.check_output("condor_config_val -negotiator GROUP_NAMES").split()
    assert names == ["group_alpha", "group_beta"]
    for name, share in SHARES.items():
        quota = float(box.check_output(f"condor_config_val -negotiator GROUP_QUOTA_DYNAMIC_group_{name}"))
        assert quota == pytest.approx(share / sum(SHARES.values()), abs=1e-5)


def test_vms_are_in_their_groups(box: Any) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    ads = vms(box)
    while {ad["VacMachinetype"] for ad in ads} != set(SHARES):
        began = time.monotonic()
        assert began < end, f"no VMs of both: {ads}"
        ads = vms(box)
        time.sleep(LOOK_SECONDS)
    groups = {(ad["VacMachinetype"], ad["AcctGroup"]) for ad in ads}
    assert groups == {("alpha", "group_alpha"), ("beta", "group_beta")}


def test_the_pool_is_divided_by_the_shares(measured: dict[str, Any]) -> None:
    """2 to 1 of four slots is 2.67 to 1.33, so that three to one and two to two take turns.

    Of a dozen VMs one turn more or less counts: 1.46 was seen on a busy host. Without shares it is about 1.
    """
    running = measured["running"]
    ratio = running["alpha"] / max(running["beta"], 1.0)
    assert 1.3 <= ratio <= 3.0, f"alpha ran {ratio:.2f} times as long as beta: {measured}"


def test_the_pool_was_full_meanwhile(measured: dict[str, Any]) -> None:
    used = sum(measured["running"].values()) / measured["seconds"] / SLOTS
    assert used > 0.7, f"only {used:.0%} of the slots were in use: {measured}"


def finished(box: Any, name: str) -> dict[str, Any]:
    """A VM of the experiment that did its work."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        for ad in vms(box):
            if (ad["VacMachinetype"], ad["JobStatus"], ad.get("ShutdownCode")) == (name, COMPLETED, 200):
                return ad
        time.sleep(LOOK_SECONDS)
    pytest.fail(f"no VM of {name} ended with 200: {vms(box)}")


@pytest.mark.parametrize("name", SHARES)
def test_vms_of_both_do_their_work(box: Any, name: str) -> None:
    assert finished(box, name)["VacKind"] == "success"


def test_a_vm_has_a_proxy_that_services_accept(box: Any) -> None:
    place = finished(box, "alpha")["Iwd"]
    proxy = f"{place}/joboutputs/x509_certificates.pem"
    verify = f"openssl verify -allow_proxy_certs -CAfile /etc/condor_vac/proxy/ca.pem -untrusted {proxy} {proxy}"
    assert box.check_output(verify).endswith("OK")
    text = box.check_output(f"openssl x509 -in {proxy} -noout -text")
    assert "1.3.6.1.4.1.3536.1.1.1.9" in text
    assert "(2048 bit)" in text


def test_a_proxys_key_is_nowhere_it_should_not_be(box: Any) -> None:
    waiting = [ad["Iwd"] for ad in vms(box) if ad["VacMachinetype"] == "alpha" and ad["JobStatus"] in {IDLE, RUNNING}]
    modes = box.check_output(f"stat -c '%a %U' {' '.join(f'{place}/x509_proxy.pem' for place in waiting)}")
    assert set(modes.splitlines()) == {"600 vac"}
    ended = finished(box, "alpha")["Iwd"]
    assert not box.file(f"{ended}/x509_proxy.pem").exists
    log = box.check_output("condor_config_val LOG")
    for places in (f"{log} /var/lib/condor_vac/alpha/factory.log", "/var/lib/condor_vac/alpha/state.json"):
        assert box.run(f"grep -rl 'PRIVATE KEY' {places}").stdout == ""
    assert "PRIVATE KEY" not in box.check_output("condor_q -allusers -long")


def test_the_table_shows_both_factories_and_their_reasons(box: Any) -> None:
    shown = json.loads(box.run("condor_vac status --json").stdout)["machinetypes"]
    assert set(shown) >= set(SHARES)
    for name in SHARES:
        assert shown[name]["last"]["reasons"], name
