# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of a machinetype: the one place that declares their names, checks, defaults, units and meanings.

``python -m tests.machinetype_keys`` writes what is made from this table: the fields of ``Machinetype`` and of the
policy's ``Limits``, the role's argument spec, tables in docs, and the JSON Schema for editors. A unit test compares.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from condor_vac.base import fields as f
from condor_vac.base import urls
from condor_vac.base.errors import VacError
from condor_vac.base.shared import ACCOUNTING_GROUP, ACCOUNTING_GROUP_REMEDY, MEMORY_MB_PER_PROCESSOR
from condor_vac.model import accounting

# In the place of a default: the key must be given.
REQUIRED = object()

_YEAR = 366 * 86400
_VMS = f.integer(0, 1_000_000)
# What a placeholder can hold (user_data.py).
_OPTION_NAME = f.matching(r"[A-Za-z0-9_]{1,128}", "the name must be letters, digits and _")
_FEATURES = f.mapping_of(f.matching(r"[A-Za-z0-9_]{1,64}", "the name must be letters, digits and _"), f.line())
_GROUP = f.matching(ACCOUNTING_GROUP, ACCOUNTING_GROUP_REMEDY)
_FQAN = f.matching(accounting.FQAN, accounting.FQAN_REMEDY)
_SITENAME = f.matching(accounting.SITENAME, accounting.SITENAME_REMEDY)

# What a CernVM's cache needs at least.
_LEAST_CACHE_GB = 20

# Nobody changes the default of a mapping.
_NOTHING: Mapping[str, str] = MappingProxyType({})


def _path_or_url(value: Any) -> str:
    if not isinstance(value, str) or not urls.is_url(value):
        return str(f.absolute_path(value))
    try:
        return urls.check_url(value)
    except VacError as error:
        raise ValueError(str(error)) from error


class Key(NamedTuple):
    """One key of a machinetype.

    ``text`` is what a site reads of it, in Markdown; files are then on the controller. ``policy`` is whether the
    factory's policy uses the key. A default that is ``capped`` is lowered to ``max_machines`` where that is less, and
    one that has a ``part`` raised to one VM for so many of ``max_machines`` where that is more.
    ``sizes`` has the defaults that follow ``processors``.
    """

    name: str
    rule: f.Rule
    default: Any
    text: str
    unit: str = ""
    policy: bool = False
    capped: bool = False
    part: int = 0


