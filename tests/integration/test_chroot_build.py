# SPDX-License-Identifier: GPL-3.0-or-later
"""A root directory whose build is interrupted leaves nothing mounted on the host, and no pool changes it for others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration import chroot

# For what hangs.
SECONDS = 120
# As mmdebstrap, which mounts /proc in the tree that it makes.
MMDEBSTRAP = """#!/bin/sh
for word; do last=$before before=$word; done
mkdir -p "$last/proc"
mount -t proc proc "$last/proc"
grep -c "$last" /proc/self/mountinfo > "$last/mounted"
sleep 1000
"""
BUILD = "import sys, pathlib; from tests.integration import chroot; chroot._build('sid', pathlib.Path(sys.argv[1]))"


def mounted(place: Path) -> bool:
    return str(place) in Path("/proc/self/mountinfo").read_text("utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_mounted(tmp_path: Path, number: signal.Signals) -> None:
    tool = tmp_path / "mmdebstrap"
    tool.write_text(MMDEBSTRAP)
    tool.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    argv = [sys.executable, "-c", BUILD, str(tmp_path / "root")]
    build = subprocess.Popen(
        argv, cwd=chroot.CHECKOUT, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    says, deadline = tmp_path / "root.partial/mounted", time.monotonic() + SECONDS
    while not (says.exists() and says.read_text()):
        assert build.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert int(says.read_text()) == 1
    os.killpg(build.pid, number)
    build.wait(SECONDS)
    while mounted(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (tmp_path / "root").exists()


@pytest.mark.skipif(chroot.missing() is not None, reason=str(chroot.missing()))
def test_what_a_pool_writes_into_its_root_is_gone_with_it() -> None:
    written = "/etc/of_one_pool"
    with chroot.Pool() as pool:
        pool.run("touch", written)
        pool.run("test", "-e", written)
        assert not (pool.root / written[1:]).exists()
    with chroot.Pool() as another:
        assert another.run("test", "-e", written, check=False).returncode == 1
