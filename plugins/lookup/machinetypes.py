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
    settings of its pipe, and these over the pipe's own values, which win over C(defaults).
  - A machinetype of a pipe that could not be deployed is left out, with a warning that names it and the reason. All
    others are returned. The command C(condor_vac pipe) shows the same before the playbook runs.
  - A copy of each pipe is saved on the controller. It is used while it is fresh (C(cache_seconds)), and while the
    pipe's server does not answer, for at most C(last_good_seconds) of the pipe. Without one O(unread) decides.
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
options:
  _terms:
    description:
      - Mappings of prefix to pipe, as in the variable C(vacuum_pipes). Each has C(url) (https, or a file on the
        controller)
        and may have C(last_good_seconds), C(target_share), C(files) (where the files are that the pipe names; the
        prefix by default), C(private_hosts) (hosts of the site's own network that its URLs may lead to), any key of a
        machinetype, and C(defaults) with keys that hold where the pipe sets none.
    required: true
  machinetypes:
    description: The machinetypes of the inventory itself, name to settings.
    type: dict
    default: {}
  unread:
    description:
      - What to do with a pipe that cannot be read, or is none. V(leave_out) warns and returns the others; what the pool
        has of it must then be kept (P(vacuum.htcondor.silent_pipes#filter)), because it seems to be gone.
    type: str
    choices: [fail, leave_out]
    default: fail
  cache:
    description: The directory for copies of pipes.
    type: path
    default: ~/.cache/vacuum.htcondor/pipes
  http_proxy:
    description:
      - The HTTP proxy through which pipes are read, C(http://[USER:PASSWORD@]HOST:PORT). None if it is empty; those of
        the environment are not used.
    type: str
    default: ""
    vars:
      - name: vacuum_http_proxy
  no_proxy:
    description: Hosts, domains, addresses and networks (and V(*)) that are reached without O(http_proxy).
    type: list
    elements: str
    default: []
    vars:
      - name: vacuum_no_proxy
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
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import controller_files, controller_programs, http_proxy
from ansible_collections.vacuum.htcondor.plugins.plugin_utils.machinetypes import URL, MachinetypeError, required, typed

# Keys of a pipe that are about the pipe itself.
OWN_KEYS = ("url", "last_good_seconds")
TIMEOUT_SECONDS = 120
# Exit code of condor_vac where it is the site that wrote something wrong.
USAGE = 2
# Characters of what a pipe or its server wrote in one warning, and sentences on what is ignored of a pipe.
SHOWN = 300
MOST_IGNORED = 10
CACHE = "~/.cache/vacuum.htcondor/pipes"
display = Display()


class UnreadError(AnsibleLookupError):  # type: ignore[misc]
    """A pipe that cannot be read, or is none, for which the site is not to blame."""


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
        proxy = self._proxy(variables or {}, kwargs) if any(terms) else {}
        found: dict[str, dict[str, Any]] = {}
        changes: set[str] = set()
        for pipes in terms:
            if not isinstance(pipes, Mapping):
                raise AnsibleLookupError("vacuum_pipes: must be a mapping of prefix to pipe")
            for word, pipe in pipes.items():
                prefix = str(word)
                mine = {name: keys for name, keys in own.items() if name == prefix or name.startswith(f"{prefix}-")}
                try:
                    offered = _offered(prefix, pipe, mine, cache, proxy, variables or {})
                except UnreadError as error:
                    if kwargs.get("unread", "fail") != "leave_out":
                        raise
                    display.warning(f"{error.message}: left out; what the pool has of it stays as it is")
                    continue
                for name, keys in offered.items():
                    if name in found:
                        display.warning(f"vacuum_pipes.{prefix}: {name} is left out: another pipe has it already")
                    else:
                        found[name] = keys
                changes |= {name for name, keys in mine.items() if name not in found and not _is_whole(keys)}
        for name in sorted(changes - set(found)):
            display.warning(f"vacuum_machinetypes.{name}: changes a machinetype that no pipe offers now; left out")
        return [{**found, **{name: keys for name, keys in own.items() if name not in {*found, *changes}}}]

    def _proxy(self, variables: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """http_proxy and no_proxy of the call, else of the inventory. Raises AnsibleLookupError for wrong ones."""
        found = {key: variables.get(f"vacuum_{key}") for key in ("http_proxy", "no_proxy")}
        if self._templar is not None:
            found = {key: self._templar.template(value) for key, value in found.items()}
        found.update({key: given[key] for key in found if key in given})
        fault = http_proxy.fault(found["http_proxy"], found["no_proxy"], ("vacuum_http_proxy", "vacuum_no_proxy"))
        if fault:
            raise AnsibleLookupError(fault)
        return found


def _is_whole(keys: object) -> bool:
    """Whether settings in the inventory are a machinetype by themselves, or anything that is to be refused."""
    return not isinstance(keys, Mapping) or required() <= set(keys)


def _offered(
    prefix: str,
    pipe: object,
    own: Mapping[str, Any],
    cache: Path,
    proxy: Mapping[str, Any],
    variables: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """Name to settings of a pipe's machinetypes. Raises AnsibleLookupError."""
    if not isinstance(pipe, Mapping) or not isinstance(pipe.get("url"), str):
        raise AnsibleLookupError(f"vacuum_pipes.{prefix}.url: missing; name the pipe's https URL or a file")
    try:
        source = pipe["url"] if URL.match(pipe["url"]) else controller_files.find(pipe["url"], variables)
        local = _settings(prefix, pipe)
        sections = {name: typed(keys, f"vacuum_machinetypes.{name}") for name, keys in own.items()}
    except controller_files.ControllerFileError as error:
        raise AnsibleLookupError(f"vacuum_pipes.{prefix}.url: {error.message}") from error
    except MachinetypeError as error:
        raise AnsibleLookupError(error.message) from error
    words = ["pipe", source, "--prefix", prefix, "--json", "--cache", _cache_file(cache, prefix)]
    if "last_good_seconds" in pipe:
        words += ["--last-good-seconds", str(pipe["last_good_seconds"])]
    shown = _shown(prefix, words, {"local": local, "machinetypes": sections, "http-proxy": proxy})
    offered: dict[str, dict[str, Any]] = shown["machinetypes"]
    left_out: dict[str, str] = dict(shown["left_out"])
    for name, keys in list(offered.items()):
        missing = _missing(keys, local.get("files", prefix), variables)
        if missing:
            left_out[name] = missing
            del offered[name]
    _warn(prefix, shown, left_out)
    return offered


def _settings(prefix: str, pipe: Mapping[str, Any]) -> dict[str, Any]:
    """The site's settings for all machinetypes of a pipe. Raises MachinetypeError."""
    apart = (*OWN_KEYS, "files", "defaults", "private_hosts")
    found = typed({key: value for key, value in pipe.items() if key not in apart}, f"vacuum_pipes.{prefix}")
    if pipe.get("private_hosts"):
        found["private_hosts"] = pipe["private_hosts"]
    if pipe.get("defaults") is not None:
        found["defaults"] = typed(pipe["defaults"], f"vacuum_pipes.{prefix}.defaults")
    return {**found, "files": str(pipe["files"])} if pipe.get("files") else found


def _cache_file(cache: Path, prefix: str) -> str:
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(cache / f"{prefix.replace('/', '_')}.pipe")


def _shown(prefix: str, words: list[str], files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What ``condor_vac pipe --json`` prints; ``files`` is option → content. Raises AnsibleLookupError."""
    # The directory is this user's alone: settings and the proxy may hold secrets.
    with tempfile.TemporaryDirectory() as place:
        for option, content in files.items():
            path = Path(place, option)
            path.write_text(json.dumps(content, default=str), encoding="utf-8")
            words += [f"--{option}", str(path)]
        answer = _condor_vac(words)
    if not answer.stdout:
        kind = AnsibleLookupError if answer.returncode == USAGE else UnreadError
        raise kind(f"vacuum_pipes.{prefix}: {one_line(answer.stderr, SHOWN)}")
    shown: dict[str, Any] = json.loads(answer.stdout)
    return shown


def _missing(keys: Mapping[str, Any], files: str, variables: Mapping[str, Any]) -> str:
    """Why a machinetype cannot have a file of the site that its pipe names; empty if it has all."""
    named = {key: keys.get(key) for key in ("image", "user_data")}
    named.update({f"user_data_files.{name}": path for name, path in keys.get("user_data_files", {}).items()})
    for key, path in named.items():
        if isinstance(path, str) and path.startswith(f"{files}/"):
            try:
                controller_files.find(path, variables)
            except controller_files.ControllerFileError as error:
                return f"{key}: {error.message}"
    return ""


def _warn(prefix: str, shown: Mapping[str, Any], left_out: Mapping[str, str]) -> None:
    """Say what of a pipe is not as its experiment has it: what is lost as warnings, the rest with -vv."""
    if shown["problem"]:
        display.warning(
            f"vacuum_pipes.{prefix}: using a copy of {shown['age']:.0f} s ago: {one_line(shown['problem'], SHOWN)}"
        )
    for name, reason in left_out.items():
        display.warning(f"vacuum_pipes.{prefix}: {name} is left out: {one_line(reason, SHOWN)}")
    if shown["ignored"]:
        few = shown["ignored"][:MOST_IGNORED]
        more = len(shown["ignored"]) - len(few)
        rest = f"; and {more} more, which condor_vac pipe shows" if more else ""
        display.warning(f"vacuum_pipes.{prefix}: ignored: {one_line('; '.join(few))}{rest}")
    for note in shown["notes"]:
        display.vv(f"vacuum_pipes.{prefix}: {one_line(note, SHOWN)}")


def _condor_vac(words: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return controller_programs.run(words, TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise UnreadError(f"vacuum_pipes: {words[1]} was not read within {TIMEOUT_SECONDS} s") from error
