# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares of machinetypes as quotas of accounting groups."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.vacuum.htcondor.plugins.filter import machinetypes as filters
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import shares
from hypothesis import given
from hypothesis import strategies as st


def machinetypes(**settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name.replace("_", "-"): {"image": "i", **keys} for name, keys in settings.items()}


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (machinetypes(a={}, b={}), {}),
        (machinetypes(a={"target_share": 2}, b={"target_share": 1}), {"group_a": 2 / 3, "group_b": 1 / 3}),
        (machinetypes(lhcb_mc={"target_share": "3"}), {"group_lhcb_mc": 1.0}),
        (machinetypes(a={"target_share": 3}, b={"accounting_group": "group_x"}), {"group_a": 0.75, "group_x": 0.25}),
        (
            machinetypes(
                a={"target_share": 1, "accounting_group": "g"},
                b={"target_share": 2, "accounting_group": "g"},
                c={"target_share": 1},
            ),
            {"g": 0.75, "group_c": 0.25},
        ),
        (
            machinetypes(
                a={"target_share": 3, "accounting_group": "atlas.prod"},
                b={"target_share": 1, "accounting_group": "atlas.user"},
                c={"target_share": 4, "accounting_group": "lhcb"},
                d={},
            ),
            {"atlas": 0.5, "atlas.prod": 0.75, "atlas.user": 0.25, "lhcb": 0.5},
        ),
    ],
)
def test_quotas(given_: dict[str, Any], expected: dict[str, float]) -> None:
    assert shares.quotas(given_) == pytest.approx(expected)


def test_what_is_switched_off_has_no_part() -> None:
    off = {"target_share": 0, "max_machines": 0, "accounting_group": "g"}
    assert shares.quotas(machinetypes(a=off)) == {}
    assert shares.quotas(machinetypes(a=off, b={"target_share": 1})) == {"group_b": 1.0}
    assert shares.quotas(machinetypes(a=off, b={"target_share": 1, "accounting_group": "g"})) == {"g": 1.0}
    with pytest.raises(ValueError, match="for no VMs set max_machines to 0"):
        shares.quotas(machinetypes(a={**off, "max_machines": 3}))


def test_factors_are_the_other_way_round() -> None:
    kinds = machinetypes(
        a={"target_share": 3, "accounting_group": "atlas.prod"},
        b={"target_share": 1, "accounting_group": "atlas.user"},
        c={"target_share": 2, "accounting_group": "lhcb"},
    )
    expected = {"atlas": 1000.0, "atlas.prod": 4000 / 3, "atlas.user": 4000.0, "lhcb": 2000.0}
    assert filters.share_factors(kinds) == pytest.approx(expected)
    assert filters.share_factors(machinetypes(a={})) == {}
    with pytest.raises(AnsibleFilterError, match=r"^vacuum_machinetypes\.a\.target_share: "):
        filters.share_factors(machinetypes(a={"target_share": 0}))


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}(\.[a-z]{1,3})?", fullmatch=True), st.floats(0.01, 1000), min_size=1))
def test_the_parts_of_each_parent_are_all_of_it(groups: dict[str, float]) -> None:
    kinds = {
        f"m{n}": {"accounting_group": group, "target_share": share} for n, (group, share) in enumerate(groups.items())
    }
    found = shares.quotas(kinds)
    tops = [part for group, part in found.items() if "." not in group]
    assert sum(tops) == pytest.approx(1)
    order = list(found)
    for group in found:
        if "." in group:
            assert order.index(group.partition(".")[0]) < order.index(group)


@pytest.mark.parametrize("share", [0, -1, "many", True, float("nan"), float("inf"), [], 10**7])
def test_what_is_not_a_share(share: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=r"^vacuum_machinetypes\.a\.target_share: "):
        filters.share_quotas(machinetypes(a={"target_share": share}))


@pytest.mark.parametrize("group", ["group-a", "a b", "a..b", ".a", "a\nSTART = True"])
def test_what_is_not_a_group(group: str) -> None:
    with pytest.raises(AnsibleFilterError, match=r"^vacuum_machinetypes\.a\.accounting_group: "):
        filters.share_quotas(machinetypes(a={"accounting_group": group}))


def test_a_machinetype_with_a_share_has_a_group() -> None:
    assert shares.accounting_group("lhcb-mc", {"target_share": 2}) == "group_lhcb_mc"
    assert shares.accounting_group("lhcb-mc", {"target_share": 2, "accounting_group": "g"}) == "g"
    assert shares.accounting_group("lhcb-mc", {}) is None
