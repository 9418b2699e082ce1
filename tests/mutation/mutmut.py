# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs mutmut for one module in a copy of the checkout."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests import interpreters
from tests.interpreters import CACHE, CONSTRAINTS, ROOT
from tests.mutation.modules import Target

_HERE = Path(__file__).resolve().parent
_PYTHONS = ROOT / "tests/pythons/requirements.txt"
# mutmut takes the name of a module from its path below src.
_COLLECTION = "src/ansible_collections/vacuum/htcondor"
_PLUGIN = "tests.mutation.forks"
_PROGRESS_SECONDS = 15
_SHOWN_LINES = 60


class FailedError(Exception):
    """mutmut could not run; has its words."""


def environment() -> Path:
    """The Python of the environment with mutmut and what the unit tests need. Raises NotMadeError."""
    python = interpreters.find()[interpreters.own()]
    words = ("-r", str(_PYTHONS), "-c", str(CONSTRAINTS))
    return interpreters.environment("mutation/environment", python, _HERE / "requirements.txt", *words)


@contextlib.contextmanager
def locked(target: Target) -> Iterator[None]:
    """Hold the lock of a module's copy, waiting for another run."""
    with open(CACHE / "mutation" / f"{target.name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def copy(target: Target) -> tuple[Path, str]:
    """A copy of what git knows of the checkout, as it is now, with mutmut's settings: its place, the module's path."""
    tree = CACHE / "mutation" / target.name
    shutil.rmtree(tree, ignore_errors=True)
    listed = subprocess.run(("git", "ls-files", "-z"), cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    shutil.copytree(tree / "plugins", tree / _COLLECTION / "plugins")
    path = f"{_COLLECTION}/{target.path}" if target.path.startswith("plugins/") else target.path
    with open(tree / "pyproject.toml", "a", encoding="utf-8") as file:
        file.write(_settings(path, target.tests))
    return tree, path


def _settings(path: str, tests: tuple[str, ...]) -> str:
    values: dict[str, object] = {
        "source_paths": ["src"],
        "only_mutate": [path],
        # Not `collections`: it has a link to the checkout itself.
        "also_copy": ["conftest.py", "plugins", "roles"],
        "pytest_add_cli_args_test_selection": list(tests),
        "pytest_add_cli_args": [
            "-m",
            "not slow",
            "--hypothesis-profile=check",
            "-p",
            "no:cacheprovider",
            "-p",
            _PLUGIN,
        ],
        # Else mutmut, which tests are run in, takes the children that they leave for its own.
        "process_isolation": "forkserver",
        "use_git_change_detection": False,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    return "\n".join(["", "[tool.mutmut]", *lines, ""])


def run(python: Path, tree: Path, name: str, children: int) -> None:
    """Try every mutant, with a line of progress now and then. Raises FailedError."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    words = (str(python.parent / "mutmut"), "run", "--max-children", str(children))
    lines: list[str] = []
    shown = time.monotonic()
    with subprocess.Popen(
        words,
        cwd=tree,
        env={**kept, "PATH": f"{python.parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        # mutmut ends a line of progress with \r, which text mode takes for the end of a line.
        for line in process.stdout:
            lines = [*lines[1 - _SHOWN_LINES :], line]
            progress = re.search(r"\d+/\d+", line)
            if progress and time.monotonic() - shown >= _PROGRESS_SECONDS:
                print(f"mutation: {name}: {progress[0]}", flush=True)
                shown = time.monotonic()
    if process.returncode != 0:
        raise FailedError(f"{name}: mutmut's exit code is {process.returncode}:\n{''.join(lines)}")
