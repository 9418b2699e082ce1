# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac import``: machinetypes as inventory data from what a site has, and what could not be converted.

Reads Vac's and Vcycle's configuration (vac.conf(5), vcycle.conf(5); several files are merged as they do) and submit
files of VM-universe jobs such as HTCondorVMs' vm-atlas.sub. YAML for the inventory goes to standard output, in it a
comment for each thing to check and for each machinetype that is left out; ``--json`` gives both as data.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any

from condor_vac.base import atomic
from condor_vac.base.errors import UsageError, VacError
from condor_vac.vac import configuration as vac_configuration
from condor_vac.vac import submit_files
from condor_vac.vac.inventory_data import Imported

LIMIT = 1 << 20
# No line of a submit file begins so.
_SECTION = re.compile(r"^\[[^]\n]+\]", re.MULTILINE)
_NOTHING = re.compile(r"\s*([#;].*)?")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_YAML_WORDS = frozenset({"y", "n", "yes", "no", "true", "false", "on", "off", "null"})


def load(paths: Iterable[str]) -> Imported:
    """Read the files. Raises UsageError, naming the file."""
    imported = Imported()
    configuration: list[tuple[str, str]] = []
    for path in paths:
        text = _text(path)
        if _SECTION.search(text):
            configuration.append((path, text))
        elif all(_NOTHING.fullmatch(line) for line in text.splitlines()):
            imported.note("", f"{os.path.basename(path)}: nothing is set in it")
        else:
            submit_files.convert(path, text, imported)
    if configuration:
        vac_configuration.convert(configuration, imported)
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
                lines += _entry(key, value, "    ")
    for name, notes in imported.notes.items():
        if name and name not in imported.machinetypes and name not in imported.pipes:
            lines += [f"# {name}: {note}" for note in notes]
    return lines


def _entry(key: str, value: Any, indent: str) -> list[str]:
    if isinstance(value, dict):
        lines = [line for name, item in value.items() for line in _entry(name, item, f"{indent}  ")]
        return [f"{indent}{_key(key)}:", *lines] if lines else [f"{indent}{_key(key)}: {{}}"]
    return [f"{indent}{_key(key)}: {_scalar(value)}"]


def _scalar(value: Any) -> str:
    """JSON's scalars are YAML's as well; what Ansible would take for a template is marked as none."""
    text = json.dumps(value)
    return f"!unsafe {text}" if isinstance(value, str) and re.search(r"\{[{%#]", value) else text


def _key(name: str) -> str:
    plain = _PLAIN.fullmatch(name) and name.lower() not in _YAML_WORDS
    return name if plain else json.dumps(name)


def _text(path: str) -> str:
    try:
        return atomic.read(path, LIMIT).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{os.path.basename(path)}: not UTF-8 text: {error}; convert the file") from error
    except VacError as error:
        raise UsageError(str(error)) from error
