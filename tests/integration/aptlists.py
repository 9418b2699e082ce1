# SPDX-License-Identifier: GPL-3.0-or-later
"""What a suite of Debian packages, from its own lists: read by apt in a directory of the tests', not the host's."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import time
from collections.abc import Iterable

from tests.integration.chroot import CHECKOUT, MIRROR

CACHE = CHECKOUT / ".cache" / "apt"
# Lists of a stable suite change every two months, those of sid every six hours.
FRESH_SECONDS = 86400


class Unreachable(Exception):
    """The mirror did not answer, and there are no lists of an earlier day; the message is apt's."""


class Lists:
    """The lists of one suite; ``versions`` asks them."""

    def __init__(self, suite: str) -> None:
        self.directory = CACHE / suite
        for name in ("lists/partial", "cache/archives/partial"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        (self.directory / "sources.list").write_text(f"deb {MIRROR} {suite} main\n")
        (self.directory / "status").touch()
        with open(self.directory / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._update()

    def versions(self, names: Iterable[str]) -> dict[str, str]:
        """Package to version, of those packages that there are (virtual ones are none)."""
        wanted = set(names)
        done = self._apt("apt-cache", "show", "--no-all-versions", *sorted(wanted))
        # 100: one of them is no package.
        assert done.returncode in {0, 100}, done.stderr
        found: dict[str, str] = {}
        for stanza in done.stdout.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in stanza.splitlines() if re.match(r"[A-Z][\w-]*: ", line))
            if fields.get("Package") in wanted:
                found[fields["Package"]] = fields["Version"]
        return found

    def _update(self) -> None:
        stamp = self.directory / "updated"
        if stamp.exists() and time.time() - stamp.stat().st_mtime < FRESH_SECONDS:
            return
        # A mirror that keeps a snapshot of a moving suite serves a Release file older than its validity.
        done = self._apt("apt-get", "-qq", "-o", "Acquire::Check-Valid-Until=false", "--error-on=any", "update")
        if done.returncode == 0:
            stamp.touch()
        elif not stamp.exists():
            raise Unreachable(" ".join(done.stderr.split())[:300])

    def _apt(self, *words: str) -> subprocess.CompletedProcess[str]:
        own = {
            "Dir::Etc::sourcelist": "sources.list",
            "Dir::Etc::sourceparts": "none",
            "Dir::State::lists": "lists",
            "Dir::State::status": "status",
            "Dir::Cache": "cache",
        }
        options = [word for key, name in own.items() for word in ("-o", f"{key}={self.directory}/{name}")]
        # As root, apt would fetch as a user who may not be able to write here.
        options += ["-o", "APT::Sandbox::User=root", "-o", "APT::Architecture=amd64"]
        environment = {**os.environ, "LC_ALL": "C"}
        with contextlib.suppress(KeyError):
            del environment["APT_CONFIG"]
        return subprocess.run([*words, *options], capture_output=True, text=True, check=False, env=environment)
