# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's timer on a real node: it writes the page as root who can do little else, and goes without a trace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import plays
from tests.lab.paths import cache_dir

ROOT = Path(__file__).resolve().parents[3]
LAB = "page-test"
DIRECTORY = "/var/www/vacuum"
PLAY = """
- hosts: ap
  gather_facts: false
  tasks:
    - ansible.builtin.import_role:
        name: vacuum.htcondor.runtime
      vars:
        runtime_parts: [cli]
    - ansible.builtin.include_role:
        name: vacuum.htcondor.factory
        tasks_from: "{{ item }}"
      loop: [page_directory, page]
"""
# A machinetype of another user, which nobody else may read.
MACHINETYPE = """
useradd -r other
mkdir -p /etc/condor_vac/machinetypes /var/lib/condor_vac/secret
echo '{"name": "secret", "owner": "other", "kind": "cernvm", "image": "/i.iso", "user_data": "/u"}' \
  > /etc/condor_vac/machinetypes/secret.json
chown other /etc/condor_vac/machinetypes/secret.json; chmod 600 /etc/condor_vac/machinetypes/secret.json
"""


def lab(*words: str) -> str:
    """What a verb of the lab prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def on(script: str) -> str:
    """What a shell script prints on the access point."""
    return lab("ssh", "ap", script)


@pytest.fixture(autouse=True)
def access_point(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A node of a lab of its own."""
    monkeypatch.setenv("VAC_LAB", LAB)
    monkeypatch.setenv("LAB", "container")
    lab("down")
    lab("up", "ap")
    yield
    lab("down")


def play(path: Path, directory: str, *words: str) -> plays.Play:
    """A run of the role's part with this directory."""
    file = path / "play.yml"
    file.write_text(PLAY)
    inventory = str(cache_dir() / "labs" / LAB / "inventory.yml")
    return plays.run(str(file), [inventory], {"factory_page_directory": directory}, *words)


def test_the_page_comes_with_its_timer_and_goes_with_it(tmp_path: Path) -> None:
    on(MACHINETYPE)
    before = on("ls /etc/systemd/system /etc/condor_vac")
    for wrong in ("var/www", "/var/../etc", "/x%n"):
        refused = play(tmp_path, wrong)
        assert refused.status != 0
        assert refused.failures(), refused.output
        assert "change it, or leave it empty for no page" in refused.failures()[0]
    assert play(tmp_path, DIRECTORY, "--check").status == 0
    assert on(f"ls -d {DIRECTORY} 2> /dev/null || true") == ""
    made = play(tmp_path, DIRECTORY)
    assert made.status == 0, made.output
    assert "changed=0" in play(tmp_path, DIRECTORY).output
    on("systemctl start vac_page.service")
    text = on(f"systemctl is-active vac_page.timer; cat {DIRECTORY}/index.html")
    assert text.startswith("active\n")
    assert "secret</h2>" in text
    assert "Permission denied" not in text
    # The unit cannot write anywhere else.
    on("sed -i 's|page /var/www/vacuum|page /var/lib|' /etc/systemd/system/vac_page.service; systemctl daemon-reload")
    on("systemctl start vac_page.service || true")
    assert on("journalctl -u vac_page -o cat | grep -q 'Read-only file system' && echo refused") == "refused"
    gone = play(tmp_path, "")
    assert gone.status == 0, gone.output
    assert "changed=0" in play(tmp_path, "").output
    assert on("systemctl is-active vac_page.timer || true") == "inactive"
    assert on("ls /etc/systemd/system /etc/condor_vac") == before
    assert on(f"ls {DIRECTORY}") == "index.html"
