# SPDX-License-Identifier: GPL-3.0-or-later
"""Vacuum pipes: machinetypes that an experiment publishes as JSON, for sites to take up by their names.

Formats are Vac's: ``{"cache_seconds": N, "machinetypes": [{"suffix": ..., ...}]}`` since Vac 3, before that
one flat object. Rules are those of Vac's readConf (shared.py) and vac.conf(5): options that are not on the
list are ignored, the site's own settings win, the name is PREFIX-suffix, a pipe can name no file of the site
outside the directory that the site keeps for it, and shares count within the pipe. A machinetype of a pipe that could
not be deployed is left out alone (``judge``): no experiment can stop another's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from condor_vac.base import atomic, cached_fetch, fetch, http_proxy, json_text, public_hosts, urls
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.fetch import Access, Limits
from condor_vac.base.http_proxy import HttpProxy
from condor_vac.base.shared import MACHINETYPE_NAME, one_line
from condor_vac.base.x509 import grid_ca
from condor_vac.model.machinetype_keys import sizes
from condor_vac.vac import judge, layers
from condor_vac.vac import options as vac_options
from condor_vac.vac.numbers import decimal, whole_number

LIMITS = Limits(bytes=1 << 20, seconds=30, idle_seconds=10)
MOST_MACHINETYPES = 64
# What is said of a pipe, and of one option of it: a pipe can have as many options as fit into LIMITS.
MOST_SENTENCES = 200
MOST_OPTIONS = 200
SENTENCE_LIMIT = 300
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
_NOTHING: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
# Keys of the inventory's vacuum_pipes that are about the pipe itself.
_OF_THE_PIPE = ("url", "last_good_seconds", "private_hosts")
# Longer whole numbers than any that means something here; Python refuses to read or write some of them.
_DIGITS = 30
# What Vac gives a machinetype for which nobody says anything (gbDiskPerProcessorDefault in shared.py).
VAC_DEFAULTS: Mapping[str, Any] = {"disk_gb_per_processor": 40}


@dataclass(frozen=True)
class _Site:
    """What the site says of a pipe. See ``read``."""

    prefix: str
    settings: Mapping[str, Any]
    machinetypes: Mapping[str, Mapping[str, Any]]
    # The sum of the shares in the pipe.
    total: float
    # Hosts that are not public, to which its URLs may lead nevertheless.
    private_hosts: str


@dataclass
class Pipe:
    """What a pipe offers: name → keys of a machinetype, complete with the site's settings and all sizes.

    ``left_out`` is name → reason of those that could not be deployed, ``ignored`` are sentences on what else was lost,
    and ``notes`` are all sentences: each one printable line, and no more than MOST_SENTENCES. ``age`` is in seconds
    since the server confirmed the pipe, None for a file; ``problem`` is why it could not now.
    """

    cache_seconds: int = DEFAULT_CACHE_SECONDS
    machinetypes: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    age: float | None = None
    problem: str | None = None

    def lose(self, *sentences: str) -> None:
        """Note what of the pipe is lost."""
        _say(self.ignored, sentences)
        self.note(*sentences)

    def note(self, *sentences: str) -> None:
        """Note what became of the pipe's words."""
        _say(self.notes, sentences)

    def leave_out(self, name: str, reason: str) -> None:
        """Note that a machinetype could not be deployed."""
        self.left_out[name] = one_line(reason, SENTENCE_LIMIT)
        self.note(f"{name}: left out: {reason}")


def _say(said: list[str], sentences: Iterable[str]) -> None:
    """Add the sentences, each as one printable line, as long as there are not too many."""
    for sentence in sentences:
        if len(said) < MOST_SENTENCES:
            said.append(one_line(sentence, SENTENCE_LIMIT))
        elif len(said) == MOST_SENTENCES:
            said.append("more of the kind: ask the experiment to correct its pipe")


def read(
    source: str,
    prefix: str,
    local: Mapping[str, Any],
    cache: str | None = None,
    keep_seconds: float = KEEP_SECONDS,
    *,
    machinetypes: Mapping[str, Mapping[str, Any]] = _NOTHING,
    proxy: HttpProxy | None = None,
) -> Pipe:
    """The pipe at an https URL, or in a file.

    Raises VacError if there is none, and no good copy in ``cache``; UsageError for what the site itself wrote wrong.

    ``local`` are the site's settings for all its machinetypes (keys of a machinetype); ``target_share`` among them is
    divided by the shares in the pipe, ``files`` is the directory of the files that a pipe may name, and ``defaults``
    are settings that the pipe's own win over. URLs of the pipe may lead to public addresses, to the pipe's own host and
    to ``private_hosts`` alone. ``machinetypes`` is name → settings of single ones, which win over all.
    """
    copy = None
    access = Access(grid_ca(), proxy)
    if not urls.is_url(source):
        data = atomic.read(source, LIMITS.bytes)
    elif (wrong := _wrong_url(source)) is not None:
        raise UsageError(wrong)
    elif cache is None:
        data = fetch.get(source, LIMITS, access=access)
    else:
        copy = cached_fetch.latest(
            source,
            cache,
            LIMITS,
            fresh_seconds=_cache_seconds(cache),
            keep_seconds=keep_seconds,
            check=lambda found: parse(found, source),
            access=access,
        )
        data = copy.data
    pipe = expand(parse(data, source), prefix, local, machinetypes, source)
    if copy is not None:
        pipe.age, pipe.problem = copy.age, copy.problem
    return pipe


