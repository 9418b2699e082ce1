# SPDX-License-Identifier: GPL-3.0-or-later
"""User data: a template in which ``##user_data_NAME##`` is replaced, and no other byte changes.

Names are those of HSF-TN-2016-04 (section 6) and of Vac, in both spellings. Templates are bytes, never text:
MIME boundaries, line ends and any encoding survive. Inserted values are not read again, so a value that
itself holds ``##user_data_...##`` stays as it is. What no value replaces is blanked last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from condor_vac.base.errors import UsageError, VacError

TEMPLATE_LIMIT = 4 << 20
RESULT_LIMIT = 16 << 20

# The platform's own names; option_NAME and file_NAME come from the machinetype.
NAMES = (
    "space",
    "site",
    "url",
    "machinetype",
    "machine_hostname",
    "manager_version",
    "manager_hostname",
    "uuid",
    "machinefeatures_url",
    "jobfeatures_url",
    "joboutputs_url",
    "root_image_url",
    "heartbeat_machines_url",
)

# Other spellings: the note's manager_..._url where Vac has ..._url, and the names of Vac before 2016.
ALIASES = {
    "manager_machinefeatures_url": "machinefeatures_url",
    "manager_jobfeatures_url": "jobfeatures_url",
    "manager_joboutputs_url": "joboutputs_url",
    "vmtype": "machinetype",
    "vm_hostname": "machine_hostname",
    "vmlm_version": "manager_version",
    "vmlm_hostname": "manager_hostname",
}

# Vac blanks names with a comma as well. A placeholder ends at the first ##, as names cannot hold one.
_PLACEHOLDER = re.compile(rb"##user_data_([A-Za-z0-9_,]*)##")
# Names that a machinetype gives.
OWN_NAME = r"(option|file)_[A-Za-z0-9_]+"

_NOTHING: Mapping[str, bytes] = MappingProxyType({})


class Values(NamedTuple):
    """What is inserted. ``platform``: name of NAMES to value; ``options``, ``files``: NAME to bytes.

    A file fills option_NAME as well, unless there is an option of that name. A name that is absent is
    unset and blanked; an empty value is a value.
    """

    platform: Mapping[str, bytes] = _NOTHING
    options: Mapping[str, bytes] = _NOTHING
    files: Mapping[str, bytes] = _NOTHING

    def by_placeholder(self) -> dict[str, bytes]:
        """Placeholder name to value, every spelling. Raises UsageError for an unknown platform name."""
        unknown = sorted(set(self.platform) - set(NAMES))
        if unknown:
            raise UsageError(f"user data: {unknown[0]!r}: unknown name; use one of {', '.join(NAMES)}")
        values = dict(self.platform)
        values.update({alias: values[name] for alias, name in ALIASES.items() if name in values})
        values.update({f"option_{name}": value for name, value in {**self.files, **self.options}.items()})
        values.update({f"file_{name}": value for name, value in self.files.items()})
        return values


class Rendered(NamedTuple):
    """The user data, and the template's placeholders, each once in the order of the template.

    ``used`` got a value; ``unset`` are known names (or option_, file_) without one; ``unknown`` are names
    that neither the platform nor Vac has; both of these became nothing.
    """

    data: bytes
    used: tuple[str, ...]
    unknown: tuple[str, ...]
    unset: tuple[str, ...]


def check_template(template: bytes) -> None:
    """Raises VacError for a template that no VM can do anything with."""
    if not template.strip():
        raise VacError("the template is empty; ask the experiment")


def render(template: bytes, values: Values) -> Rendered:
    """The user data that ``template`` gives with ``values``. Raises VacError when it grows past 16 MiB."""
    by_name = {name.encode(): value for name, value in values.by_placeholder().items()}
    parts: list[bytes] = []
    used: dict[str, None] = {}
    blanked: dict[str, None] = {}
    size = 0
    for literal, name in _split(template, set(by_name)):
        rest = _PLACEHOLDER.sub(b"", literal)
        blanked.update((found.decode(), None) for found in _PLACEHOLDER.findall(literal))
        parts.append(rest)
        if name is not None:
            parts.append(by_name[name])
            used[name.decode()] = None
        size += len(rest) + (len(by_name[name]) if name is not None else 0)
        if size > RESULT_LIMIT:
            raise VacError(f"user data: over {RESULT_LIMIT} bytes when rendered; shorten template or values")
    known = [name for name in blanked if name in NAMES or name in ALIASES or re.fullmatch(OWN_NAME, name)]
    unknown = [name for name in blanked if name not in known]
    return Rendered(b"".join(parts), tuple(used), tuple(unknown), tuple(known))


def _split(template: bytes, names: set[bytes]) -> Iterator[tuple[bytes, bytes | None]]:
    """Pieces of the template, each with the placeholder after it that has a value (None at the end).

    Placeholders without a value stay in the pieces, to be blanked last, as Vac does: in
    ``##user_data_a##user_data_space##`` the one that has a value counts.
    """
    start = position = 0
    while True:
        found = _PLACEHOLDER.search(template, position)
        if found is None:
            yield template[start:], None
            return
        if found[1] in names:
            yield template[start : found.start()], found[1]
            start = position = found.end()
        else:
            position = found.end() - 2
