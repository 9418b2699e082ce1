# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lookup of a site's machinetypes, those of vacuum pipes among them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: machinetypes
short_description: A site's machinetypes, with those that experiments publish in vacuum pipes
version_added: 0.1.0
description:
  - Returns the machinetypes of an inventory together with those of its vacuum pipes, which are read on the controller.
  - A pipe's machinetypes are called PREFIX-suffix. The inventory's settings of a machinetype of that name win over the
    settings of its pipe, and these over the pipe's own values.
  - A copy of each pipe is saved on the controller. It is used while it is fresh (C(cache_seconds)), and while the
    pipe's server does not answer, for at most C(last_good_seconds) of the pipe. Without one the lookup fails, because
    machinetypes that seem to be gone would be drained.
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
options:
  _terms:
    description:
      - Mappings of prefix to pipe, as in the variable C(vacuum_pipes). Each has C(url) (https, or a file on the
        controller)
        and may have C(last_good_seconds), C(target_share), C(files) (where the files are that the pipe names; the
        prefix by default) and any key of a machinetype.
    required: true
  machinetypes:
    description: The machinetypes of the inventory itself, name to settings.
    type: dict
    default: {}
  cache:
    description: The directory for copies of pipes.
    type: path
    default: ~/.cache/vacuum.htcondor/pipes
"""

EXAMPLES = r"""
- name: Deploy the site's own machinetypes and those of a pipe
  vacuum.htcondor.machinetype:
    machinetypes: "{{ lookup('vacuum.htcondor.machinetypes', vacuum_pipes, machinetypes=vacuum_machinetypes) }}"
  vars:
    vacuum_pipes:
      gridpp:
        url: https://repo.example.org/gridpp.pipe
        target_share: 2
        user_data_options:
          cvmfs_proxy: http://squid.example.org:3128
"""

RETURN = r"""
_raw:
  description: Name to settings of every machinetype.
  type: list
  elements: dict
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import one_line
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import controller_files, controller_programs
from ansible_collections.vacuum.htcondor.plugins.plugin_utils.machinetypes import URL

# Keys of a pipe that are about the pipe itself.
OWN_KEYS = ("url", "last_good_seconds")
TIMEOUT_SECONDS = 120
CACHE = "~/.cache/vacuum.htcondor/pipes"
display = Display()


class LookupModule(LookupBase):  # type: ignore[misc]
    """Runs ``condor_vac pipe`` on the controller for each pipe."""

    def run(
        self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, dict[str, Any]]]:
        """The machinetypes of pipes and inventory. Raises AnsibleLookupError."""
        own = kwargs.get("machinetypes") or {}
        if not isinstance(own, Mapping):
            raise AnsibleLookupError("vacuum_machinetypes: must be a mapping of name to settings")
        cache = Path(os.path.expanduser(kwargs.get("cache") or CACHE))
        found: dict[str, dict[str, Any]] = {}
        for pipes in terms:
            if not isinstance(pipes, Mapping):
                raise AnsibleLookupError("vacuum_pipes: must be a mapping of prefix to pipe")
            for prefix, pipe in pipes.items():
                for name, keys in _offered(str(prefix), pipe, cache, variables or {}).items():
                    if name in found:
                        raise AnsibleLookupError(f"vacuum_pipes.{prefix}: {name} is another pipe's machinetype as well")
                    found[name] = keys
        for name, keys in own.items():
            found[name] = _over(found.get(name, {}), keys)
        return [found]


def _offered(prefix: str, pipe: object, cache: Path, variables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    if not isinstance(pipe, Mapping) or not isinstance(pipe.get("url"), str):
        raise AnsibleLookupError(f"vacuum_pipes.{prefix}.url: missing; name the pipe's https URL or a file")
    try:
        source = pipe["url"] if URL.match(pipe["url"]) else controller_files.find(pipe["url"], variables)
    except controller_files.ControllerFileError as error:
        raise AnsibleLookupError(f"vacuum_pipes.{prefix}.url: {error.message}") from error
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    local = {key: value for key, value in pipe.items() if key not in OWN_KEYS}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as stream:
        json.dump(local, stream, default=str)
        stream.flush()
        words = ["pipe", source, "--prefix", prefix, "--local", stream.name, "--json"]
        words += ["--cache", str(cache / f"{prefix.replace('/', '_')}.pipe")]
        if "last_good_seconds" in pipe:
            words += ["--last-good-seconds", str(pipe["last_good_seconds"])]
        answer = _condor_vac(words)
    if answer.returncode != 0:
        raise AnsibleLookupError(f"vacuum_pipes.{prefix}: {one_line(answer.stderr)}")
    shown = json.loads(answer.stdout)
    if shown["problem"]:
        display.warning(
            f"vacuum_pipes.{prefix}: using a copy of {shown['age']:.0f} s ago: {one_line(shown['problem'])}"
        )
    for note in shown["notes"]:
        display.vv(f"vacuum_pipes.{prefix}: {note}")
    offered: dict[str, dict[str, Any]] = shown["machinetypes"]
    return offered


def _condor_vac(words: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return controller_programs.run(words, TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise AnsibleLookupError(f"vacuum_pipes: {words[1]} was not read within {TIMEOUT_SECONDS} s") from error


def _over(offered: dict[str, Any], keys: object) -> Any:
    """The inventory's settings over a pipe's; names of options and files each for itself."""
    if not isinstance(keys, Mapping):
        return keys
    result = {**offered, **keys}
    for key, value in keys.items():
        if isinstance(value, Mapping) and isinstance(offered.get(key), dict):
            result[key] = {**offered[key], **value}
    return result