def _wrong_url(source: str) -> str | None:
    try:
        urls.check_url(source)
    except VacError as error:
        return str(error)
    return None


def parse(data: bytes, source: str) -> dict[str, Any]:
    """The pipe's object; in the flat format its machinetype has no suffix. Raises VacError."""
    try:
        found = json_text.loads(data, parse_int=_integer)
    except ValueError as error:
        raise VacError(f"{source}: not JSON: {str(error)[:120]}; report it to the experiment") from error
    if not isinstance(found, dict):
        raise VacError(f"{source}: not a JSON object; is it a vacuum pipe?")
    offers = found.get("machinetypes", [{key: value for key, value in found.items() if key != "cache_seconds"}])
    good = isinstance(offers, list) and any(isinstance(offer, dict) for offer in offers)
    if not good or not offers or len(offers) > MOST_MACHINETYPES:
        raise VacError(f"{source}: machinetypes: must be a list of 1 to {MOST_MACHINETYPES} objects; is it a pipe?")
    if "machinetypes" not in found and not {"user_data", "root_image"} & set(found):
        raise VacError(f"{source}: neither machinetypes nor user_data; is it a vacuum pipe?")
    return {
        "cache_seconds": _bounded(found.get("cache_seconds")),
        "machinetypes": offers,
        "flat": "machinetypes" not in found,
    }


def expand(
    found: Mapping[str, Any],
    prefix: str,
    local: Mapping[str, Any],
    machinetypes: Mapping[str, Mapping[str, Any]] = _NOTHING,
    source: str = "",
) -> Pipe:
    """The machinetypes of what ``parse`` returned, with the site's settings as in ``read``; ``source`` is the pipe.

    Raises UsageError for a prefix that is not a name, and for a setting of the site that no machinetype can have.
    """
    if not re.fullmatch(MACHINETYPE_NAME, prefix):
        raise UsageError(f"prefix {prefix!a}: must be 1 to 64 lower-case letters, digits and -")
    pipe = Pipe(found["cache_seconds"])
    offers = [offer for offer in found["machinetypes"] if isinstance(offer, Mapping)]
    pipe.lose(*["a machinetype that is no JSON object is left out"] * (len(found["machinetypes"]) - len(offers)))
    total = sum(_share(offer) for offer in offers)
    site = _Site(prefix, local, machinetypes, total, _private_hosts(local.get("private_hosts"), source))
    for offer in offers:
        name = _name(offer, prefix, flat=found["flat"])
        if name is None:
            suffix = str(offer.get("suffix"))[:40]
            pipe.lose(f"a machinetype with the suffix {suffix!a} is left out: it has no name")
        elif name in pipe.machinetypes or name in pipe.left_out:
            pipe.lose(f"{name}: a second machinetype of that suffix is left out")
        else:
            _add(pipe, name, offer, site)
    return pipe


def _private_hosts(given: object, source: str) -> str:
    """The hosts that the site names, and the pipe's own, in one text. Raises UsageError for what is no list of hosts.

    The site itself has written the pipe's URL, and a server that is asked by that name has to have its certificate.
    """
    public_hosts.named(given)
    words = [given] if isinstance(given, str) else [str(word) for word in given] if isinstance(given, list) else []
    if urls.is_url(source):
        parts = urls.parse(source)
        words.append(http_proxy.authority(parts.hostname or "", parts.port or 443))
    return ",".join(words)


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= _DIGITS else float(digits)


def _name(offer: Mapping[str, Any], prefix: str, *, flat: bool) -> str | None:
    """The machinetype's name, None if it can have none. A suffix may be a number, as in Vac."""
    suffix = offer.get("suffix")
    number = isinstance(suffix, int) and not isinstance(suffix, bool)
    if not flat and not number and not (isinstance(suffix, str) and suffix):
        return None
    name = prefix if flat else f"{prefix}-{suffix}"
    return name if re.fullmatch(MACHINETYPE_NAME, name) else None


