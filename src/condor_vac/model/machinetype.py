# SPDX-License-Identifier: GPL-3.0-or-later
"""A machinetype: the kind of VM that a site offers to one experiment, as data that has been checked.

Its file is one flat JSON object, ``/etc/condor_vac/machinetypes/NAME.json``; it travels with each VM's job,
so the worker node checks it again. Names and meanings are Vac's (HSF-TN-2016-04) where Vac has them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from condor_vac import EVIDENCE_CPU_FRACTION
from condor_vac.base import fields as f
from condor_vac.base import urls
from condor_vac.base.errors import UsageError, VacError

STATE_ROOT = "/var/lib/condor_vac"
TEMPLATE_COPY = "user_data"
FORMAT_BY_SUFFIX = {".iso": "iso", ".qcow2": "qcow2", ".raw": "raw", ".img": "raw", ".hdd": "raw"}
DEFAULT_MAX_IDLE = 10
DEFAULT_PROBE_MACHINES = 2

# The proxy that the factory makes for each VM (factory/proxy.py), in its job's sandbox.
PROXY_NAME = "x509_proxy.pem"

# Names that the prepare hook and HTCondor make in the sandbox beside the transferred files.
RESERVED_NAMES = frozenset(
    {
        *("machinefeatures", "jobfeatures", "joboutputs", "metadata", PROXY_NAME),
        *("condor_exec.exe", "_condor_stdout", "_condor_stderr"),
    }
)

_YEAR = 366 * 86400
# What a placeholder can hold (user_data.py).
_OPTION_NAME = f.matching(r"[A-Za-z0-9_]{1,128}", "the name must be letters, digits and _")
_FEATURE_NAME = f.matching(r"[A-Za-z0-9_]{1,64}", "the name must be letters, digits and _")

# Nobody changes the default of a mapping.
_NONE: Mapping[str, str] = MappingProxyType({})


def _path_or_url(value: Any) -> str:
    if not isinstance(value, str) or not urls.is_url(value):
        return f.absolute_path(value)
    try:
        return urls.check_url(value)
    except VacError as error:
        raise ValueError(str(error)) from error


class Machinetype(NamedTuple):
    """One machinetype. Sizes are in the unit of the name's suffix, times in seconds; ``None`` is JSON's null.

    Make one with ``from_mapping`` or ``load``: the constructor itself checks nothing.
    """

    name: str
    owner: str
    kind: str
    image: str
    image_format: str
    user_data: str
    sharing: str = "nfs"
    processors: int = 1
    memory_mb: int = 2048
    cvmfs_cache_gb: int = 20
    scratch_gb: int = 30
    user_data_options: Mapping[str, str] = _NONE
    user_data_files: Mapping[str, str] = _NONE
    user_data_last_good_seconds: int = 0
    user_data_proxy: bool = False
    user_data_proxy_cert: str | None = None
    user_data_proxy_key: str | None = None
    root_public_key: str | None = None
    space: str | None = None
    max_machines: int = 10
    max_idle: int = DEFAULT_MAX_IDLE
    max_starting: int = DEFAULT_MAX_IDLE
    probe_machines: int = DEFAULT_PROBE_MACHINES
    fizzle_seconds: int = 600
    backoff_seconds: int = 1800
    max_wallclock_seconds: int = 86400
    heartbeat_file: str | None = None
    heartbeat_seconds: int = 0
    cycle_seconds: int = 60
    evidence_seconds: int = 300
    evidence_cpu_fraction: float = EVIDENCE_CPU_FRACTION
    accounting_group: str | None = None
    requirements: str | None = None
    rank: str | None = None
    machinefeatures: Mapping[str, str] = _NONE
    jobfeatures: Mapping[str, str] = _NONE
    hs06: float | None = None
    job_lease_duration: int = 1200
    vnc: bool = False
    submit_file: str | None = None

    @classmethod
    def from_mapping(cls, data: object, source: str) -> Machinetype:
        """The machinetype that ``data`` (a JSON object) describes; ``source`` is what errors call it.

        Raises UsageError (one line: source, key, remedy) for an unknown, missing or wrong key.
        """
        values = f.check_all(data, CHECKS, REQUIRED, source)
        _fill_defaults(values, source)
        machinetype = cls(**values)
        _check_together(machinetype, source)
        return machinetype

    def to_mapping(self) -> dict[str, Any]:
        """Every key as JSON can hold it; ``from_mapping`` of it gives an equal machinetype."""
        return {key: dict(value) if isinstance(value, Mapping) else value for key, value in self._asdict().items()}

    @property
    def user_data_file(self) -> str:
        """The template's file on the access point: ``user_data``, or the factory's copy of what is at its URL."""
        return self.user_data if not urls.is_url(self.user_data) else os.path.join(self.state_directory, TEMPLATE_COPY)

    @property
    def state_directory(self) -> str:
        """The directory, of the owner, for state, log, lock and the VMs' own directories."""
        return os.path.join(STATE_ROOT, self.name)

    def input_files(self) -> dict[str, str]:
        """Key → path on the access point of each file that a VM job carries, besides the machinetype."""
        files = {"user_data": self.user_data_file}
        if self.root_public_key is not None:
            files["root_public_key"] = self.root_public_key
        files.update({f"user_data_files.{name}": path for name, path in self.user_data_files.items()})
        return files


