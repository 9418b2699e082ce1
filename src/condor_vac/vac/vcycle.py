# SPDX-License-Identifier: GPL-3.0-or-later
"""Vcycle's configuration files as inventory data. Source: vcycle.conf(5) and shared.py of Vcycle.

A Vcycle has several spaces, each a cloud with machinetypes of its own: [space S], [machinetype S NAME] and
[vacuum_pipe S PREFIX]. Here the VMs run on the pool's worker nodes, so the clouds are left out, and said to be.
"""

from __future__ import annotations

import configparser
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from condor_vac.base.errors import UsageError
from condor_vac.base.shared import MACHINETYPE_NAME, MACHINETYPE_NAME_REMEDY
from condor_vac.vac import options as vac_options
from condor_vac.vac.inventory_data import Imported
from condor_vac.vac.numbers import whole_number

SECTIONS = ("machinetype", "vmtype", "vacuum_pipe")
HOME = "/var/lib/vcycle/spaces/{}/machinetypes/{}"
NO_LIMIT = "max_machines: no processors_limit is set; the default here is 1000"
_OUTPUTS = "not needed: outputs always come back with the VM's job"
_FLAVOR = "not converted: the sizes are processors, memory_mb and disk_gb_per_processor here; set those of the flavor"
_NOT_OURS = {
    "flavor_name": _FLAVOR,
    "flavor_names": _FLAVOR,
    "https_x509dn": "not needed: a VM writes its outputs without a certificate",
    "x509dn": "not needed: a VM writes its outputs without a certificate",
    "cvmfs_proxy_machinetype": "not converted: set user_data_options cvmfs_proxy to the site's own proxies",
    **dict.fromkeys(
        (
            "log_joboutputs", "joboutputs_days", "remote_joboutputs_url", "remote_joboutputs_cert",
            "remote_joboutputs_key",
        ),
        _OUTPUTS,
    ),
}  # fmt: skip
_OLD = {"cpu_per_machine": "min_processors", "processors_per_machine": "min_processors"}


def convert(parser: configparser.RawConfigParser, imported: Imported) -> None:
    """Add what Vcycle's sections define to ``imported``. Raises UsageError for what is not a name."""
    spaces: dict[str, dict[str, str]] = {}
    found = []
    for section in parser.sections():
        kind, *names = section.lower().split() or [""]
        options = {key: (value or "").strip() for key, value in parser.items(section)}
        if kind == "space" and len(names) == 1:
            spaces.setdefault(names[0], {}).update(options)
        elif kind in SECTIONS and len(names) == 2:
            if not re.fullmatch(MACHINETYPE_NAME, names[1]):
                raise UsageError(f"[{section}]: the name {MACHINETYPE_NAME_REMEDY}")
            found.append((kind, names[0], names[1], options))
    for space, options in spaces.items():
        _note_space(space, options, imported)
    pipes = {(space, name) for kind, space, name, _options in found if kind == "vacuum_pipe"}
    times = Counter(name for _kind, _space, name, _options in found)
    for kind, space, name, options in found:
        # Vcycle manages machinetypes of one name in two spaces separately.
        ours = name if times[name] == 1 else _with_space(name, space)
        if kind == "vacuum_pipe":
            _pipe(ours, space, name, options, spaces.get(space, {}), imported)
        elif any(space == of and name.startswith(f"{prefix}-") for of, prefix in pipes):
            _change(ours, HOME.format(space, name), options, imported)
        else:
            _machinetype(ours, space, name, options, spaces.get(space, {}), imported)


def _with_space(name: str, space: str) -> str:
    return f"{re.sub('[^a-z0-9-]', '-', space)}-{name}"[-64:]


def _note_space(space: str, options: Mapping[str, str], imported: Imported) -> None:
    """Names of options only: among their values are passwords."""
    known = {"processors_limit", "max_processors", "volume_gb_per_processor"}
    left = ", ".join(sorted(set(options) - known))
    imported.note("", f"[space {space}]: left out, because VMs run on the pool's worker nodes and on no cloud: {left}")
    if known & set(options) - {"volume_gb_per_processor"}:
        imported.note("", f"[space {space}]: processors_limit: not converted: set max_machines for each machinetype")


