# SPDX-License-Identifier: GPL-3.0-or-later
"""image_faults: one line of what many nodes could not install."""

from __future__ import annotations

from typing import Any

from ansible_collections.vacuum.htcondor.plugins.filter.image_faults import image_faults


def one(name: str, why: str = "", **keys: Any) -> dict[str, Any]:
    """What one round of the loop registers."""
    result = {"item": {"key": name, "value": {"source": f"https://x.org/{name}", **keys}}, "failed": False}
    return {**result, "msg": why} if why else result


def test_a_cause_is_named_once_with_the_first_hosts() -> None:
    lost = {"results": [one("good.iso"), one("lost.iso", "no such host\n  (x.org)")]}
    line = image_faults({**{f"wn{number}": lost for number in range(5)}, "wn9": {"results": [one("lost.iso", "503")]}})
    assert line.startswith("lost.iso (wn0, wn1, wn2 and 2 more): no such host (x.org); lost.iso (wn9): 503: ")
    assert "good.iso" not in line
    assert line.endswith("worker_images_from: access_point, or vacuum_http_proxy)")


def test_images_of_pipes_good_ones_and_skipped_loops_are_no_fault() -> None:
    results = [one("a.iso"), one("b.iso", "busy", optional=True), {"skipped": True}]
    assert image_faults({"wn1": {"results": results}, "wn2": {"skipped": True}, "wn3": {"results": []}}) == ""


def test_an_image_that_is_explicitly_not_optional_is_one() -> None:
    assert image_faults({"wn1": {"results": [one("a.iso", "busy", optional=False)]}}).startswith("a.iso (wn1): busy: ")
