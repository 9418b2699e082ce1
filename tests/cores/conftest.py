# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments with ansible-core alone, in which the artifact is installed as at a site without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import interpreters
from tests.interpreters import CONSTRAINTS, ROOT, Version, dotted

HERE = Path(__file__).resolve().parent
# ansible-core 2.16 runs on these.
OLDEST_PYTHONS: tuple[Version, ...] = ((3, 12), (3, 11), (3, 10))
GROUPS = ("central_manager", "access_point", "worker_node")
# For one program, on a machine however busy.
LIMIT_SECONDS = 900


class Core:
    """One ansible-core with the collection, and a directory that is its home, its working directory and its cache."""

    def __init__(self, python: Path, directory: Path) -> None:
        self.python = python
        self.directory = directory
        (directory / "ansible.cfg").touch()
        hosts = {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": str(python)}}
        groups = {name: {"hosts": hosts} for name in GROUPS}
        (directory / "inventory.json").write_text(json.dumps({"all": {"children": groups}}))

    def run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        """One of Ansible's programs, with none of this checkout's settings."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
        own = {
            "ANSIBLE_CONFIG": f"{self.directory}/ansible.cfg",
            "ANSIBLE_COLLECTIONS_PATH": f"{self.directory}/collections",
            "ANSIBLE_HOME": f"{self.directory}/home",
            "ANSIBLE_INVENTORY": f"{self.directory}/inventory.json",
            "ANSIBLE_NOCOLOR": "1",
            "HOME": str(self.directory),
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
        }
        return subprocess.run(
            (str(self.python.parent / program), *words),
            cwd=self.directory,
            env={**kept, **own},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )

    def good(self, program: str, *words: str) -> str:
        """The same; its output. Fails the test with it if the program fails."""
        done = self.run(program, *words)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout

    def play(self, tasks: list[dict[str, Any]], *words: str) -> subprocess.CompletedProcess[str]:
        """Tasks on localhost."""
        playbook = self.directory / "play.json"
        facts = {"gather_facts": True, "gather_subset": ["!all", "min"]}
        playbook.write_text(json.dumps([{"hosts": "localhost", **facts, "tasks": tasks}]))
        return self.run("ansible-playbook", str(playbook), *words)

    def install(self, source: Path) -> Path:
        """Build the artifact and install it offline; where it is then."""
        self.good("ansible-galaxy", "collection", "build", "--output-path", str(self.directory), str(source))
        (artifact,) = self.directory.glob("vacuum-htcondor-*.tar.gz")
        where = self.directory / "collections"
        words = ("--offline", "--collections-path", str(where))
        self.good("ansible-galaxy", "collection", "install", *words, str(artifact))
        return where / "ansible_collections/vacuum/htcondor"


def _oldest() -> Path:
    pythons = interpreters.find()
    usable = [version for version in OLDEST_PYTHONS if version in pythons]
    if not usable:
        pytest.skip("ansible-core 2.16 needs Python 3.10, 3.11 or 3.12, and none is on this machine")
    return interpreters.environment("cores/oldest", pythons[usable[0]], HERE / "oldest.txt")


def _newest() -> Path:
    version, python = max(interpreters.find().items())
    return interpreters.environment(
        f"cores/newest-{dotted(version)}", python, HERE / "newest.txt", "-c", str(CONSTRAINTS)
    )


CORES: dict[str, Callable[[], Path]] = {"oldest": _oldest, "newest": _newest}


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git knows of this checkout, so that nothing that lies about gets in."""
    made = tmp_path_factory.mktemp("source")
    listed = subprocess.run(("git", "ls-files", "-z"), cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).exists():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, made / name, follow_symlinks=False)
    return made


@pytest.fixture(scope="session", params=CORES)
def core(request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Core:
    """The oldest ansible-core, then the newest, with the collection."""
    made = Core(CORES[request.param](), tmp_path_factory.mktemp(request.param))
    made.install(source)
    return made


@pytest.fixture(scope="session")
def collection(core: Core) -> Path:
    """The installed collection."""
    return core.directory / "collections/ansible_collections/vacuum/htcondor"