def _machinetype(
    ours: str, space: str, name: str, options: Mapping[str, str], of_space: Mapping[str, str], imported: Imported
) -> None:
    left = {_OLD.get(key, key): value for key, value in options.items()}
    limits = {key: left.pop(key, "") for key in ("processors_limit", "max_starting_processors")}
    if left.get("root_image", "").startswith("image:"):
        image = left.pop("root_image")
        imported.note(ours, f"root_image: not converted: {image} is in the cloud; set image to its https URL or file")
    if of_space.get("volume_gb_per_processor", "0") != "0":
        left.setdefault("disk_gb_per_processor", of_space["volume_gb_per_processor"])
    guessed = "machine_model" not in left
    if guessed:
        left["machine_model"] = "cernvm3" if left.get("root_image", "").lower().endswith(".iso") else "vm-raw"
    converted = _converted(left, options.get("machinetype_path") or HOME.format(space, name))
    if not converted.usable:
        imported.note(ours, converted.ignored[-1])
        return
    if guessed:
        kind = converted.keys["kind"]
        imported.note(ours, f"kind: {kind}, by the image's name, because Vcycle has no models; check it")
    keys = vac_options.or_off({**converted.keys, "space": space}, converted)
    _limit(keys, limits, ours, imported)
    imported.note(ours, *vac_options.fit(keys), *converted.ignored, *converted.notes)
    imported.add(ours, keys, NO_LIMIT)


def _change(ours: str, home: str, options: Mapping[str, str], imported: Imported) -> None:
    """A section that changes a machinetype of a pipe: what it does not say stays the pipe's."""
    left = {_OLD.get(key, key): value for key, value in options.items()}
    limits = {key: left.pop(key, "") for key in ("processors_limit", "max_starting_processors")}
    converted = _converted(left, options.get("machinetype_path") or home)
    imported.add_change(ours, converted.keys)
    for key, value in limits.items():
        if value:
            imported.note(ours, f"{key}: not converted: {value}; set max_machines, divided by the VM's processors")
    imported.note(ours, *converted.ignored, *converted.notes)


def _limit(keys: dict[str, Any], limits: Mapping[str, str], name: str, imported: Imported) -> None:
    """Limits on processors as limits on VMs."""
    for key, ours in (("processors_limit", "max_machines"), ("max_starting_processors", "max_starting")):
        number = whole_number(limits[key])
        if number is None or ours in keys:
            continue
        keys[ours] = number // keys.get("processors", 1)
        imported.note(name, f"{key}: {number} became {ours} {keys[ours]}")
    if "max_starting" in keys:
        keys["max_starting"] = min(keys["max_starting"], keys.get("max_machines", 10))


def _pipe(
    ours: str, space: str, name: str, options: Mapping[str, str], of_space: Mapping[str, str], imported: Imported
) -> None:
    left = dict(options)
    url = left.pop("vacuum_pipe_url", "")
    if not url:
        imported.note("", f"[vacuum_pipe {space} {name}]: vacuum_pipe_url: missing; left out")
        return
    limit = left.pop("processors_limit", "")
    home = HOME.format(space, name)
    converted = _converted({_OLD.get(key, key): value for key, value in left.items()}, home)
    if limit:
        imported.note(ours, f"processors_limit: not converted: {limit}; set max_machines")
    imported.note(ours, *converted.ignored, *converted.notes)
    weakest = {"disk_gb_per_processor": whole_number(of_space.get("volume_gb_per_processor", "0"))}
    imported.add_pipe(ours, url, home, {**converted.keys, "space": space}, weakest)


def _converted(options: Mapping[str, str], home: str) -> vac_options.Converted:
    """What a section says; options that only Vcycle has are among ``ignored``."""
    ours = {key: value for key, value in options.items() if key not in _NOT_OURS and key != "machinetype_path"}
    converted = vac_options.machinetype(ours, vac_options.in_home(home), whole=False)
    converted.ignored[:0] = [f"{key}: {_NOT_OURS[key]}" for key in options if key in _NOT_OURS]
    return converted
