# SPDX-License-Identifier: GPL-3.0-or-later
"""What worker nodes sent back is removed, whatever it is, and nothing beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from condor_vac.base.errors import VacError
from condor_vac.factory import leftovers
from tests.unit.condor_vac.factory.test_factory_cycle_files import SENT_BACK


@pytest.mark.parametrize("kind", SENT_BACK)
def test_it_is_removed_and_nothing_else(tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").write_text("x")
    place = tmp_path / "vms" / "0"
    place.mkdir(parents=True)
    (place / "link").symlink_to(other)
    SENT_BACK[kind](place / "sent")
    leftovers.remove(str(place))
    assert not place.exists()
    assert (other / "kept").read_text() == "x", "a link is not followed"


def test_nothing_there_is_fine(tmp_path: Path) -> None:
    leftovers.remove(str(tmp_path / "none"))


def test_what_cannot_be_removed_is_named_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(VacError, match="cannot remove: Not a directory"):
        leftovers.remove(str(tmp_path / "file" / "x"))
    (tmp_path / "d").mkdir()
    tool = tmp_path / "bin" / "rm"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho Input/output error >&2\nexit 1\n")
    tool.chmod(0o755)
    os.symlink("/bin/chmod", tool.parent / "chmod")
    monkeypatch.setattr("condor_vac.base.tools.SYSTEM_PATH", str(tool.parent))
    with pytest.raises(VacError, match=r"d: cannot remove: rm: exit code 1: Input/output error; remove it by hand"):
        leftovers.remove(str(tmp_path / "d"))
