# SPDX-License-Identifier: GPL-3.0-or-later
"""Vacuum pipes: machinetypes that an experiment publishes as JSON, for sites to take up by their names.

Formats are Vac's: ``{"cache_seconds": N, "machinetypes": [{"suffix": ..., ...}]}`` since Vac 3, before that
one flat object. Rules are those of Vac's readConf (shared.py) and vac.conf(5): options that are not on the
list are ignored, the site's own settings win, the name is PREFIX-suffix, a pipe can name no file of the site
outside the directory that the site keeps for it, and shares count within the pipe.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from condor_vac.base import atomic, cached_fetch, fetch, urls
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.fetch import Limits
from condor_vac.base.shared import MACHINETYPE_NAME
from condor_vac.base.x509 import grid_ca
from condor_vac.vac import options as vac_options

LIMITS = Limits(bytes=1 << 20, seconds=30, idle_seconds=10)
MOST_MACHINETYPES = 64
DEFAULT_CACHE_SECONDS = 3600
CACHE_SECONDS = (60, 7 * 86400)
KEEP_SECONDS = 7 * 86400

# vac.conf(5), VACUUM PIPES.
ACCEPTED = frozenset(
    {
        "accounting_fqan", "backoff_seconds", "container_command", "cvmfs_repositories", "disk_gb_per_processor",
        "fizzle_seconds", "heartbeat_file", "heartbeat_seconds", "image_signing_dn", "legacy_proxy",
        "machine_model", "max_processors", "max_wallclock_seconds", "min_processors", "min_wallclock_seconds",
        "root_device", "root_image", "scratch_device", "suffix", "target_share", "tmp_binds", "user_data",
        "user_data_proxy",
    }
)  # fmt: skip
_PREFIXES = (vac_options.OPTION, vac_options.FILE)
_VALUE_LIMIT = 1 << 16


@dataclass
class Pipe:
    """What a pipe offers: name → keys of a machinetype, and sentences on what was left out and why.

    ``age`` is in seconds since the server confirmed it, None for a file; ``problem`` is why it could not now.
    """

    cache_seconds: int = DEFAULT_CACHE_SECONDS
    machinetypes: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    age: float | None = None
    problem: str | None = None


def read(
    source: str, prefix: str, local: Mapping[str, Any], cache: str | None = None, keep_seconds: float = KEEP_SECONDS
) -> Pipe:
    """The pipe at an https URL, or in a file. Raises VacError if there is none, and no good copy in ``cache``.

    ``local`` are the site's settings for all its machinetypes (keys of a machinetype); ``target_share`` among them is
    divided by the shares in the pipe. ``files`` is the directory of the files that a pipe may name.
    """
    copy = None
    if not urls.is_url(source):
        data = atomic.read(source, LIMITS.bytes)
    elif cache is None:
        data = fetch.get(source, LIMITS, ca=grid_ca())
    else:
        copy = cached_fetch.latest(
            source,
            cache,
            LIMITS,
            fresh_seconds=_cache_seconds(cache),
            keep_seconds=keep_seconds,
            check=lambda found: parse(found, source),
            ca=grid_ca(),
        )
        data = copy.data
    pipe = expand(parse(data, source), prefix, local)
    if copy is not None:
        pipe.age, pipe.problem = copy.age, copy.problem
    return pipe


def parse(data: bytes, source: str) -> dict[str, Any]:
    """The pipe's object; in the flat format its machinetype has no suffix. Raises VacError."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise VacError(f"{source}: not JSON: {str(error)[:120]}; report it to the experiment") from error
    if not isinstance(found, dict):
        raise VacError(f"{source}: not a JSON object; is it a vacuum pipe?")
    offers = found.get("machinetypes", [{key: value for key, value in found.items() if key != "cache_seconds"}])
    good = isinstance(offers, list) and all(isinstance(offer, dict) for offer in offers)
    if not good or not offers or len(offers) > MOST_MACHINETYPES:
        raise VacError(f"{source}: machinetypes: must be a list of 1 to {MOST_MACHINETYPES} objects; is it a pipe?")
    if "machinetypes" not in found and not {"user_data", "root_image"} & set(found):
        raise VacError(f"{source}: neither machinetypes nor user_data; is it a vacuum pipe?")
    return {
        "cache_seconds": _bounded(found.get("cache_seconds")),
        "machinetypes": offers,
        "flat": "machinetypes" not in found,
    }


