# SPDX-License-Identifier: GPL-3.0-or-later
"""The depth of the queue is what the last runs of finds came to, by what worked when they began."""

from __future__ import annotations

from condor_vac.policy.episodes import Episodes


def episode(episodes: Episodes, start: float, found: int, working: int = 0) -> None:
    """So many VMs found work, then one found none."""
    for number in range(found):
        episodes.found(start + number, episodes.last_dry, working, shown=True)
    episodes.dry(start + found)


def test_the_depth_is_the_least_of_the_last_two_episodes_of_the_same_sort() -> None:
    episodes = Episodes()
    assert (episodes.depth, episodes.deepest, episodes.bottomless) == (None, None, True)
    for number, found in enumerate((50, 9, 7)):
        episode(episodes, 1000.0 * number, found)
    assert (episodes.depth, episodes.deepest, episodes.bottomless) == (7, 9, False)
    episode(episodes, 5000.0, 3, working=20)
    assert not episodes.fresh
    assert (episodes.depth, episodes.deepest) == (3, 9)
    episodes.found(6000.0, episodes.last_dry, 2, shown=True)
    assert (episodes.fresh, episodes.depth, episodes.count) == (True, 7, 1)


def test_a_find_of_before_the_queue_ran_out_belongs_to_the_episode_that_is_over() -> None:
    episodes = Episodes()
    episode(episodes, 1000.0, 4)
    episodes.found(1003.5, episodes.last_dry, 0, shown=True)
    assert (episodes.count, episodes.depth) == (0, 5)


def test_a_vm_that_asked_before_the_latest_find_ends_no_episode() -> None:
    episodes = Episodes()
    episodes.found(1000.0, episodes.last_dry, 0, shown=True)
    episodes.dry(999.0)
    assert (episodes.count, episodes.depth, episodes.bottomless) == (1, None, False)


def test_what_was_only_assumed_is_taken_back() -> None:
    episodes = Episodes()
    episodes.found(1000.0, episodes.last_dry, 0, shown=True)
    for asked in (1100.0, 1200.0, 1300.0):
        episodes.found(asked, episodes.last_dry, 0, shown=False)
    assert (episodes.last_found, episodes.last_shown, episodes.count) == (1300.0, 1000.0, 4)
    episodes.take_back(2)
    assert (episodes.last_found, episodes.count) == (1000.0, 2)
    episodes.take_back(5)
    assert episodes.count == 0
