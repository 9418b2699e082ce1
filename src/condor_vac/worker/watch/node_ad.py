# SPDX-License-Identifier: GPL-3.0-or-later
"""What vac_watch gives the startd's ad: the planned shutdown, so that no VM is matched here that could not finish, and,
for the inventory plugin and the module pool_info, the names of the node's images and how many checks had findings.

``condor_update_machine_ad`` changes the ads of all slots at once, for the startd's lifetime (caUpdateMachineAd in
src/condor_startd.V6/command.cpp). So it is called when a value changes and, while there is one, again now and then:
the startd may have been restarted. The requirements of VMs' jobs read the plan (factory/submit_description.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence

from condor_vac.base import atomic
from condor_vac.base.errors import VacError
from condor_vac.base.shared import FINDINGS_ATTRIBUTE, IMAGES_ATTRIBUTE, SHUTDOWN_ATTRIBUTE
from condor_vac.worker import startd

AGAIN_SECONDS = 300.0
_STARTD_SECONDS = 15.0
# Hold what was published last; nothing before the first time since the node's boot.
_PUBLISHED = {
    SHUTDOWN_ATTRIBUTE: "shutdowntime_published",
    IMAGES_ATTRIBUTE: "images_published",
    FINDINGS_ATTRIBUTE: "findings_published",
}
_NONE = "undefined"
# Names of images in an ad, and bytes of what was published.
_MOST_IMAGES = 100
_LIMIT = 1 << 14


def of_plan(when: int | None) -> dict[str, str]:
    """What `publish` takes for a planned shutdown (Unix s, None for no plan)."""
    return {SHUTDOWN_ATTRIBUTE: _NONE if when is None else str(when)}


def of_images(names: Sequence[str]) -> dict[str, str]:
    """What `publish` takes for the names of the node's images (of store.Store); of many the first ones."""
    return {IMAGES_ATTRIBUTE: f'"{",".join(names[:_MOST_IMAGES])}"' if names else _NONE}


def of_findings(number: int) -> dict[str, str]:
    """What `publish` takes for the number of checks with findings."""
    return {FINDINGS_ATTRIBUTE: str(number) if number else _NONE}


def publish(run_directory: str, wanted: Mapping[str, str], log: Callable[[str], None]) -> None:
    """Give the startd's ad these values (of `of_plan` and the others), where it may lack them.

    HTCondor may be off or just restarting: then this is only logged, and tried again. Raises VacError where the startd
    does not do as requested.
    """
    paths = {attribute: f"{run_directory}/{_PUBLISHED[attribute]}" for attribute in wanted}
    changed = {attribute for attribute, text in wanted.items() if text != _last(paths[attribute])}
    due = {
        attribute: text
        for attribute, text in wanted.items()
        if attribute in changed or (text != _NONE and not _is_recent(paths[attribute]))
    }
    if not due:
        return
    try:
        running = bool(startd.daemons(_STARTD_SECONDS).get("STARTD_Addr"))
    except VacError as error:
        log(f"cannot publish {' and '.join(due)} ({error}): trying again in the next run")
        return
    if running:
        startd.change_ad(*(f"{attribute} = {text}" for attribute, text in due.items()))
    for attribute, text in due.items():
        if running and attribute in changed:
            log(f"the startd's ad now has {attribute} = {text}")
        # A startd that is off has no ad; the next one is given it within AGAIN_SECONDS.
        atomic.write(paths[attribute], text.encode(), mode=0o644)


def _last(path: str) -> str:
    """What was published last. What cannot be read is as good as nothing: it is published again."""
    if not os.path.lexists(path):
        return _NONE
    try:
        return atomic.read(path, _LIMIT).decode("ascii", "replace")
    except VacError:
        return ""


def _is_recent(path: str) -> bool:
    """Whether that was a short while ago; a clock that went back counts as long ago."""
    return 0 <= time.time() - os.stat(path).st_mtime < AGAIN_SECONDS