KEYS = (
    Key("name", f.machinetype_name, REQUIRED, "Its name: lower-case letters, digits and -."),
    Key(
        "kind", f.one_of("cernvm", "cloud-init"), REQUIRED,
        "How the image takes its user data: `cernvm` is CernVM 3 and 4 (context.sh and the amiconfig sections),"
        " `cloud-init` is any image with cloud-init (CernVM 5, Enterprise Linux, Debian).",
    ),
    Key(
        "image", f.absolute_path, REQUIRED,
        "The image that the VMs boot, a file on the controller or an https URL. Worker nodes keep it by its file name;"
        " if machinetypes have different images of one name, each gets eight digits more.",
    ),
    Key(
        "image_format", f.one_of("iso", "raw", "qcow2"), None,
        "Format of the image. The default follows the suffix of `image` (.iso, .qcow2; .raw, .img and .hdd are raw).",
    ),
    Key(
        "user_data", f.Rule(_path_or_url, {"type": "string"}), REQUIRED,
        "The template of the user data, a file on the controller or an https URL. The factory reads a URL again before"
        " VMs start; none starts while its server does not answer.",
    ),
    Key(
        "pipe_urls", f.mapping_of(f.one_of("image", "user_data"), f.text(4096)), _NOTHING,
        "Which of `image` and `user_data` are URLs that a vacuum pipe wrote; `vacuum_pipes` sets it. Such a URL, and"
        " what it redirects to, may lead to public addresses and to the pipe's `private_hosts` alone, which are the"
        " value.",
    ),
    Key(
        "user_data_last_good_seconds", f.integer(0, _YEAR), 0,
        "How old the factory's copy of `user_data` may be to serve while the server of its URL does not answer.", "s",
    ),
    Key(
        "user_data_options", f.mapping_of(_OPTION_NAME, f.text(1 << 16)), _NOTHING,
        "Name to text of each `##user_data_option_NAME##`. May hold secrets: no diff and no log shows them.",
    ),
    Key(
        "user_data_files", f.mapping_of(_OPTION_NAME, f.absolute_path), _NOTHING,
        "Name to file on the controller of each `##user_data_file_NAME##`, which also fills"
        " `##user_data_option_NAME##`.",
    ),
    Key(
        "user_data_proxy", f.boolean, False,
        "Replace `##user_data_option_x509_proxy##` by a limited X.509 proxy (RFC 3820) that outlasts the VM."
        " See docs/proxies.md.",
    ),
    Key(
        "user_data_proxy_cert", f.optional(f.absolute_path), None,
        "The certificate that signs the proxies, a PEM file on the access point.",
    ),
    Key(
        "user_data_proxy_key", f.optional(f.absolute_path), None,
        "Its key, a PEM file on the access point that `owner` can read and not everybody.",
    ),
    Key(
        "root_public_key", f.optional(f.absolute_path), None,
        "A file on the controller with the public SSH key that opens the VMs' root account.",
    ),
    Key(
        "sharing", f.one_of("nfs", "http", "both"), "nfs",
        "How a VM reaches its features and outputs: `nfs` as with HTCondorVMs, `http` as with Vac 1.0 and later, or"
        " `both`.",
    ),
    Key("processors", f.integer(1, 1024), 1, "Virtual processors of one VM."),
    Key(
        "memory_mb", f.integer(64, 1 << 24), None,
        "Memory of one VM. The default is `memory_mb_per_processor` for each of its processors. More than the largest"
        " node of the pool has is refused.", "MiB",
    ),
    Key(
        "memory_mb_per_processor", f.integer(64, 1 << 20), MEMORY_MB_PER_PROCESSOR,
        "Memory of one VM for each of its processors, where `memory_mb` is not set.", "MiB",
    ),
    Key(
        "cvmfs_cache_gb", f.integer(0, 1 << 20), 20,
        "Size of the empty disk for the CVMFS cache (the first free of vda, vdb, ...); 0 for none. CernVM 3 needs 20 or"
        " more.", "GiB",
    ),
    Key(
        "scratch_gb", f.integer(0, 1 << 20), 30,
        "Size of the empty disk for the experiment's work, after that of the cache; 0 for none.", "GiB",
    ),
    Key(
        "disk_gb_per_processor", f.optional(f.number(0.001, 1 << 20)), None,
        "Size of the one empty disk that Vac gives a VM, for each of its processors, in GB of 10^9 bytes. It becomes"
        " `cvmfs_cache_gb` of a `cernvm` (20 or more) and `scratch_gb` of a `cloud-init`, rounded up to GiB, and the"
        " other is 0. What those two set themselves wins.", "GB",
    ),
    Key(
        "max_machines", _VMS, 1000, "The most VMs in the queue, idle ones included; 0 makes none. HTCondor's slots and"
        " shares limit them as well.", "VMs", policy=True,
    ),
    Key(
        "max_idle", _VMS, 10, "The most VMs that are idle in the queue, so the most that start in a cycle.", "VMs",
        policy=True, capped=True, part=20,
    ),
    Key(
        "max_starting", f.optional(_VMS), None,
        "The most VMs that are idle, or run and have neither shown work nor outlived those without it. Unset, there is"
        " no such limit: what VMs report and `max_idle` decide.", "VMs", policy=True,
    ),
    Key(
        "max_starts_per_minute", f.optional(f.integer(1, 1_000_000)), None,
        "The most VMs that are submitted in any 60 seconds, for a task queue or a web proxy that cannot bear more."
        " Unset, there is no such limit. VMs that are idle already start when HTCondor finds slots: with a small"
        " `max_idle` these are few.", "VMs", policy=True,
    ),
    Key(
        "probe_machines", f.integer(1, 10_000), 2,
        "The most VMs that start as probes in 30 minutes while there is no work or VMs fail everywhere.", "VMs",
        policy=True, capped=True,
    ),
    Key(
        "first_machines", f.optional(_VMS), None,
        "The most VMs that start before the first of them has reported. Unset: `max_idle`, at most 10 % of"
        " `max_machines` and at least `probe_machines`, and as many as the caps allow if none has ended after five"
        " minutes.", "VMs", policy=True,
    ),
    Key(
        "fizzle_seconds", f.integer(1, _YEAR), 600,
        "A VM that ends sooner, without a shutdown code, found no work. The heartbeat is checked from this age on.",
        "s", policy=True,
    ),
    Key(
        "backoff_seconds", f.integer(1, _YEAR), 1800,
        "How long a host on which VMs fail is avoided at first (then twice as long, up to an hour). While there is no"
        " work, probes are at most twice this apart.", "s", policy=True,
    ),
    Key(
        "max_wallclock_seconds", f.integer(60, _YEAR), 86400,
        "A VM that runs longer is stopped. It reads this in its job features.", "s", policy=True,
    ),
    Key(
        "min_wallclock_seconds", f.integer(0, _YEAR), 0,
        "The time that a VM needs at least. It does not start on a node whose planned shutdown is sooner than that."
        " With 0, VMs start until the shutdown.", "s",
    ),
    Key(
        "heartbeat_file", f.optional(f.file_name), None,
        "A file in the VM's outputs that must exist after `fizzle_seconds`, or the VM is stopped.",
    ),
    Key(
        "heartbeat_seconds", f.integer(0, _YEAR), 0,
        "The age at which `heartbeat_file` is too old; 0 checks only that it exists.", "s",
    ),
    Key(
        "heartbeat_is_evidence", f.boolean, False,
        "Count a VM that has run for `evidence_seconds` and updates `heartbeat_file` as one that works, whatever its"
        " use of processors is. Only for agents that update the file for a task: usual templates do it by cron in every"
        " VM, with or without work. Needs `heartbeat_seconds`.",
    ),
    Key("cycle_seconds", f.integer(1, 3600), 60, "Time between two decisions of the factory.", "s"),
    Key(
        "evidence_seconds", f.integer(0, _YEAR), 300,
        "How long a VM must have run before its use of processors, or its heartbeat, counts as a sign of work.", "s",
    ),
    Key(
        "evidence_cpu_fraction", f.number(0.0, 1.0), 0.3,
        "The use of its processors, 0 to 1, from which a VM that has run for `evidence_seconds` counts as one that"
        " works. It is the mean of all its processors: where 1 of 8 is busy it is 0.125, and with 0.1 such a VM counts."
        " Lower it too for work that mostly waits; with 0 its age alone counts.",
    ),
    Key(
        "accounting_group", f.optional(_GROUP), None,
        "HTCondor's accounting group of the VMs, for fair shares (for example `group_atlas.prod`).",
    ),
    Key(
        "accounting_fqan", f.optional(_FQAN), None,
        "For whom the VMs' use is accounted, as VOMS names it (`/atlas/Role=production`): the part after the first / is"
        " the VO. See docs/accounting.md.",
    ),
    Key(
        "gocdb_sitename", f.optional(_SITENAME), None,
        "The site's name in GOCDB, under which the VMs' use is accounted. The default is `factory_gocdb_sitename`.",
    ),
    Key(
        "owner", f.user_name, REQUIRED,
        "The user on the access point who owns the factory and VM jobs. The default is `factory_owner`.",
    ),
    Key(
        "space", f.optional(f.space_name), None,
        "The space name that VMs get (vac_space). The default is `factory_space`.",
    ),
    Key(
        "requirements", f.optional(f.line()), None,
        "A ClassAd expression that a node must meet, besides what every VM needs.",
    ),
    Key("rank", f.optional(f.line()), None, "A ClassAd expression for the nodes that are preferred."),
    Key("machinefeatures", _FEATURES, _NOTHING, "More keys of the machine features, name to value."),
    Key("jobfeatures", _FEATURES, _NOTHING, "More keys of the job features, name to value."),
    Key(
        "hs06", f.optional(f.number(0.001, 1e9)), None,
        "HS06 of the whole VM. The default is `hs06_per_processor` for each of its processors, or follows the worker"
        " node's own figure.",
    ),
    Key(
        "hs06_per_processor", f.optional(f.number(0.001, 1e6)), None,
        "HS06 of one processor of the VM, where `hs06` is not set.",
    ),
    Key(
        "hepscore23_per_processor", f.optional(f.number(0.001, 1e6)), None,
        "HEPScore23 of one processor of the VM, for accounting. It comes before HS06 where both are known.",
    ),
    Key(
        "job_lease_duration", f.integer(20, 7 * 86400), 1200,
        "How long a node keeps a VM running while it cannot reach the access point.", "s",
    ),
    Key(
        "keep_failed", f.integer(0, 1000), 0,
        "Of how many failed VMs, the last ones, the access point keeps console, outputs and context, without secrets"
        " and in at most 128 MiB. See docs/history.md.", "VMs",
    ),
    Key("vnc", f.boolean, False, "Give the VM a VNC console on its node, by a socket that root can open "
        "(`virt-viewer -c qemu+ssh://root@NODE/system VM`)."),
    Key(
        "submit_file", f.optional(f.absolute_path), None,
        "A submit file of the site, on the controller, for the VMs' jobs instead of the generated description.",
    ),
)  # fmt: skip

