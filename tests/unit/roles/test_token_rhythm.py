# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool's tokens last, in whatever rhythm shorter than their life the playbook runs."""

from __future__ import annotations

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.unit.roles.test_platforms import ROLES, trusted

DEFAULTS = yaml.safe_load((ROLES / "pool/defaults/main.yml").read_text("utf-8"))
DAY = 86400


def renew_before(lifetime: int) -> int:
    """The default of pool_token_renew_before with this pool_token_lifetime (s)."""
    templar = Templar(loader=DataLoader(), variables={"pool_token_lifetime": lifetime})
    return int(templar.template(trusted(DEFAULTS["pool_token_renew_before"])))


def lasts(lifetime: int, before: int, rhythm: int) -> bool:
    """Whether no token expires in a hundred lives between runs that are ``rhythm`` apart (all in s)."""
    expires = lifetime
    for now in range(rhythm, 100 * lifetime, rhythm):
        if expires < now:
            return False
        # As plugins/module_utils/_condor/tokens.py judges it.
        if expires - now <= before:
            expires = now + lifetime
    return True


@pytest.mark.parametrize("lifetime", [DEFAULTS["pool_token_lifetime"], 90 * DAY, 7 * DAY])
def test_no_rhythm_shorter_than_its_life_loses_a_token(lifetime: int) -> None:
    before = renew_before(lifetime)
    assert 0 < before < lifetime
    lost = [rhythm for rhythm in range(DAY, lifetime, DAY // 2) if not lasts(lifetime, before, rhythm)]
    assert lost == []


def test_thirty_days_lost_those_of_runs_each_half_year() -> None:
    assert not lasts(365 * DAY, 30 * DAY, 184 * DAY)


@pytest.mark.parametrize("lifetime", [0, -1])
def test_without_a_life_it_is_nothing(lifetime: int) -> None:
    assert renew_before(lifetime) == 0
