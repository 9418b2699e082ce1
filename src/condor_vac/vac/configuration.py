# SPDX-License-Identifier: GPL-3.0-or-later
"""Vac's configuration files as inventory data. Source: vac.conf(5) of Vac 3 and readConf of its shared.py.

Layers are Vac's: [settings] are weaker than a pipe, and what a section says is stronger, option by option. So a pipe's
section here has only what the site says, with what [settings] say below ``defaults``, and a machinetype's section that
changes a pipe's machinetype has only its own options.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping, Sequence
from typing import Any

from condor_vac.base.errors import UsageError
from condor_vac.base.shared import MACHINETYPE_NAME, MACHINETYPE_NAME_REMEDY, one_line
from condor_vac.model import accounting
from condor_vac.vac import layers, vcycle
from condor_vac.vac import options as vac_options
from condor_vac.vac.inventory_data import Imported
from condor_vac.vac.numbers import decimal, plain, whole_number
from condor_vac.vac.pipe import VAC_DEFAULTS

# Where Vac keeps what its configuration names by relative paths.
HOME = "/var/lib/vac/machinetypes/{}"
NO_LIMIT = "max_machines: Vac has no such limit; the default here is 1000"
_FEATURE = "machinefeatures_option_"
# Spellings of older versions, which Vac still reads.
_OLD = {
    "mb_per_cpu": "mb_per_processor",
    "disk_gb_per_cpu": "disk_gb_per_processor",
    "scratch_gb": "disk_gb_per_processor",
    "hs06_per_cpu": "hs06_per_processor",
    "cpu_total": "total_processors",
    "overload_per_cpu": "overload_per_processor",
    "cpu_per_machine": "processors_per_superslot",
    "vcpu_per_machine": "processors_per_superslot",
}
_ELSEWHERE = {
    "factories": "put these hosts into the inventory's group worker_node: {}",
    "total_processors": "set worker_config NUM_CPUS: {} for the worker nodes",
    "overload_per_processor": "HTCondor's START expression decides; see worker_start",
    "processors_per_superslot": "not needed: HTCondor's partitionable slots take VMs of any size",
    "shutdown_time": "drain a node before its shutdown instead (playbooks of this collection)",
    "draining": "use playbooks of this collection, or max_machines: 0",
    "gocdb_sitename": (
        "VMs are accounted under it, but no APEL records are written here, and APEL's parser for HTCondor alone reads"
        " neither VO nor benchmark of these VMs: see docs/accounting.md"
    ),
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
    "mb_per_machine": "Vac reads mb_per_processor instead; memory_mb_per_processor is 2048 without it",
    "domain_type": "VMs are KVM's",
    "total_machines": "set max_machines for each machinetype",
    "delete_old_files": "files of VMs that ended are removed after a week",
}
_CONVERTED = frozenset(
    {"vac_space", "root_public_key", "hs06_per_processor", "mb_per_processor", "disk_gb_per_processor"}
)


def convert(files: Sequence[tuple[str, str]], imported: Imported) -> None:
    """Add what the files (path, text; later ones win) define to ``imported``. Raises UsageError naming the file."""
    parser = _parsed(files)
    settings = _settings(parser)
    _note_settings(parser, settings, imported)
    shares = dict(parser.items("targetshares")) if parser.has_section("targetshares") else {}
    pipes = [words[1] for words in map(_words, parser.sections()) if words[0] == "vacuum_pipe" and len(words) == 2]
    vcycle.convert(parser, imported)
    for section in parser.sections():
        kind, *names = _words(section)
        if kind in {"space", "settings", "targetshares"} or (len(names) == 2 and kind in vcycle.SECTIONS):
            continue
        if kind not in {"machinetype", "vmtype", "vacuum_pipe"}:
            imported.note("", f"[{section}]: no such section is known")
            continue
        name = " ".join(names)
        if not re.fullmatch(MACHINETYPE_NAME, name):
            raise UsageError(f"[{section}]: the name {MACHINETYPE_NAME_REMEDY}")
        options = {key: value or "" for key, value in parser.items(section)}
        if name in shares:
            options.setdefault("target_share", shares[name] or "")
        if kind == "vacuum_pipe":
            _pipe(name, options, settings, imported)
        elif any(name.startswith(f"{prefix}-") for prefix in pipes):
            _change(name, options, imported)
        else:
            _machinetype(name, options, settings, imported)


def _words(section: str) -> list[str]:
    return section.lower().split() or [""]


def _parsed(files: Sequence[tuple[str, str]]) -> configparser.RawConfigParser:
    """All files in one. A value of two quotes is empty, as Python 2 reads it for Vac. Raises UsageError."""
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";",))
    for path, text in files:
        try:
            parser.read_string(text, path)
        except configparser.Error as error:
            raise UsageError(f"{path}: not Vac's configuration: {one_line(str(error), 200)}") from error
    for section in parser.sections():
        for key, value in parser.items(section):
            if value == '""':
                parser.set(section, key, "")
    return parser


def _settings(parser: configparser.RawConfigParser) -> dict[str, str]:
    if not parser.has_section("settings"):
        return {}
    return {_OLD.get(key, key): (value or "").strip() for key, value in parser.items("settings")}


def _machinetype(name: str, options: Mapping[str, str], settings: Mapping[str, str], imported: Imported) -> None:
    """A machinetype that the site defines itself."""
    converted = _converted(name, options, imported, whole=True)
    if converted is None:
        return
    weakest = _weakest(settings, _home(name, options))
    keys = vac_options.or_off(layers.over(layers.over(weakest, _site(settings)), converted.keys), converted)
    imported.note(name, *vac_options.fit(keys), *converted.ignored, *converted.notes)
    imported.add(name, keys, NO_LIMIT)


def _change(name: str, options: Mapping[str, str], imported: Imported) -> None:
    """A section that changes a machinetype of a pipe: what it does not say stays the pipe's."""
    converted = _converted(name, options, imported, whole=False)
    if converted is None:
        return
    imported.add_change(name, converted.keys)
    imported.note(name, *converted.ignored, *converted.notes)