CHECKS: dict[str, f.Check] = {
    "name": f.matching(f.MACHINETYPE_NAME, "must be 1 to 64 lower-case letters, digits and -"),
    "owner": f.matching(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", "must be a user name"),
    "kind": f.one_of("cernvm", "cloud-init"),
    "sharing": f.one_of("nfs", "http", "both"),
    "image": f.absolute_path,
    "image_format": f.one_of("iso", "raw", "qcow2"),
    "processors": f.integer(1, 1024),
    "memory_mb": f.integer(64, 1 << 24),
    "cvmfs_cache_gb": f.integer(0, 1 << 20),
    "scratch_gb": f.integer(0, 1 << 20),
    "user_data": _path_or_url,
    "user_data_last_good_seconds": f.integer(0, _YEAR),
    "user_data_options": f.mapping_of(_OPTION_NAME, f.text(1 << 16)),
    "user_data_files": f.mapping_of(_OPTION_NAME, f.absolute_path),
    "user_data_proxy": f.boolean,
    "user_data_proxy_cert": f.optional(f.absolute_path),
    "user_data_proxy_key": f.optional(f.absolute_path),
    "root_public_key": f.optional(f.absolute_path),
    "space": f.optional(
        f.matching(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,254}", "must be letters, digits and . _ : -, like a host name")
    ),
    "max_machines": f.integer(0, 1_000_000),
    "max_idle": f.integer(0, 1_000_000),
    "max_starting": f.integer(0, 1_000_000),
    "probe_machines": f.integer(1, 10_000),
    "fizzle_seconds": f.integer(1, _YEAR),
    "backoff_seconds": f.integer(1, _YEAR),
    "max_wallclock_seconds": f.integer(60, _YEAR),
    "heartbeat_file": f.optional(f.file_name),
    "heartbeat_seconds": f.integer(0, _YEAR),
    "cycle_seconds": f.integer(1, 3600),
    "evidence_seconds": f.integer(0, _YEAR),
    "evidence_cpu_fraction": f.number(0.0, 1.0),
    "accounting_group": f.optional(
        f.matching(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", "must be a group name such as group_atlas.prod")
    ),
    "requirements": f.optional(f.line()),
    "rank": f.optional(f.line()),
    "machinefeatures": f.mapping_of(_FEATURE_NAME, f.line()),
    "jobfeatures": f.mapping_of(_FEATURE_NAME, f.line()),
    "hs06": f.optional(f.number(0.001, 1e9)),
    "job_lease_duration": f.integer(20, 7 * 86400),
    "vnc": f.boolean,
    "submit_file": f.optional(f.absolute_path),
}

# image_format has no default of its own: it follows the image's suffix.
REQUIRED = set(Machinetype._fields) - set(Machinetype._field_defaults) - {"image_format"}


def load(path: str) -> Machinetype:
    """The machinetype in the JSON file ``path``; raises UsageError."""
    return Machinetype.from_mapping(f.load_object(path), path)


def _fill_defaults(values: dict[str, Any], source: str) -> None:
    """Defaults that depend on other keys: what the site did not choose, a small max_machines lowers."""
    most = values.get("max_machines", 10)
    values.setdefault("max_idle", min(DEFAULT_MAX_IDLE, most))
    values.setdefault("max_starting", min(values["max_idle"], most))
    values.setdefault("probe_machines", min(DEFAULT_PROBE_MACHINES, max(most, 1)))
    suffix = os.path.splitext(values["image"])[1].lower()
    if "image_format" not in values:
        if suffix not in FORMAT_BY_SUFFIX:
            raise UsageError(
                f"{source}: image_format: missing and the suffix {suffix!r} of image does not tell; add it"
            )
        values["image_format"] = FORMAT_BY_SUFFIX[suffix]


def _check_together(machinetype: Machinetype, source: str) -> None:
    """What only two keys together can get wrong. Raises UsageError."""
    m = machinetype
    rules = (
        (m.owner != "root", "owner: must not be root, as whom HTCondor runs no job; name another user"),
        (
            m.max_idle <= m.max_machines,
            f"max_idle: {m.max_idle} is above max_machines {m.max_machines}; lower it",
        ),
        (
            m.max_starting <= m.max_machines,
            f"max_starting: {m.max_starting} is above max_machines {m.max_machines}; lower it",
        ),
        (
            m.probe_machines <= max(m.max_machines, 1),
            f"probe_machines: {m.probe_machines} is above max_machines {m.max_machines}; lower it",
        ),
        (
            m.fizzle_seconds < m.max_wallclock_seconds,
            f"fizzle_seconds: {m.fizzle_seconds} is not below max_wallclock_seconds "
            f"{m.max_wallclock_seconds}; lower it",
        ),
        (
            m.heartbeat_file is not None or m.heartbeat_seconds == 0,
            "heartbeat_seconds: needs heartbeat_file, the file whose age it limits; add that",
        ),
        (
            not m.user_data_proxy or (m.user_data_proxy_cert and m.user_data_proxy_key),
            "user_data_proxy: needs user_data_proxy_cert and user_data_proxy_key, files on the access point; add them",
        ),
        (
            m.heartbeat_file != "shutdown_message",
            "heartbeat_file: must not be shutdown_message, by which a VM says how it ended; name another",
        ),
    )
    for good, message in rules:
        if not good:
            raise UsageError(f"{source}: {message}")
    _check_file_names(machinetype, source)


def _check_file_names(machinetype: Machinetype, source: str) -> None:
    """HTCondor puts all input files into one directory, so their names must differ there."""
    taken = {f"{machinetype.name}.json": "name"}
    paths: dict[str, str] = {}
    for key, path in machinetype.input_files().items():
        base = os.path.basename(path)
        if base in RESERVED_NAMES or base.startswith("."):
            raise UsageError(f"{source}: {key}: the file name {base} is reserved in a job's sandbox; rename the file")
        if base in taken and paths.get(base) != path:
            raise UsageError(f"{source}: {key}: the file name {base} is already that of {taken[base]}; rename one")
        taken[base] = key
        paths[base] = path
