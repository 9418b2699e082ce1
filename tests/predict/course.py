# SPDX-License-Identifier: GPL-3.0-or-later
"""What both play: the pool, its tasks, and when the work ends."""

from __future__ import annotations

# The worker nodes by their number in the simulator, and the slots of each. The last one is the black hole. A node that
# is avoided stays so for `backoff_seconds` (1800): a larger one would leave less than 90 % of the slots.
NODES = ("node1", "node2", "node3", "node4")
SLOTS = (8, 8, 8, 2)
HOLE = len(SLOTS) - 1
TOTAL = sum(SLOTS)
# Seconds: when the task queue is emptied, and when all is over.
EMPTIED_SECONDS = 390.0
DURATION_SECONDS = 1080.0
# NEGOTIATOR_INTERVAL, HTCondor's default.
INTERVAL_SECONDS = 60.0
# Seconds of each task, in the order in which VMs get them, and more than there is time for. Those of the first VMs end
# one after another once the queue is empty: if they ended together, a cycle more or less would decide on all of them.
TASKS = tuple(270 + 24 * (7 * number % 24) for number in range(100))
MACHINETYPE = "work"
