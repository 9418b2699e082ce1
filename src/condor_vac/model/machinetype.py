# SPDX-License-Identifier: GPL-3.0-or-later
"""A machinetype: the kind of VM that a site offers to one experiment, as data that has been checked.

Its file is one flat JSON object, ``/etc/condor_vac/machinetypes/NAME.json``; it travels with each VM's job,
so the worker node checks it again. Names and meanings are Vac's (HSF-TN-2016-04) where Vac has them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from condor_vac.base import fields as f
from condor_vac.base import urls
from condor_vac.base.errors import UsageError
from condor_vac.base.shared import STATE_DIRECTORY
from condor_vac.model.machinetype_keys import CHECKS, MANDATORY, with_defaults

TEMPLATE_COPY = "user_data"
FORMAT_BY_SUFFIX = {".iso": "iso", ".qcow2": "qcow2", ".raw": "raw", ".img": "raw", ".hdd": "raw"}

# The proxy that the factory makes for each VM (factory/proxy.py), in its job's sandbox.
PROXY_NAME = "x509_proxy.pem"

# Names that the prepare hook and HTCondor make in the sandbox beside the transferred files.
RESERVED_NAMES = frozenset(
    {
        *("machinefeatures", "jobfeatures", "joboutputs", "metadata", PROXY_NAME),
        *("condor_exec.exe", "_condor_stdout", "_condor_stderr"),
    }
)


class Machinetype(NamedTuple):
    """One machinetype. What the keys mean is in ``machinetype_keys``; ``None`` is JSON's null.

    Make one with ``from_mapping`` or ``load``: the constructor checks nothing and has no defaults.
    """

    # made by python -m tests.machinetype_keys: begin
    name: str
    kind: str
    image: str
    image_format: str
    user_data: str
    pipe_urls: Mapping[str, str]
    user_data_last_good_seconds: int
    user_data_options: Mapping[str, str]
    user_data_files: Mapping[str, str]
    user_data_proxy: bool
    user_data_proxy_cert: str | None
    user_data_proxy_key: str | None
    root_public_key: str | None
    sharing: str
    processors: int
    memory_mb: int
    memory_mb_per_processor: int
    cvmfs_cache_gb: int
    scratch_gb: int
    disk_gb_per_processor: float | None
    max_machines: int
    max_idle: int
    max_starting: int | None
    max_starts_per_minute: int | None
    probe_machines: int
    first_machines: int | None
    fizzle_seconds: int
    backoff_seconds: int
    max_wallclock_seconds: int
    min_wallclock_seconds: int
    heartbeat_file: str | None
    heartbeat_seconds: int
    heartbeat_is_evidence: bool
    cycle_seconds: int
    evidence_seconds: int
    evidence_cpu_fraction: float
    accounting_group: str | None
    accounting_fqan: str | None
    gocdb_sitename: str | None
    owner: str
    space: str | None
    requirements: str | None
    rank: str | None
    machinefeatures: Mapping[str, str]
    jobfeatures: Mapping[str, str]
    hs06: float | None
    hs06_per_processor: float | None
    hepscore23_per_processor: float | None
    job_lease_duration: int
    keep_failed: int
    vnc: bool
    submit_file: str | None
    # end

    @classmethod
    def from_mapping(cls, data: object, source: str) -> Machinetype:
        """The machinetype that ``data`` (a JSON object) describes; ``source`` is what errors call it.

        Raises UsageError (one line: source, key, remedy) for an unknown, missing or wrong key.
        """
        checked = f.check_all(data, CHECKS, MANDATORY, source)
        try:
            values = with_defaults(checked)
        except ValueError as error:
            raise UsageError(f"{source}: {error}") from error
        if values["image_format"] is None:
            values["image_format"] = _image_format(values["image"], source)
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
        return os.path.join(STATE_DIRECTORY, self.name)

    def input_files(self) -> dict[str, str]:
        """Key → path on the access point of each file that a VM job carries, besides the machinetype."""
        files = {"user_data": self.user_data_file}
        if self.root_public_key is not None:
            files["root_public_key"] = self.root_public_key
        files.update({f"user_data_files.{name}": path for name, path in self.user_data_files.items()})
        return files


def load(path: str) -> Machinetype:
    """The machinetype in the JSON file ``path``; raises UsageError."""
    return Machinetype.from_mapping(f.load_object(path), path)


def suffix_of(image: str) -> str:
    """The suffix of an image's file name, by which its format is known."""
    return os.path.splitext(image)[1].lower()


def _image_format(image: str, source: str) -> str:
    """The format that the suffix of the image's file name shows. Raises UsageError."""
    suffix = suffix_of(image)
    if suffix not in FORMAT_BY_SUFFIX:
        raise UsageError(f"{source}: image_format: cannot be derived from suffix {suffix!r} of image; set it")
    return FORMAT_BY_SUFFIX[suffix]


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
            m.max_starting is None or m.max_starting <= m.max_machines,
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
            m.min_wallclock_seconds <= m.max_wallclock_seconds,
            f"min_wallclock_seconds: {m.min_wallclock_seconds} is above max_wallclock_seconds "
            f"{m.max_wallclock_seconds}; lower it",
        ),
        (
            not m.heartbeat_is_evidence or m.heartbeat_seconds > 0,
            "heartbeat_is_evidence: needs heartbeat_seconds, the age up to which a heartbeat counts; add that",
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
            "heartbeat_file: must not be shutdown_message, by which a VM reports how it ended; name another",
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