def _pipe(name: str, options: Mapping[str, str], settings: Mapping[str, str], imported: Imported) -> None:
    left = dict(options)
    url = left.pop("vacuum_pipe_url", "").strip()
    if not url:
        imported.note("", f"[vacuum_pipe {name}]: vacuum_pipe_url: missing; left out")
        return
    converted = _converted(name, left, imported, whole=False)
    if converted is None:
        return
    # Vac's own default for what neither the site nor the pipe says is added where the pipe is read.
    weakest = {
        key: value for key, value in _weakest(settings, HOME.format(name)).items() if VAC_DEFAULTS.get(key) != value
    }
    imported.add_pipe(name, url, HOME.format(name), layers.over(_site(settings), converted.keys), weakest)
    imported.note(name, *converted.ignored, *converted.notes)


def _converted(
    name: str, options: Mapping[str, str], imported: Imported, *, whole: bool
) -> vac_options.Converted | None:
    """What a section says, None (and noted) if it can be no VM."""
    home = _home(name, options)
    given = {key: value for key, value in options.items() if key != "machinetype_path"}
    converted = vac_options.machinetype(given, vac_options.in_home(home), whole=whole)
    if converted.usable:
        if converted.keys.get("user_data_proxy"):
            converted.keys.setdefault("user_data_proxy_cert", f"{home}/x509cert.pem")
            converted.keys.setdefault("user_data_proxy_key", f"{home}/x509key.pem")
        return converted
    imported.note(name, converted.ignored[-1])
    return None


def _home(name: str, options: Mapping[str, str]) -> str:
    """The directory of a machinetype's files."""
    return options.get("machinetype_path", "").rstrip("/") or HOME.format(name)


def _common(settings: Mapping[str, str], home: str) -> vac_options.Converted:
    """What replaces placeholders in every template; relative files are in ``home``."""
    common = {key: value for key, value in settings.items() if key.startswith((vac_options.OPTION, vac_options.FILE))}
    return vac_options.machinetype(common, vac_options.in_home(home), whole=False)


def _weakest(settings: Mapping[str, str], home: str) -> dict[str, Any]:
    """What [settings] say that every pipe and every section wins over."""
    keys = _common(settings, home).keys
    size = decimal(settings.get("disk_gb_per_processor", ""))
    # 0 is "no logical volume", and then Vac makes files of its default size.
    return {**keys, **VAC_DEFAULTS, **({"disk_gb_per_processor": plain(size)} if size else {})}


def _site(settings: Mapping[str, str]) -> dict[str, Any]:
    """Keys of a machinetype that Vac has once for the whole site, and that no pipe can set."""
    keys: dict[str, Any] = {}
    if settings.get("vac_space"):
        keys["space"] = settings["vac_space"]
    if settings.get("root_public_key"):
        keys["root_public_key"] = settings["root_public_key"]
    if re.fullmatch(accounting.SITENAME, settings.get("gocdb_sitename", "")):
        keys["gocdb_sitename"] = settings["gocdb_sitename"]
    memory = whole_number(settings.get("mb_per_processor", ""))
    if memory:
        keys["memory_mb_per_processor"] = memory
    hs06 = decimal(settings.get("hs06_per_processor", ""))
    if hs06:
        keys["hs06_per_processor"] = plain(hs06)
    features = {key[len(_FEATURE) :]: value for key, value in settings.items() if key.startswith(_FEATURE)}
    if features:
        keys["machinefeatures"] = features
    return keys


def _note_settings(parser: configparser.RawConfigParser, settings: Mapping[str, str], imported: Imported) -> None:
    """Say of each of [settings], in its own spelling, what is not converted."""
    for key, value in parser.items("settings") if settings else ():
        if _OLD.get(key, key) in _CONVERTED or key.startswith((vac_options.OPTION, vac_options.FILE, _FEATURE)):
            continue
        words = _ELSEWHERE.get(_OLD.get(key, key), "no such option is known")
        imported.note("", f"{key}: {words.replace('{}', one_line(value, 200))}")
    imported.note("", *_common(settings, "").ignored)
    if "gocdb_sitename" in settings and not re.fullmatch(accounting.SITENAME, settings["gocdb_sitename"]):
        name = one_line(settings["gocdb_sitename"], 60)
        imported.note("", f"gocdb_sitename: not converted: {name!a} {accounting.SITENAME_REMEDY}")
    for key in ("mb_per_processor", "hs06_per_processor", "disk_gb_per_processor"):
        if key in settings and decimal(settings[key]) is None:
            imported.note("", f"{key}: not converted: {settings[key][:40]!a} is not a number")
    size = VAC_DEFAULTS["disk_gb_per_processor"]
    if decimal(settings.get("disk_gb_per_processor", "")) == 0:
        imported.note("", f"disk_gb_per_processor: 0 means no logical volume in Vac, and {size} GB for each processor")
    elif settings and "disk_gb_per_processor" not in settings:
        imported.note("", f"disk_gb_per_processor: {size} GB, which Vac gives each processor where nothing is set")
