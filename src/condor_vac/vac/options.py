# SPDX-License-Identifier: GPL-3.0-or-later
"""Vac's options of a machinetype as keys of a machinetype here: what vacuum pipes and Vac's configuration files have.

Source: vac.conf(5) of Vac 3 ([MACHINETYPE ...] SECTIONS, VACUUM PIPES) and its shared.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

OPTION = "user_data_option_"
FILE = "user_data_file_"
# Vac's models of machines that are VMs, and how their images take up user data. vm-raw is any image.
KINDS = {"cernvm3": "cernvm", "cernvm4": "cernvm", "vm-raw": "cloud-init"}
CONTAINERS = frozenset({"docker", "singularity"})
DEFAULT_MODEL = "cernvm3"
DEFAULT_MB_PER_PROCESSOR = 2048

_NUMBERS = ("backoff_seconds", "fizzle_seconds", "max_wallclock_seconds", "heartbeat_seconds")
_NAME = re.compile(r"[A-Za-z0-9_]{1,128}")
_NOT_OURS = {
    "container_command": "containers are not made here",
    "cvmfs_repositories": "containers are not made here",
    "tmp_binds": "containers are not made here",
    "legacy_proxy": "proxies are made by RFC 3820 only; ask the experiment whether it needs legacy ones",
    "machines_dir_days": "files of VMs that ended are removed after a week",
    "machinegroup": "set accounting_group instead",
    "log_machineoutputs": "outputs always come back with the VM's job",
}


@dataclass
class Converted:
    """Keys of a machinetype here, and a sentence for each option that could not be converted unchanged.

    ``usable`` is False where it cannot be a VM at all.
    """

    keys: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    usable: bool = True


def machinetype(
    options: Mapping[str, str],
    place: Callable[[str], str],
    mb_per_processor: int | None = None,
    disk_gb_per_processor: int | None = None,
) -> Converted:
    """Vac's options as keys of a machinetype. ``place`` turns a file name into the path of the file.

    ``mb_per_processor`` and ``disk_gb_per_processor`` are the site's own settings, None where it has none.
    """
    converted = Converted()
    left = {key: str(value).strip() for key, value in options.items()}
    _model(left, converted)
    _sources(left, converted, place)
    _numbers(left, converted)
    _sizes(left, converted, mb_per_processor, disk_gb_per_processor)
    _accounting(left, converted)
    _devices(left, converted)
    if left.pop("user_data_proxy", "").lower() == "true":
        converted.keys["user_data_proxy"] = True
        converted.notes.append(
            "user_data_proxy: set user_data_proxy_cert and user_data_proxy_key to where the certificate and key are"
        )
    for key in sorted(left):
        converted.notes.append(f"{key}: not converted: {_NOT_OURS.get(key, 'no such option is known')}")
    return converted


def whole_number(text: str) -> int | None:
    """A number of seconds, GB or processors; None if it is none."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _model(left: dict[str, str], converted: Converted) -> None:
    model = left.pop("machine_model", left.pop("vm_model", DEFAULT_MODEL))
    if model in KINDS:
        converted.keys["kind"] = KINDS[model]
        return
    converted.usable = False
    what = "a container, and only VMs are made here" if model in CONTAINERS else "not known"
    converted.notes.append(f"machine_model: {model} is {what}; the machinetype is left out")


def _sources(left: dict[str, str], converted: Converted, place: Callable[[str], str]) -> None:
    """Image, template, options and files; a value of one line stays what it is."""
    for key, ours in (("root_image", "image"), ("user_data", "user_data")):
        value = left.pop(key, "")
        if value.startswith("http://"):
            converted.notes.append(f"{key}: {value} is not safe against changes on the way; using https instead")
            value = "https" + value[4:]
        if value:
            converted.keys[ours] = value if "://" in value else place(value)
    signing_dn = left.pop("image_signing_dn", left.pop("cernvm_signing_dn", ""))
    if signing_dn:
        converted.keys["image_signing_dn"] = signing_dn
    for key in [key for key in left if key.startswith((OPTION, FILE))]:
        prefix, ours = (OPTION, "user_data_options") if key.startswith(OPTION) else (FILE, "user_data_files")
        name, value = key[len(prefix) :], left.pop(key)
        if not _NAME.fullmatch(name):
            converted.notes.append(f"{key}: not converted: its name must be letters, digits and _")
            continue
        converted.keys.setdefault(ours, {})[name] = value if prefix == OPTION else place(value)
    if left.get("heartbeat_file"):
        converted.keys["heartbeat_file"] = left["heartbeat_file"]
    left.pop("heartbeat_file", None)


def _numbers(left: dict[str, str], converted: Converted) -> None:
    for key in _NUMBERS:
        if key not in left:
            continue
        text = left.pop(key)
        number = whole_number(text)
        if number is None:
            converted.notes.append(f"{key}: not converted: {text[:40]!a} is not a whole number")
        else:
            converted.keys[key] = number
    shortest, longest = left.pop("min_wallclock_seconds", None), converted.keys.get("max_wallclock_seconds", 86400)
    if shortest is not None and shortest != str(longest):
        converted.notes.append("min_wallclock_seconds: not converted: every VM may run for max_wallclock_seconds")


def _sizes(left: dict[str, str], converted: Converted, mb: int | None, disk: int | None) -> None:
    least = whole_number(left.pop("min_processors", "1")) or 1
    processors = whole_number(left.pop("max_processors", "1")) or 1
    if processors < least:
        converted.notes.append(f"max_processors: {processors} is below min_processors; using {least}")
        processors = least
    if least != processors:
        converted.notes.append(f"min_processors: not converted: VMs have one size here, {processors} processors")
    converted.keys["processors"] = processors
    converted.keys["memory_mb"] = processors * (mb or DEFAULT_MB_PER_PROCESSOR)
    own = whole_number(left.pop("disk_gb_per_processor", ""))
    gigabytes = (disk if own is None else own) or 0
    if gigabytes:
        # Vac's GB are 10^9 bytes, and it makes one disk, which a CernVM uses as its cache.
        size = math.ceil(gigabytes * processors * 10**9 / 2**30)
        cernvm = converted.keys.get("kind") == "cernvm"
        converted.keys["cvmfs_cache_gb"] = max(size, 20) if cernvm else 0
        converted.keys["scratch_gb"] = 0 if cernvm else size


def _accounting(left: dict[str, str], converted: Converted) -> None:
    fqan = left.pop("accounting_fqan", "")
    vo = re.match(r"/([A-Za-z0-9._-]+)", fqan)
    if vo is not None:
        converted.keys["accounting_group"] = f"group_{re.sub('[.-]', '_', vo[1])}"
        converted.notes.append(f"accounting_fqan: {fqan} became accounting_group {converted.keys['accounting_group']}")
    elif fqan:
        converted.notes.append(f"accounting_fqan: not converted: {fqan[:80]!a} names no VO")
    share = left.pop("target_share", "")
    if share:
        try:
            converted.keys["target_share"] = number(share)
        except ValueError as error:
            converted.notes.append(f"target_share: not converted: {error}")


def number(text: str) -> float:
    """A share; raises ValueError for what is not a number from 0 to 10^9."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1e9:
        raise ValueError(f"{text[:40]!a} is not a number of 0 or more")
    return value


def _devices(left: dict[str, str], converted: Converted) -> None:
    for key, ours in (("root_device", "vda"), ("scratch_device", "vdb")):
        device = left.pop(key, ours)
        if device != ours:
            converted.notes.append(f"{key}: not converted: {device[:20]!a}; disks are vda, vdb, ... in this order")
