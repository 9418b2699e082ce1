# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/fragments asks for a fragment of the changelog where what is shipped has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FRAGMENT = "changelogs/fragments/one.yml"
RIGHT = "---\nbugfixes:\n  - One.\n"


def git(repository: Path, *words: str) -> None:
    """Run git in the repository, with no settings but these."""
    settings = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *settings, *words], cwd=repository, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A branch that begins where main is; it has the program and what antsibull-changelog needs."""
    for name in ("tests/fragments", "changelogs/config.yaml", "galaxy.yml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "changelogs/fragments").mkdir()
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message=Begin")
    git(tmp_path, "switch", "--quiet", "--create", "work")
    return tmp_path


def write(repository: Path, files: dict[str, str]) -> None:
    """Write files below the repository."""
    for name, text in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)


def checked(repository: Path) -> subprocess.CompletedProcess[str]:
    """What tests/fragments prints about the repository."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    argv = [repository / "tests/fragments"]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"docs/one.md": "", "tests/unit/test_one.py": ""}, ""),
        ({"src/one.py": ""}, "a change without a fragment"),
        ({"roles/one/tasks/main.yml": ""}, "a change without a fragment"),
        ({"src/one.py": "", FRAGMENT: RIGHT}, ""),
        ({"src/one.py": "", FRAGMENT: RIGHT.replace("bugfixes", "bugs")}, "invalid section: bugs"),
    ],
    ids=["tests and documents", "program", "role", "program and fragment", "wrong fragment"],
)
def test_a_change_of_what_is_shipped_needs_a_fragment(
    repository: Path, files: dict[str, str], complaint: str, committed: bool
) -> None:
    write(repository, files)
    if committed:
        git(repository, "add", ".")
        git(repository, "commit", "--quiet", "--message=Change")
    done = checked(repository)
    assert complaint in done.stdout
    assert done.returncode == (0 if not complaint else 3 if "invalid" in complaint else 1), done.stdout + done.stderr


@pytest.mark.slow
def test_a_missing_branch_to_compare_with_is_reported(repository: Path) -> None:
    git(repository, "branch", "--delete", "--force", "main")
    write(repository, {"src/one.py": ""})
    done = checked(repository)
    assert done.returncode == 0
    assert "no branch main to compare with" in done.stdout
