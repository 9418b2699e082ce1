# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast nodes fill, and by which shares, in a real pool: the worker role's part, and the access point's.

Jobs stand for VMs: negotiator, schedd and startd match and claim both alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest

from condor_vac.condor import consumption, slot_weight
from tests.integration.chroot import CONDOR_CONFIG, Pool, missing
from tests.integration.test_shares import CONFIG, MACHINETYPES, fragment, jobs, running, submit, until

ROOT = Path(__file__).resolve().parents[2]
SLOTS, STARTS = 12, 4
SUITES = ("trixie", "sid")
# Longer than any test.
SECONDS = 36000
# A cycle begins when the startd has published what was matched in the one before.
SLOWER = """
NEGOTIATOR_INTERVAL = 5
NEGOTIATOR_MIN_INTERVAL = 5
NEGOTIATOR_CYCLE_DELAY = 5
ALLOW_CONFIG = *
"""


def worker(starts: int) -> str:
    """What the role worker writes of matching, for the startd alone: this pool's daemons have one configuration."""
    text = (ROOT / "roles/worker/templates/50-vm-universe.config.j2").read_text()
    block = re.search(r"\{% if worker_starts_per_cycle .*?\{% endif %\}\n", text, re.DOTALL)
    assert block
    template = jinja2.Environment(trim_blocks=True, autoescape=False).from_string(block[0])  # noqa: S701
    return _of("STARTD", template.render(worker_starts_per_cycle=starts))


def access_point() -> str:
    """What the role factory writes, for the schedd alone."""
    return _of("SCHEDD", (ROOT / "roles/factory/templates/60-vac-factory.config.j2").read_text())


def _of(daemon: str, text: str) -> str:
    found = re.sub(r"^(?=[A-Z_]+ = )", f"{daemon}.", text, flags=re.MULTILINE)
    assert f"{daemon}.CLAIM_PARTITIONABLE_LEFTOVERS = False" in found
    return found


BASE = CONFIG.replace("NUM_CPUS = 6", f"NUM_CPUS = {SLOTS}").replace("CLAIM_PARTITIONABLE_LEFTOVERS = False\n", "")
SHARES = fragment(MACHINETYPES)
# Groups that may have their quota and nothing else: beta 4 of 12.
HARD = SHARES.replace("GROUP_ACCEPT_SURPLUS = True", "GROUP_ACCEPT_SURPLUS = False").replace(
    "GROUP_AUTOREGROUP_group_beta = True", "GROUP_AUTOREGROUP_group_beta = False"
)
BETAS_QUOTA = 4


