# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac import``: machinetypes as inventory data from what a site has, and what could not be converted.

Reads Vac's configuration (vac.conf(5): [settings], [machinetype ...], [vacuum_pipe ...]; several files are
merged as Vac does) and submit files of VM-universe jobs such as HTCondorVMs' vm-atlas.sub. YAML for the
inventory goes to standard output, in it a comment for each thing to check; ``--json`` gives both as data.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from condor_vac.base import atomic
from condor_vac.base.errors import UsageError, VacError
from condor_vac.vac import configuration as vac_configuration
from condor_vac.vac import submit_files

LIMIT = 1 << 20
_SECTION = re.compile(r"^\s*\[\s*(settings|machinetype|vmtype|vacuum_pipe)\b", re.IGNORECASE | re.MULTILINE)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_YAML_WORDS = frozenset({"y", "n", "yes", "no", "true", "false", "on", "off", "null"})


@dataclass
class Imported:
    """Inventory data, and sentences on what to check, by machinetype ("" for what concerns all)."""

    machinetypes: dict[str, dict[str, Any]] = field(default_factory=dict)
    pipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def note(self, name: str, *sentences: str) -> None:
        """Add sentences about a machinetype, each as one line."""
        lines = [" ".join(sentence.split()) for sentence in sentences]
        self.notes.setdefault(name, []).extend(line for line in lines if line.isprintable())


def load(paths: Iterable[str]) -> Imported:
    """Read the files. Raises UsageError, naming the file."""
    imported = Imported()
    configuration: list[tuple[str, str]] = []
    for path in paths:
        text = _text(path)
        if _SECTION.search(text):
            configuration.append((path, text))
        else:
            converted = submit_files.convert(path, text)
            name = submit_files.name(path, text)
            if name in imported.machinetypes:
                raise UsageError(f"{path}: a second machinetype {name}; rename the file")
            imported.machinetypes[name] = converted.keys
            imported.note(name, *converted.notes)
    if configuration:
        vac_configuration.convert(configuration, imported.machinetypes, imported.pipes, imported.note)
    return imported


def inventory(imported: Imported) -> list[str]:
    """Lines of YAML: the variables, with the notes as comments where they belong."""
    lines = ["---", *(f"# {note}" for note in imported.notes.get("", []))]
    for variable, entries in (("vacuum_machinetypes", imported.machinetypes), ("vacuum_pipes", imported.pipes)):
        if not entries:
            continue
        lines.append(f"{variable}:")
        for name, keys in entries.items():
            lines.append(f"  {_key(name)}:")
            lines += [f"    # {note}" for note in imported.notes.get(name, [])]
            for key, value in keys.items():
                lines += _entry(key, value)
    return lines


def _entry(key: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"    {_key(key)}:", *(f"      {_key(name)}: {_scalar(item)}" for name, item in value.items())]
    return [f"    {_key(key)}: {_scalar(value)}"]


def _scalar(value: Any) -> str:
    """JSON's scalars are YAML's as well; what Ansible would take for a template is marked as none."""
    text = json.dumps(value)
    return f"!unsafe {text}" if isinstance(value, str) and re.search(r"\{[{%#]", value) else text


def _key(name: str) -> str:
    plain = _PLAIN.fullmatch(name) and name.lower() not in _YAML_WORDS
    return name if plain else json.dumps(name)


def _text(path: str) -> str:
    try:
        return atomic.read(path, LIMIT).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{os.path.basename(path)}: not UTF-8 text: {error}; convert the file") from error
    except VacError as error:
        raise UsageError(str(error)) from error
