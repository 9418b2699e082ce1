# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of vac_watch on a pretended node."""

from __future__ import annotations

from condor_vac.worker.programs import watch
from tests.unit.condor_vac.worker.conftest import Node


def look(node: Node) -> list[str]:
    """One run of vac_watch; the errors that it reports."""
    return [str(error) for error in watch.Watch(node.store, node.settings).run()]
