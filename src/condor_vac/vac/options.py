# SPDX-License-Identifier: GPL-3.0-or-later
"""Vac's options of a machinetype as keys of a machinetype here: what vacuum pipes and Vac's configuration files have.

Source: vac.conf(5) of Vac 3 ([MACHINETYPE ...] SECTIONS, VACUUM PIPES) and readConf of its shared.py, which has the
spellings of Vac 1 and 2 as well. Only what the options say becomes a key: a default written out would win over what
another layer says (``layers``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from condor_vac.base.shared import image_name
from condor_vac.model import accounting
from condor_vac.model.machinetype import FORMAT_BY_SUFFIX, suffix_of
from condor_vac.vac import layers
from condor_vac.vac.numbers import decimal, plain, whole_number

OPTION = "user_data_option_"
FILE = "user_data_file_"
# Vac's models of machines that are VMs, and how their images take up user data. vm-raw is any image.
KINDS = {"cernvm3": "cernvm", "cernvm4": "cernvm", "vm-raw": "cloud-init"}
CONTAINERS = frozenset({"docker", "singularity"})
DEFAULT_MODEL = "cernvm3"
# Vac boots a CernVM from a CD and a vm-raw from a disk, whatever the image's file is called.
_FORMATS = {"cernvm": "iso", "cloud-init": "raw"}

_NUMBERS = (
    "backoff_seconds", "fizzle_seconds", "max_wallclock_seconds", "min_wallclock_seconds", "heartbeat_seconds",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9_]{1,128}")
# Spellings of older versions; Vac takes them before the new ones.
_OLD = {
    "vm_model": "machine_model",
    "cernvm_signing_dn": "image_signing_dn",
    "machineoutputs_days": "machines_dir_days",
    "rootpublickey": "root_public_key",
}
_NOT_OURS = {
    "container_command": "not converted: containers are not made here",
    "cvmfs_repositories": "not converted: containers are not made here",
    "tmp_binds": "not converted: containers are not made here",
    "legacy_proxy": "not converted: proxies are made by RFC 3820 only; ask the experiment whether it needs legacy ones",
    "machines_dir_days": "not needed: files of VMs that ended are removed after a week",
    "machinegroup": "not converted: set accounting_group instead",
    "log_machineoutputs": "not needed: outputs always come back with the VM's job",
    "prolog": "not converted: put it into the user data",
    "epilog": "not converted: put it into the user data",
}


@dataclass
class Converted:
    """Keys of a machinetype here, and sentences: ``notes`` on what became of an option, ``ignored`` on the others.

    ``usable`` is False where it cannot be a VM at all; the last of ``ignored`` is then the reason.
    """

    keys: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    usable: bool = True


def machinetype(options: Mapping[str, str], place: Callable[[str], str], *, whole: bool) -> Converted:
    """Vac's options as keys of a machinetype. ``place`` turns a file name into the path of the file.

    With ``whole`` they are all that is known of it, so that without a model it is Vac's default one.
    """
    converted = Converted()
    left = {key: str(value).strip() for key, value in options.items()}
    left.update({new: left.pop(old) for old, new in _OLD.items() if old in left})
    _sources(left, converted, place)
    _numbers(left, converted)
    _sizes(left, converted)
    _accounting(left, converted)
    _devices(left, converted)
    _proxy(left, converted, place)
    for key in sorted(set(left) - {"machine_model"}):
        converted.ignored.append(f"{key}: {_NOT_OURS.get(key, 'not converted: no such option is known')}")
    _model(left, converted, whole=whole)
    return converted


def fit(keys: dict[str, Any]) -> list[str]:
    """Change what Vac accepts and a machinetype here cannot have together; a sentence for each change.

    For keys that are complete: all layers are in them.
    """
    notes = []
    image = keys.get("image")
    if isinstance(image, str) and "image_format" not in keys and suffix_of(image_name(image)) not in FORMAT_BY_SUFFIX:
        keys["image_format"] = _FORMATS.get(str(keys.get("kind")), "raw")
        notes.append(f"image_format: {keys['image_format']}, as Vac takes images of this kind; check it")
    if keys.get("heartbeat_seconds") and not keys.get("heartbeat_file"):
        del keys["heartbeat_seconds"]
        notes.append("heartbeat_seconds: without heartbeat_file nothing is checked, as in Vac")
    if keys.get("backoff_seconds") == 0:
        keys["backoff_seconds"] = 1
        notes.append("backoff_seconds: 0 became 1, the least here")
    longest, fizzle = keys.get("max_wallclock_seconds", 86400), keys.get("fizzle_seconds", 600)
    if isinstance(longest, int) and isinstance(fizzle, int) and 1 < longest <= fizzle:
        keys["fizzle_seconds"] = longest - 1
        notes.append(f"fizzle_seconds: {fizzle} became {longest - 1}, below max_wallclock_seconds")
    shortest = keys.get("min_wallclock_seconds", 0)
    if isinstance(longest, int) and isinstance(shortest, int) and shortest > longest:
        keys["min_wallclock_seconds"] = longest
        notes.append(f"min_wallclock_seconds: {shortest} became {longest}, which is max_wallclock_seconds")
    return notes


def _model(left: dict[str, str], converted: Converted, *, whole: bool) -> None:
    said = left.pop("machine_model", None)
    model = DEFAULT_MODEL if said is None else said
    if model not in KINDS:
        converted.usable = False
        what = "a container, and only VMs are made here" if model in CONTAINERS else "not known"
        converted.ignored.append(f"machine_model: {model[:40]} is {what}; the machinetype is left out")
    elif whole or said is not None:
        converted.keys = {"kind": KINDS[model], **converted.keys}


def _sources(left: dict[str, str], converted: Converted, place: Callable[[str], str]) -> None:
    """Image, template, key, and what goes into the template."""
    for key, ours in (("root_image", "image"), ("user_data", "user_data")):
        value = left.pop(key, "")
        if value.startswith("http://"):
            converted.notes.append(f"{key}: {value} is not safe against changes on the way; using https instead")
            value = "https" + value[4:]
        if value:
            converted.keys[ours] = value if "://" in value else place(value)
    for key in ("image_signing_dn", "heartbeat_file"):
        value = left.pop(key, "")
        if value:
            converted.keys[key] = value
    if left.get("root_public_key"):
        converted.keys["root_public_key"] = place(left["root_public_key"])
    left.pop("root_public_key", None)
    _placeholders(left, converted, place)


def _placeholders(left: dict[str, str], converted: Converted, place: Callable[[str], str]) -> None:
    """What replaces the placeholders of the template."""
    for key in [key for key in left if key.startswith((OPTION, FILE))]:
        prefix, ours = (OPTION, "user_data_options") if key.startswith(OPTION) else (FILE, "user_data_files")
        name, value = key[len(prefix) :], left.pop(key)
        if not _NAME.fullmatch(name):
            converted.ignored.append(f"{key}: not converted: its name must be letters, digits and _")
        elif prefix == OPTION:
            converted.keys.setdefault(ours, {})[name] = value
        elif value:
            converted.keys.setdefault(ours, {})[name] = place(value)


def _numbers(left: dict[str, str], converted: Converted) -> None:
    for key in _NUMBERS:
        if key not in left:
            continue
        text = left.pop(key)
        number = whole_number(text)
        if number is None:
            converted.ignored.append(f"{key}: not converted: {text[:40]!a} is not a whole number")
        else:
            converted.keys[key] = number


def _sizes(left: dict[str, str], converted: Converted) -> None:
    processors = {}
    for key in ("min_processors", "max_processors"):
        if key in left:
            text = left.pop(key)
            processors[key] = whole_number(text) or 0
            if not processors[key]:
                converted.ignored.append(f"{key}: not converted: {text[:40]!a} is not a whole number from 1")
    most, least = processors.get("max_processors", 0), processors.get("min_processors", 0)
    if 0 < most < least:
        converted.notes.append(f"max_processors: {most} is below min_processors; using {least}")
    elif most and least and most != least:
        converted.notes.append(f"min_processors: not converted: VMs have one size here, {most} processors")
    if most or least:
        converted.keys["processors"] = max(most, least)
    for key, ours, whole in (
        ("mb_per_processor", "memory_mb_per_processor", True),
        ("disk_gb_per_processor", "disk_gb_per_processor", False),
        ("hs06_per_processor", "hs06_per_processor", False),
    ):
        if key in left:
            text = left.pop(key)
            size = whole_number(text) if whole else decimal(text)
            if size:
                converted.keys[ours] = plain(float(size))
            else:
                converted.ignored.append(f"{key}: not converted: {text[:40]!a} is not a number above 0")


def _accounting(left: dict[str, str], converted: Converted) -> None:
    fqan = left.pop("accounting_fqan", "")
    vo = re.match(r"/([A-Za-z0-9._-]+)", fqan)
    if vo is not None:
        converted.keys["accounting_group"] = f"group_{re.sub('[.-]', '_', vo[1])}"
        converted.notes.append(f"accounting_fqan: {fqan} became accounting_group {converted.keys['accounting_group']}")
        if re.fullmatch(accounting.FQAN, fqan):
            converted.keys["accounting_fqan"] = fqan
        else:
            converted.ignored.append(f"accounting_fqan: not accounted: {fqan[:80]!a} {accounting.FQAN_REMEDY}")
    elif fqan:
        converted.ignored.append(f"accounting_fqan: not converted: {fqan[:80]!a} names no VO")
    text = left.pop("target_share", None)
    if text is None:
        return
    share = decimal(text)
    if share is None:
        converted.ignored.append(f"target_share: not converted: {text[:40]!a} is not a number of 0 or more")
    elif share == 0:
        _switch_off(converted)
    else:
        converted.keys["target_share"] = share


def in_home(home: str) -> Callable[[str], str]:
    """What turns the name of a file into its path: Vac and Vcycle have relative ones in ``home``/files."""
    return lambda file: file if file.startswith("/") else f"{home}/files/{file}"


def or_off(keys: dict[str, Any], converted: Converted) -> dict[str, Any]:
    """All keys of a machinetype; without a share, as Vac has it, with those that let no VM of it start."""
    if "target_share" in keys:
        return keys
    _switch_off(converted)
    return layers.over(keys, converted.keys)


def _switch_off(converted: Converted) -> None:
    """Let no VM of it start, as Vac does without a share."""
    converted.keys.update({key: value for key, value in layers.OFF.items() if value is not None})
    converted.notes.append(layers.OFF_NOTE)


def _devices(left: dict[str, str], converted: Converted) -> None:
    for key, ours in (("root_device", "vda"), ("scratch_device", "vdb")):
        device = left.pop(key, ours)
        if device != ours:
            converted.ignored.append(f"{key}: not converted: {device[:20]!a}; disks are vda, vdb, ... in this order")


def _proxy(left: dict[str, str], converted: Converted, place: Callable[[str], str]) -> None:
    """The proxy of Vac 3, and the certificate and key that Vac 1 and 2 name themselves."""
    if left.get("legacy_proxy", "").lower() != "true":
        left.pop("legacy_proxy", None)
    wanted = left.pop("user_data_proxy", "").lower() == "true"
    named = {key: left.pop(key, "") for key in ("user_data_proxy_cert", "user_data_proxy_key")}
    converted.keys.update({key: place(value) for key, value in named.items() if value})
    if wanted or any(named.values()):
        converted.keys["user_data_proxy"] = True
        converted.notes.append(
            "user_data_proxy: set user_data_proxy_cert and user_data_proxy_key to where the certificate and key are on"
            " the access point"
        )
