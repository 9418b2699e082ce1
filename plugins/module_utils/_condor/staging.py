# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A copy of a node's whole HTCondor configuration in which changed fragments are tried before they are real.

The staged root includes the real one and then points LOCAL_CONFIG_DIR at copies of the real directories,
so that order, includes, conditions and everything else are HTCondor's own.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping

from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import Condor, Configuration
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import (
    CommandError,
    FileError,
    InvalidContent,
    ModuleError,
)

# Where packages of HTCondor keep fragments.
DIRECTORY = "/etc/condor/config.d"


class Staging:
    """The node's configuration as it is, and as it would be."""

    def __init__(self, condor: Condor, workspace: str) -> None:
        self.condor = condor
        self.workspace = workspace
        self.live = self._load_live()
        self.root = self._root()
        listed = self.live.value("LOCAL_CONFIG_DIR") if self.live.knobs else _listed_in(self.root)
        self.directories = [word for word in re.split(r"[,\s]+", listed) if word]

    def directory(self, wanted: str | None) -> str:
        """Where fragments go: *wanted*, else the last directory that HTCondor reads. Raises ModuleError."""
        if not self.directories:
            raise ModuleError(f"LOCAL_CONFIG_DIR is not set in {self.root}", f"set it to {DIRECTORY}")
        if wanted is None:
            return self.directories[-1]
        if wanted.rstrip("/") not in [directory.rstrip("/") for directory in self.directories]:
            raise ModuleError(f"HTCondor does not read {wanted}", f"use {' or '.join(self.directories)}")
        return wanted

    def refuse_ignored(self, name: str) -> None:
        """Raise ModuleError for a fragment that HTCondor would skip by its name."""
        if "/" in name or name in ("", ".", ".."):
            raise ModuleError(f"{name!r} is not a file name", "name each fragment like 50-vm-universe.config")
        excluded = self.live.value("LOCAL_CONFIG_DIR_EXCLUDE_REGEXP")
        try:
            ignored = bool(excluded) and re.match(excluded, name) is not None
        except re.error:
            ignored = name.startswith(".") or name.endswith("~")
        if ignored:
            raise ModuleError(
                f"HTCondor ignores a fragment named {name} (LOCAL_CONFIG_DIR_EXCLUDE_REGEXP)",
                "name it like 50-vm-universe.config",
            )

    def try_out(self, directory: str, fragments: Mapping[str, bytes | None]) -> Configuration:
        """The configuration with *fragments* in *directory* (None: without them). Raises InvalidContent."""
        root = self._stage(directory, fragments)
        try:
            return self._with_real_names(self.condor.configuration(root))
        except CommandError as error:
            text = self._real(str(error.facts.get("stderr") or error.message))
            raise InvalidContent(
                f"HTCondor refuses the configuration: {text}", "correct the fragment; nothing was changed"
            ) from error

    def _load_live(self) -> Configuration:
        try:
            return self.condor.configuration()
        except CommandError as error:
            # What is there is broken already, and the fragments may be what repairs it.
            self.condor.module.warn(f"the node's current configuration does not load: {error.message}")
            return Configuration()

    def _root(self) -> str:
        if self.live.knobs:
            return self.condor.sources()[0]
        return os.environ.get("CONDOR_CONFIG", "/etc/condor/condor_config")

    def _stage(self, directory: str, fragments: Mapping[str, bytes | None]) -> str:
        staged = [os.path.join(self.workspace, str(number)) for number in range(len(self.directories))]
        for real, copy in zip(self.directories, staged):
            shutil.rmtree(copy, ignore_errors=True)
            if os.path.isdir(real):
                shutil.copytree(real, copy, ignore_dangling_symlinks=True)
            else:
                os.makedirs(copy)
            if real.rstrip("/") == directory.rstrip("/"):
                _overlay(copy, fragments)
        root = os.path.join(self.workspace, "condor_config")
        with open(root, "w", encoding="utf-8") as stream:
            stream.write(f"include : {self.root}\nLOCAL_CONFIG_DIR = {','.join(staged)}\n")
        return root

    def _with_real_names(self, configuration: Configuration) -> Configuration:
        knobs = {
            name: type(knob)(**{**vars(knob), "source": self._real(knob.source)})
            for name, knob in configuration.knobs.items()
        }
        knobs.pop("local_config_dir", None)
        return Configuration(knobs, configuration.known)

    def _real(self, text: str) -> str:
        for number, real in enumerate(self.directories):
            text = text.replace(os.path.join(self.workspace, str(number)), real.rstrip("/"))
        return text


def _overlay(copy: str, fragments: Mapping[str, bytes | None]) -> None:
    for name, content in fragments.items():
        path = os.path.join(copy, name)
        if os.path.lexists(path):
            os.unlink(path)
        if content is not None:
            with open(path, "wb") as stream:
                stream.write(content)


def _listed_in(root: str) -> str:
    """LOCAL_CONFIG_DIR as a root configuration that does not load sets it, macros not expanded."""
    try:
        with open(root, encoding="utf-8", errors="replace") as stream:
            found = re.findall(r"^\s*LOCAL_CONFIG_DIR\s*=\s*(.*)$", stream.read(), re.MULTILINE | re.IGNORECASE)
    except OSError as error:
        raise FileError(
            f"cannot read {root} ({error.strerror})", "restore HTCondor's main configuration file"
        ) from error
    return found[-1] if found else DIRECTORY
