# SPDX-License-Identifier: GPL-3.0-or-later
"""Vac's configuration files as inventory data. Source: vac.conf(5) of Vac 3 and readConf of its shared.py."""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from condor_vac.base.errors import UsageError
from condor_vac.base.shared import MACHINETYPE_NAME, one_line
from condor_vac.vac import options as vac_options

# Where Vac keeps what its configuration names by relative paths.
FILES = "/var/lib/vac/machinetypes/{}/files"
_FEATURE = "machinefeatures_option_"
# Spellings of older versions, which Vac still reads.
_OLD = {
    "mb_per_cpu": "mb_per_processor",
    "disk_gb_per_cpu": "disk_gb_per_processor",
    "scratch_gb": "disk_gb_per_processor",
    "hs06_per_cpu": "hs06_per_processor",
    "cpu_total": "total_processors",
}
_ELSEWHERE = {
    "factories": "put these hosts into the inventory's group worker_node: {}",
    "total_processors": "set worker_config NUM_CPUS: {} for the worker nodes",
    "overload_per_processor": "HTCondor's START expression decides; see worker_start",
    "processors_per_superslot": "not needed: HTCondor's partitionable slots take VMs of any size",
    "shutdown_time": "drain a node before its shutdown instead (playbooks of this collection)",
    "draining": "use playbooks of this collection, or max_machines: 0",
    "gocdb_sitename": "no accounting records are written; APEL's parser for HTCondor reads the history",
    "gocdb_cert_file": "GOCDB is not updated from here",
    "gocdb_key_file": "GOCDB is not updated from here",
    "description": "a comment in the inventory serves as well",
    "version_logger": "no version is reported to anybody",
    "vacmon_hostport": "VacMon is not fed; condor_vac status --json has what a monitor needs",
    "udp_timeout_seconds": "not needed: nodes are asked through HTCondor",
    "volume_group": "disks of VMs are sparse files in HTCondor's EXECUTE directory",
    "singularity_user": "containers are not made here",
    "fix_networking": "the role worker makes the VMs' network",
    "forward_dev": "the role worker makes the VMs' network; libvirt forwards by the host's routes",
    "mb_per_machine": "Vac reads mb_per_processor instead; memory_mb is {default} for each processor",
    "domain_type": "VMs are KVM's",
    "total_machines": "set max_machines for each machinetype",
    "delete_old_files": "files of VMs that ended are removed after a week",
}

Note = Callable[..., None]


def convert(
    files: Sequence[tuple[str, str]],
    machinetypes: dict[str, dict[str, Any]],
    pipes: dict[str, dict[str, Any]],
    note: Note,
) -> None:
    """Add what the files (path, text; later ones win) define to ``machinetypes`` and ``pipes``.

    ``note`` gets a name ("" for the settings) and sentences. Raises UsageError naming the file.
    """
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";",))
    for path, text in files:
        try:
            parser.read_string(text, path)
        except configparser.Error as error:
            raise UsageError(f"{path}: not Vac's configuration: {one_line(str(error), 200)}") from error
    settings = _settings(parser)
    _note_settings(settings, note)
    for section in parser.sections():
        kind, _blank, name = section.lower().partition(" ")
        name = name.strip()
        if kind not in {"machinetype", "vmtype", "vacuum_pipe"}:
            if kind != "settings":
                note("", f"[{section}]: no such section is known")
            continue
        if not re.fullmatch(MACHINETYPE_NAME, name):
            raise UsageError(f"[{section}]: the name must be 1 to 64 lower-case letters, digits and -")
        options = {key: value or "" for key, value in parser.items(section)}
        if kind == "vacuum_pipe":
            _pipe(name, options, settings, pipes, note)
        else:
            _machinetype(name, options, settings, machinetypes, note)


def _settings(parser: configparser.RawConfigParser) -> dict[str, str]:
    if not parser.has_section("settings"):
        return {}
    return {_OLD.get(key, key): (value or "").strip() for key, value in parser.items("settings")}