def _add(pipe: Pipe, name: str, offer: Mapping[str, Any], site: _Site) -> None:
    """Add one machinetype, with all layers of settings, or why it is left out.

    Raises UsageError where it is the site's own settings that are wrong.
    """
    own = {key: value for key, value in site.settings.items() if key not in _OF_THE_PIPE}
    files, share, weakest = own.pop("files", site.prefix), own.pop("target_share", None), own.pop("defaults", None)
    options, ignored = _accepted(offer)
    options.pop("target_share", None)
    converted = vac_options.machinetype(options, lambda file: f"{files}/{file}", whole=True)
    if not converted.usable:
        pipe.leave_out(name, converted.ignored[-1])
        return
    pipe.lose(*(f"{name}: {sentence}" for sentence in (*ignored, *converted.ignored)))
    notes = list(converted.notes)
    keys = layers.over(layers.over(VAC_DEFAULTS, weakest or {}), converted.keys)
    keys = layers.over(keys, own)
    notes += _needed(converted.keys, f"{files}/")
    section = site.machinetypes.get(name, {})
    part = section["target_share"] if "target_share" in section else _part(offer, share, site.total)
    if part == 0:
        keys = layers.over(keys, layers.OFF)
        notes.append(layers.OFF_NOTE)
    elif part is not None:
        keys["target_share"] = part
    keys = layers.over(keys, section)
    notes += vac_options.fit(keys)
    written = [key for key in ("image", "user_data") if urls.is_url(converted.keys.get(key, ""))]
    of_pipe = {key: site.private_hosts for key in written if keys.get(key) == converted.keys[key]}
    if of_pipe:
        keys["pipe_urls"] = of_pipe
    reason = judge.reason(name, keys)
    if reason is not None:
        _check_site(name, weakest or {}, own, section)
    if reason is None:
        pipe.machinetypes[name] = {**keys, **sizes(keys)}
        pipe.note(*(f"{name}: {note}" for note in notes))
    else:
        pipe.leave_out(name, reason)


def _needed(keys: Mapping[str, Any], files: str) -> list[str]:
    """A sentence for each file of the site that a machinetype of a pipe names."""
    named = {key: keys.get(key) for key in ("image", "user_data")}
    named.update({f"user_data_files.{name}": path for name, path in keys.get("user_data_files", {}).items()})
    return [f"{key}: needs the site's file {path}" for key, path in named.items() if str(path).startswith(files)]


def _check_site(name: str, *layers_of_site: Mapping[str, Any]) -> None:
    """Raises UsageError if no machinetype at all could have the site's settings: then the pipe is not to blame."""
    keys: dict[str, Any] = {"kind": "cernvm", "image": "any.iso", "user_data": "any"}
    for layer in layers_of_site:
        keys = layers.over(keys, layer)
    vac_options.fit(keys)
    reason = judge.reason(name, keys)
    if reason is not None:
        raise UsageError(f"{name}: {reason}; it is one of the site's own settings, correct it")


def _part(offer: Mapping[str, Any], share: float | None, total: float) -> float | None:
    """A machinetype's part of the pipe's share; 0 is off, and None no share, where neither site nor pipe has one."""
    own = _share(offer)
    if share is not None:
        return float(share) * own / total if total else 0.0
    return 0.0 if own == 0 and (total > 0 or "target_share" in offer) else None


def _accepted(offer: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The options that a pipe may set, as text, and sentences on the others."""
    options: dict[str, str] = {}
    notes = []
    if len(offer) > MOST_OPTIONS:
        notes.append(f"of {len(offer)} options the first {MOST_OPTIONS} count")
    for key, value in list(offer.items())[:MOST_OPTIONS]:
        shown = ascii(str(key)[:60])[1:-1]
        if key == "suffix":
            continue
        if key not in ACCEPTED and not key.startswith(_PREFIXES):
            notes.append(f"{shown}: ignored: a pipe cannot set it")
        elif not _is_value(value):
            notes.append(f"{shown}: ignored: neither text nor a number")
        elif (wrong := _wrong_path(key, str(value))) is not None:
            notes.append(f"{shown}: ignored: {wrong}")
        else:
            options[key] = str(value)
    return options, notes


def _is_value(value: Any) -> bool:
    """Whether it is text that a file can hold, of no size that only does harm, or a number."""
    if isinstance(value, str):
        return len(value) <= _VALUE_LIMIT and not re.search("[\ud800-\udfff]", value)
    return isinstance(value, (int, float))


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
    """The share that the pipe gives a machinetype, 0 if none."""
    return decimal(str(offer.get("target_share", 0))) or 0.0


def _bounded(value: Any) -> int:
    number = whole_number(str(value))
    return min(max(DEFAULT_CACHE_SECONDS if number is None else number, CACHE_SECONDS[0]), CACHE_SECONDS[1])


def _cache_seconds(cache: str) -> float:
    """For how long the copy counts as fresh, in the pipe's own words; 0 if there is no good copy."""
    if not os.path.exists(cache):
        return 0
    try:
        return float(parse(atomic.read(cache, LIMITS.bytes), cache)["cache_seconds"])
    except VacError:
        return 0