def expand(found: Mapping[str, Any], prefix: str, local: Mapping[str, Any]) -> Pipe:
    """The machinetypes of what ``parse`` returned. Raises UsageError for a prefix that is not a name."""
    if not re.fullmatch(MACHINETYPE_NAME, prefix):
        raise UsageError(f"prefix {prefix!a}: must be 1 to 64 lower-case letters, digits and -")
    pipe = Pipe(found["cache_seconds"])
    own = dict(local)
    files, share = own.pop("files", prefix), own.pop("target_share", None)
    total = sum(_share(offer) for offer in found["machinetypes"])
    for offer in found["machinetypes"]:
        suffix = offer.get("suffix")
        name = prefix if found["flat"] else f"{prefix}-{suffix}"
        named = found["flat"] or (isinstance(suffix, str) and suffix)
        if not named or not re.fullmatch(MACHINETYPE_NAME, name):
            pipe.notes.append(f"a machinetype with the suffix {str(suffix)[:40]!a} is left out: it has no name")
            continue
        if name in pipe.machinetypes:
            pipe.notes.append(f"{name}: a second machinetype of that suffix is left out")
            continue
        options, notes = _accepted(offer)
        converted = vac_options.machinetype(options, lambda file: f"{files}/{file}")
        pipe.notes += [f"{name}: {note}" for note in (*notes, *converted.notes)]
        if not converted.usable:
            continue
        keys = converted.keys
        keys.pop("target_share", None)
        if share is not None:
            keys["target_share"] = float(share) * _share(offer) / total if total else 0.0
        pipe.machinetypes[name] = _merged(keys, own)
    return pipe


def _accepted(offer: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The options that a pipe may set, as text, and sentences on the others."""
    options: dict[str, str] = {}
    notes = []
    for key, value in offer.items():
        shown = ascii(str(key)[:60])[1:-1]
        if key == "suffix":
            continue
        if key not in ACCEPTED and not key.startswith(_PREFIXES):
            notes.append(f"{shown}: ignored: a pipe cannot set it")
        elif isinstance(value, (dict, list)) or value is None or len(str(value)) > _VALUE_LIMIT:
            notes.append(f"{shown}: ignored: neither text nor a number")
        elif (wrong := _wrong_path(key, str(value))) is not None:
            notes.append(f"{shown}: ignored: {wrong}")
        else:
            options[key] = str(value)
    return options, notes


def _wrong_path(key: str, value: str) -> str | None:
    """Why a pipe's value may not be used as a path or URL; None if it may."""
    if key.startswith(vac_options.FILE) or key in {"heartbeat_file", "user_data", "root_image"}:
        if not value.isprintable() or value.startswith("."):
            return "not the name of a file"
        if key.startswith(vac_options.FILE) or key == "heartbeat_file":
            return "must be a file name without /" if "/" in value else None
        if ".." in value.split("/"):
            return "must have no .. in it"
        if "/" in value and not value.startswith(("http://", "https://")):
            return "must be an https URL, or a file name without /"
    return None


def _share(offer: Mapping[str, Any]) -> float:
    try:
        return vac_options.number(str(offer.get("target_share", 0)))
    except ValueError:
        return 0.0


def _merged(keys: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The site's settings over the pipe's; names of options and files each for itself."""
    result = {**keys, **own}
    for key, value in own.items():
        if isinstance(value, Mapping) and isinstance(keys.get(key), dict):
            result[key] = {**keys[key], **value}
    return result


def _bounded(value: Any) -> int:
    number = vac_options.whole_number(str(value))
    return min(max(DEFAULT_CACHE_SECONDS if number is None else number, CACHE_SECONDS[0]), CACHE_SECONDS[1])


def _cache_seconds(cache: str) -> float:
    """For how long the copy counts as fresh, in the pipe's own words; 0 if there is no good copy."""
    if not os.path.exists(cache):
        return 0
    try:
        return float(parse(atomic.read(cache, LIMITS.bytes), cache)["cache_seconds"])
    except VacError:
        return 0