def _machinetype(
    name: str,
    options: Mapping[str, str],
    settings: Mapping[str, str],
    machinetypes: dict[str, dict[str, Any]],
    note: Note,
) -> None:
    directory = FILES.format(options.get("machinetype_path", name).rpartition("/")[2])
    both = {**_common(settings), **{key: value for key, value in options.items() if key != "machinetype_path"}}
    converted = vac_options.machinetype(
        both,
        lambda file: file if file.startswith("/") else f"{directory}/{file}",
        vac_options.whole_number(settings.get("mb_per_processor", "")),
        vac_options.whole_number(settings.get("disk_gb_per_processor", "")),
    )
    note(name, *converted.notes)
    if not converted.usable:
        return
    for key in ("image", "user_data"):
        if key not in converted.keys:
            note(name, f"{key}: missing; add it")
    machinetypes[name] = {**converted.keys, **_from_settings(settings, converted.keys["processors"])}
    note(name, "max_machines: Vac has no such limit; the default here is 10")


def _pipe(
    name: str, options: Mapping[str, str], settings: Mapping[str, str], pipes: dict[str, dict[str, Any]], note: Note
) -> None:
    """A pipe's section: only what the site itself sets there, which wins over the pipe's value."""
    left = dict(options)
    url = left.pop("vacuum_pipe_url", "").strip()
    if not url:
        note("", f"[vacuum_pipe {name}]: vacuum_pipe_url: missing; left out")
        return
    if url.startswith("http://"):
        note(name, f"vacuum_pipe_url: {url} is not safe against changes on the way; using https instead")
        url = "https" + url[4:]
    given = {**_common(settings), **left}
    converted = vac_options.machinetype(
        given, lambda file: file if file.startswith("/") else f"{FILES.format(name)}/{file}"
    )
    note(name, *converted.notes)
    # Vac's defaults are left to the pipe.
    keys = {
        key: value
        for key, value in converted.keys.items()
        if key not in {"kind", "processors", "memory_mb"} or (key == "processors" and "max_processors" in left)
    }
    mb = vac_options.whole_number(settings.get("mb_per_processor", ""))
    if mb is not None and mb != vac_options.DEFAULT_MB_PER_PROCESSOR:
        note(name, f"mb_per_processor: set memory_mb to {mb} for each processor of the pipe's machinetypes")
    pipes[name] = {"url": url, "files": FILES.format(name), **keys, **_from_settings(settings, None)}


def _common(settings: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in settings.items() if key.startswith((vac_options.OPTION, vac_options.FILE))}


def _from_settings(settings: Mapping[str, str], processors: int | None) -> dict[str, Any]:
    """Keys of a machinetype that Vac has once for the whole site."""
    keys: dict[str, Any] = {}
    if settings.get("vac_space"):
        keys["space"] = settings["vac_space"]
    if settings.get("root_public_key"):
        keys["root_public_key"] = settings["root_public_key"]
    hs06 = settings.get("hs06_per_processor", "")
    if processors is not None and re.fullmatch(r"[0-9]+(\.[0-9]+)?", hs06):
        keys["hs06"] = float(hs06) * processors
    features = {key[len(_FEATURE) :]: value for key, value in settings.items() if key.startswith(_FEATURE)}
    if features:
        keys["machinefeatures"] = features
    return keys


def _note_settings(settings: Mapping[str, str], note: Note) -> None:
    known = {"vac_space", "root_public_key", "hs06_per_processor", "mb_per_processor", "disk_gb_per_processor"}
    for key, value in settings.items():
        if key in known or key.startswith((vac_options.OPTION, vac_options.FILE, _FEATURE)):
            continue
        words = _ELSEWHERE.get(key, "no such option is known")
        shown = one_line(value, 200)
        note("", f"{key}: {words.replace('{default}', str(vac_options.DEFAULT_MB_PER_PROCESSOR)).replace('{}', shown)}")
    if settings.get("disk_gb_per_processor") == "0":
        note("", "disk_gb_per_processor: 0 means no logical volume in Vac; the default sizes of disks are used here")
