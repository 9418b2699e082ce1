# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that are mutated, each with the tests that must notice.

Only the unit tests of the module itself and none that is slow: each mutant runs those that reach its function.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

_WORKER = "tests/unit/condor_vac/worker"


@dataclass(frozen=True)
class Target:
    """A module by its path in the checkout, and its tests."""

    path: str
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        """The module's own name."""
        return PurePosixPath(self.path).stem


def _of_worker(path: str, *tests: str) -> Target:
    return Target(f"src/condor_vac/worker/{path}", tuple(f"{_WORKER}/{test}" for test in tests))


TARGETS = (
    _of_worker("watch/rules.py", "watch/test_watch_rules.py"),
    _of_worker("vm/ending.py", "vm/test_ending.py"),
    _of_worker("vm/outputs.py", "vm/test_outputs.py"),
    _of_worker(
        "vm/domain_xml.py",
        "vm/test_domain_disks.py",
        "vm/test_disk_chain.py",
        "vm/test_domain_whole.py",
    ),
    _of_worker("vm/job_ad.py", "vm/test_job_ad.py", "vm/test_job_ad_bounds.py"),
    _of_worker("lease/requests.py", "lease/test_requests.py"),
    _of_worker("lease/release.py", "lease/test_release.py"),
    _of_worker(
        "lease/grant.py",
        "lease/test_grant.py",
        "lease/test_grant_whole.py",
        "lease/test_lease_names.py",
        "lease/test_http_share.py",
    ),
    _of_worker("lease/store.py", "lease/test_store.py"),
    _of_worker("programs/lease_helper.py", "programs/test_lease_helper.py"),
    Target("plugins/module_utils/_node/sudoers.py", ("tests/unit/plugins/module_utils/_node/test_sudoers.py",)),
)