BY_NAME = {key.name: key for key in KEYS}
CHECKS = {key.name: key.rule for key in KEYS}
MANDATORY = frozenset(key.name for key in KEYS if key.default is REQUIRED)
# The policy's limits.
POLICY = tuple(key.name for key in KEYS if key.policy)


def with_defaults(given: Mapping[str, Any], names: Iterable[str] = BY_NAME) -> dict[str, Any]:
    """The checked values ``given``, which hold every mandatory key, and the defaults of the other ``names``."""
    found = {**{name: _default(BY_NAME[name], given) for name in names if name not in given}, **given}
    return {**found, **{name: size for name, size in sizes(given).items() if name in found}}


def sizes(given: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes that checked values leave to ``processors`` and to what is set for each of them.

    Raises ValueError (``KEY: reason``) where one is not a possible value of its key.
    """
    processors = given.get("processors", BY_NAME["processors"].default)
    found: dict[str, Any] = {"memory_mb": processors * given.get("memory_mb_per_processor", MEMORY_MB_PER_PROCESSOR)}
    if given.get("disk_gb_per_processor") is not None:
        size = math.ceil(round(given["disk_gb_per_processor"] * processors * 10**9 / 2**30, 6))
        cernvm = given["kind"] == "cernvm"
        found["cvmfs_cache_gb"], found["scratch_gb"] = (max(size, _LEAST_CACHE_GB), 0) if cernvm else (0, size)
    if given.get("hs06_per_processor") is not None:
        found["hs06"] = hs06(given["hs06_per_processor"], processors)
    left = {name: size for name, size in found.items() if given.get(name) is None}
    for name, size in left.items():
        try:
            CHECKS[name](size)
        except ValueError as error:
            raise ValueError(f"{name}: {error}; it is {size} for {processors} processors") from error
    return left


def hs06(of_one: float, processors: int) -> float:
    """HS06 of all processors: 3 times 1.1 is 3.3, and not 3.3000000000000003."""
    return float(f"{of_one * processors:.12g}")


def _default(key: Key, given: Mapping[str, Any]) -> Any:
    if not key.capped:
        return key.default
    most = given.get("max_machines", BY_NAME["max_machines"].default)
    wanted = max(key.default, most // key.part) if key.part else key.default
    return min(wanted, max(most, key.rule.schema["minimum"]))
