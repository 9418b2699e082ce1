# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of another Debian suite than the host's, through an apt with its own state: needs no root."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.lab.paths import LabError

SUITE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def run(*command: str, cwd: Path | None = None) -> str:
    """Standard output of a command; LabError with the last lines of its error output if it fails."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is missing: install the package that has it") from error
    if done.returncode:
        reason = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise LabError(f"{command[0]} failed with status {done.returncode}: {reason}")
    return done.stdout


def mirror() -> str:
    """The Debian mirror this host is configured with (LAB_MIRROR overrides).

    Raises LabError on a host that has none, such as one of another distribution.
    """
    configured = os.environ.get("LAB_MIRROR")
    if configured:
        return configured
    targets = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(COMPONENT) $(CREATED_BY)")
    for line in targets.splitlines():
        uri, component, kind = line.split()
        if component == "main" and kind == "Packages" and re.search(r"/debian/?$", uri):
            return uri
    raise LabError("apt of this host names no Debian mirror: set LAB_MIRROR to the address of one")


class Archive:
    """A suite's packages, downloaded (and verified by apt against KEYRING) into a directory."""

    def __init__(self, directory: Path) -> None:
        if not KEYRING.exists():
            raise LabError(f"{KEYRING} is missing: install debian-archive-keyring")
        self.directory = directory.resolve()
        self.debs = self.directory / "debs"
        for name in ("lists/partial", "cache/archives/partial", "state", "debs"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        (self.directory / "status").touch()
        source = f"deb [signed-by={KEYRING} arch=amd64] {mirror()} {SUITE} main\n"
        (self.directory / "sources.list").write_text(source)

    def _options(self) -> list[str]:
        settings = {
            "Dir::Etc::sourcelist": self.directory / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": self.directory / "state",
            "Dir::State::status": self.directory / "status",
            "Dir::State::lists": self.directory / "lists",
            "Dir::Cache": self.directory / "cache",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        return [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]

    def update(self) -> None:
        run("apt-get", *self._options(), "--error-on=any", "update")

    def depends(self, package: str, pattern: str) -> str:
        """The first package that `package` depends on whose name matches the pattern."""
        shown = run("apt-cache", *self._options(), "depends", "--important", package)
        found = re.search(rf"^\s*Depends: ({pattern})$", shown, re.MULTILINE)
        if not found:
            raise LabError(f"{package} of {SUITE} depends on no package like {pattern}")
        return found.group(1)

    def download(self, packages: list[str]) -> dict[str, str]:
        """Downloads the packages into `debs`; returns the version of each."""
        run("apt-get", *self._options(), "download", *packages, cwd=self.debs)
        versions = {}
        for deb in sorted(self.debs.glob("*.deb")):
            shown = run("dpkg-deb", "--show", "--showformat", "${Package} ${Version}", str(deb))
            name, version = shown.split()
            versions[name] = version
        return versions

    def extract(self, root: Path) -> None:
        """Unpacks every downloaded package into `root`, without its maintainer scripts."""
        root.mkdir(parents=True, exist_ok=True)
        for deb in sorted(self.debs.glob("*.deb")):
            run("dpkg-deb", "--extract", str(deb), str(root))