@pytest.fixture(scope="module", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    reason = missing()
    if reason:
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture(scope="module")
def pool(suite: str) -> Iterator[Pool]:
    """A pool as the roles make it, with one node."""
    with Pool(suite, BASE + SLOWER + SHARES + worker(STARTS) + access_point()) as made:
        until(made, lambda: bool(slot(made)), "the node is in the pool")
        yield made


def slot(pool: Pool) -> list[dict[str, object]]:
    """The partitionable slot, as the doctor reads it."""
    words = ("-json", "-attributes", ",".join(consumption.ATTRIBUTES), "-constraint", "PartitionableSlot")
    found = json.loads(pool.run("condor_status", *words).stdout or "[]")
    # No VM universe is on such a node.
    return [{**ad, "HasVM": True} for ad in found]


def log(pool: Pool) -> str:
    return (pool.local / "log" / "NegotiatorLog").read_text(errors="replace")


def matches(text: str) -> list[int]:
    """How many matches each negotiation cycle made, of those that made any."""
    cycles = text.split("Started Negotiation Cycle")[1:]
    return [number for number in (cycle.count(" Matched ") for cycle in cycles) if number]


def settle(pool: Pool, cycles: int = 3) -> None:
    """Let some more negotiation cycles pass."""
    ended = "Finished Negotiation Cycle"
    before = log(pool).count(ended)
    until(pool, lambda: log(pool).count(ended) >= before + cycles, "the negotiator goes on")


def test_each_cycle_starts_so_many_and_the_node_is_divided_by_the_shares(pool: Pool) -> None:
    for name in MACHINETYPES:
        submit(pool, name, SLOTS, SECONDS, hold=True)
    before = len(log(pool))
    # Both at once: a group that is alone in the first cycle begins with its whole.
    pool.run("condor_release", "-all")
    until(pool, lambda: sum(running(pool).values()) == SLOTS, "the node is full")
    found = matches(log(pool)[before:])
    assert found[:3] == [STARTS] * 3
    assert max(found) == STARTS
    held = running(pool)
    assert abs(held["alpha"] - 2 * SLOTS // 3) <= 1, held


def test_what_the_doctor_and_explain_read_of_such_a_pool(pool: Pool) -> None:
    (ad,) = slot(pool)
    assert consumption.has_policy(ad)
    assert consumption.starts(ad) == STARTS
    assert consumption.findings([ad], leftovers=False) == []
    assert len(consumption.findings([ad], leftovers=True)) == 1
    # The same by the Python bindings, and what the schedd's own machine has.
    program = (
        "from condor_vac.condor import consumption; from condor_vac.condor.pool import Pool; pool = Pool();"
        "(ad,) = pool.slots('PartitionableSlot', consumption.ATTRIBUTES); ad['HasVM'] = True;"
        "print(consumption.has_policy(ad), consumption.starts(ad), consumption.findings([ad], leftovers=False),"
        " pool.setting('CLAIM_PARTITIONABLE_LEFTOVERS', '?'), pool.setting('NO_SUCH', '?'))"
    )
    shown = pool.run("env", "PYTHONPATH=/checkout/src", "python3", "-B", "-c", program).stdout.split()
    assert shown[:3] == ["True", str(STARTS), "[]"]
    assert shown[3].lower() == "true", "the prefixed line is the schedd's alone"
    assert shown[4] == "?"
    live = pool.run("condor_config_val", "-schedd", "CLAIM_PARTITIONABLE_LEFTOVERS").stdout
    assert live.strip() == "False"


def test_a_hard_quota_holds_only_with_the_access_points_part(suite: str) -> None:
    with Pool(suite, BASE + SLOWER + HARD + worker(STARTS) + access_point()) as made:
        submit(made, "beta", SLOTS, SECONDS)
        until(made, lambda: running(made)["beta"] == BETAS_QUOTA, "beta has its quota")
        settle(made)
        assert running(made)["beta"] == BETAS_QUOTA
    with Pool(suite, BASE + SLOWER + HARD + worker(STARTS)) as made:
        submit(made, "beta", SLOTS, SECONDS)
        until(made, lambda: running(made)["beta"] == SLOTS, "the schedd takes what the quota leaves")
        assert sum(matches(log(made))) <= BETAS_QUOTA, "the negotiator gave no more than the quota"


def test_the_policy_comes_with_a_restart_that_ends_no_job(suite: str) -> None:
    with Pool(suite, BASE + SLOWER) as made:
        submit(made, "alpha", 2, SECONDS)
        until(made, lambda: len(jobs(made)) == 2, "two jobs run before")
        (made.local / "condor_config").write_text(CONDOR_CONFIG + BASE + SLOWER + worker(STARTS) + access_point())
        made.run("condor_reconfig")
        settle(made, 1)
        assert not consumption.has_policy(slot(made)[0]), "a reconfig is not enough"
        made.run("condor_restart", "-peaceful", "-startd")
        retiring = ("condor_status", "-constraint", 'Activity == "Retiring"', "-af", "Name")
        until(made, lambda: len(made.run(*retiring).stdout.split()) == 2, "the startd waits for its jobs")
        submit(made, "beta", SLOTS, SECONDS)
        settle(made)
        assert jobs(made) == {"1.0", "1.1"}, "no job ended, and none started"
        made.run("condor_rm", "1")
        before = len(log(made))
        until(made, lambda: sum(running(made).values()) == SLOTS, "the node is full")
        assert consumption.starts(slot(made)[0]) == STARTS
        assert max(matches(log(made)[before:])) == STARTS
        assert made.run("condor_history", "1", "-af", "NumJobStarts").stdout.split() == ["1", "1"]


def test_the_negotiator_aborts_on_a_weight_that_is_refused(suite: str) -> None:
    weight = "Memory/Cpus"
    with Pool(
        suite, CONFIG.replace("NUM_CPUS = 6", "NUM_CPUS = 2") + worker(STARTS) + f"SLOT_WEIGHT = {weight}\n"
    ) as made:
        submit(made, "alpha", 2, SECONDS)
        until(made, lambda: 'ERROR "Failed to evaluate SlotWeight"' in log(made), "the negotiator ends")

        def evaluate(words: list[str]) -> str:
            return made.run("classad_eval", *words).stdout

        assert "is error for a full node" in slot_weight.fault(weight, evaluate)
        assert slot_weight.fault("Cpus", evaluate) == ""
        assert slot_weight.fault("MY.Cpus + Memory / 2048.0", evaluate) == ""
