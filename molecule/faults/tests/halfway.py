# SPDX-License-Identifier: GPL-3.0-or-later
"""A prepare hook that stays half-way for as long as a test wants: vac_lease has granted its lease, silently."""

from __future__ import annotations

from typing import Any

from boxes import Box, of_clusters
from survivors import SETTLE_SECONDS

LEASE = "/usr/local/libexec/vac_lease"
HELD = "/run/vac_lease.held"
GO = "/run/vac_lease.go"
# The prepare hook itself gives vac_lease 90 s.
SCRIPT = f"""#!/bin/sh
[ "$1" = acquire ] || exec {LEASE}.real "$@"
answer=$({LEASE}.real acquire) || exit $?
: > {HELD}
while [ ! -e {GO} ]; do sleep 0.1; done
printf '%s\\n' "$answer"
"""


class HalfWay:
    """Between ``begin`` and ``end`` each prepare hook waits once it has its lease."""

    def __init__(self, box: Box) -> None:
        self.box = box

    def begin(self) -> None:
        """Hold the prepare hooks that come."""
        self.box.put(f"{LEASE}.new", SCRIPT.encode())
        self.box.run(f"rm -f {HELD} {GO}; chmod 755 {LEASE}.new; mv {LEASE} {LEASE}.real; mv {LEASE}.new {LEASE}")

    def until(self, cluster: str) -> dict[str, Any]:
        """The lease of the one VM of a cluster, whose prepare hook is held."""
        state = self.box.until(
            "the prepare hook is half-way",
            lambda now: len(of_clusters(now, cluster)) == 1 and self.box.host.run(f"test -e {HELD}").rc == 0,
            SETTLE_SECONDS,
        )
        return of_clusters(state, cluster)[0]

    def end(self) -> None:
        """Let them go on; once is enough."""
        self.box.run(f"if [ -e {LEASE}.real ]; then mv {LEASE}.real {LEASE}; touch {GO}; fi")
