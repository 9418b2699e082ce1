# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares in a real negotiator: what the role's configuration does to two groups that want all they can get."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import shares

from tests.integration.chroot import OWNER, Pool, missing
from tests.integration.factory.site import wait_until

ROOT = Path(__file__).resolve().parents[2]
SLOTS = 6
MACHINETYPES = {"alpha": {"target_share": 2}, "beta": {"target_share": 1}}
# CLAIM_WORKLIFE: a VM lives longer than HTCondor keeps a claim for the next job of the same group; these jobs do not.
# CLAIM_PARTITIONABLE_LEFTOVERS: one job starts in each cycle. test_filling.py has the consumption policy of the roles.
CONFIG = f"""
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD
NUM_CPUS = {SLOTS}
MEMORY = 6000
START = True
SUSPEND = False
PREEMPT = False
RunBenchmarks = False
CLAIM_WORKLIFE = 0
CLAIM_PARTITIONABLE_LEFTOVERS = False
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_MIN_INTERVAL = 1
NEGOTIATOR_CYCLE_DELAY = 1
SCHEDD_MIN_INTERVAL = 1
ALLOW_ADVERTISE_STARTD = *
"""
SECONDS = 90.0


def fragment(machinetypes: dict[str, Any], percent: int = 100) -> str:
    """The role's configuration for the machinetypes."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701
    environment.filters["vacuum.htcondor.share_quotas"] = shares.quotas
    environment.filters["vacuum.htcondor.share_factors"] = shares.factors
    environment.filters["bool"] = bool
    template = environment.from_string((ROOT / "roles/shares/templates/60-vac-shares.config.j2").read_text())
    values = {"shares_machinetypes": machinetypes, "shares_pool_percent": percent, "shares_backfill": False}
    return template.render(ansible_managed="test", **values)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    with Pool("trixie", CONFIG + fragment(MACHINETYPES)) as made:
        yield made


def submit(pool: Pool, name: str, count: int, seconds: int = 25, *, hold: bool = False) -> None:
    """Jobs of a machinetype's group, each busy for that long; with ``hold`` they wait for a release."""
    group = shares.accounting_group(name, MACHINETYPES[name])
    description = f"""
universe = vanilla
executable = /bin/sleep
transfer_executable = false
should_transfer_files = NO
arguments = {seconds}
request_memory = 10
request_disk = 10
initialdir = /pool/vac
accounting_group = {group}
accounting_group_user = {OWNER}
hold = {hold}
+VacMachinetype = "{name}"
queue {count}
"""
    (pool.local / "vac" / f"{name}.sub").write_text(description)
    pool.run("condor_submit", f"/pool/vac/{name}.sub", user=OWNER)


def running(pool: Pool) -> Counter[str]:
    """How many slots each machinetype's group holds."""
    held = 'State == "Claimed" && DynamicSlot =?= True && isString(AccountingGroup)'
    text = pool.run("condor_status", "-constraint", held, "-af", "AccountingGroup").stdout
    return Counter(word.partition("@")[0].partition(".")[0].replace("group_", "") for word in text.split())


def slot_seconds(pool: Pool, seconds: float) -> Counter[str]:
    """What ran meanwhile, in slots times seconds."""
    used: Counter[str] = Counter()
    before = started = time.monotonic()
    while before - started < seconds:
        time.sleep(0.5)
        found, now = running(pool), time.monotonic()
        for name, number in found.items():
            used[name] += int(number * (now - before) * 1000)
        before = now
    return used


def jobs(pool: Pool) -> set[str]:
    """The jobs that run."""
    claimed = 'State == "Claimed" && DynamicSlot =?= True'
    return set(pool.run("condor_status", "-constraint", claimed, "-af", "JobId").stdout.split())


def until(pool: Pool, condition: Callable[[], bool], what: str) -> None:
    """Wait for what the negotiator does, however busy the machine is; fails with its log."""
    try:
        wait_until(condition, what, 600)
    except AssertionError as error:
        log = (pool.local / "log" / "NegotiatorLog").read_text(errors="replace")[-2000:]
        pytest.fail(f"{error}: {running(pool)}\n{pool.run('condor_status').stdout}\n{log}")


def until_full(pool: Pool) -> None:
    until(pool, lambda: sum(running(pool).values()) == SLOTS, "the pool is full")


def test_the_configuration_is_what_the_negotiator_has(pool: Pool) -> None:
    assert pool.run("condor_config_val", "-negotiator", "GROUP_NAMES").stdout.split() == ["group_alpha", "group_beta"]
    quotas = json.loads(pool.run("condor_config_val", "-negotiator", "GROUP_QUOTA_DYNAMIC_group_alpha").stdout)
    assert quotas == pytest.approx(2 / 3, abs=1e-5)


def test_two_to_one_and_what_one_leaves_the_other_gets(pool: Pool) -> None:
    submit(pool, "beta", 12)
    until_full(pool)
    alone = running(pool)
    assert alone["beta"] == SLOTS, f"beta alone may use everything, but runs {alone}"
    before = jobs(pool)
    assert len(before) == SLOTS
    submit(pool, "alpha", 300)
    submit(pool, "beta", 300)
    until(pool, lambda: not before & jobs(pool), "all that ran before alpha came has ended")
    until_full(pool)
    used = slot_seconds(pool, SECONDS)
    ratio = used["alpha"] / max(used["beta"], 1)
    print(f"slot-seconds in {SECONDS:g} s: {dict(used)}, ratio {ratio:.2f}")
    assert 1.7 <= ratio <= 2.35, used


def test_a_fraction_of_a_slot_keeps_none_idle() -> None:
    """Beta's quota of two slots is two thirds of one, and the negotiator cuts its limit to none."""
    with Pool("trixie", CONFIG.replace(f"NUM_CPUS = {SLOTS}", "NUM_CPUS = 2") + fragment(MACHINETYPES)) as small:
        for name in MACHINETYPES:
            # Longer than the test: the second must not wait for the end of the first.
            submit(small, name, 1, seconds=36000)
            until(small, lambda: running(small)[name] == 1, f"{name} runs")  # noqa: B023
        assert running(small) == {"alpha": 1, "beta": 1}


def test_other_users_keep_their_part() -> None:
    text = fragment({**MACHINETYPES, "gamma": {"accounting_group": "group_alpha.x"}}, 50)
    values = dict(line.split(" = ") for line in text.splitlines() if line.startswith("GROUP_QUOTA"))
    assert float(values["GROUP_QUOTA_DYNAMIC_group_alpha"]) == pytest.approx(0.5 * 3 / 4, abs=1e-5)
    assert float(values["GROUP_QUOTA_DYNAMIC_group_alpha.x"]) == pytest.approx(1.0)
    assert float(values["GROUP_QUOTA_DYNAMIC_group_beta"]) == pytest.approx(0.5 / 4, abs=1e-5)
    assert "GROUP" not in fragment({"lab": {}})
    # They would have to share what the quotas leave.
    assert "AUTOREGROUP" not in text
