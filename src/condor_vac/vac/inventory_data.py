# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``condor_vac import`` makes of a site's files: inventory data, and sentences on what to check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from condor_vac.model.machinetype_keys import BY_NAME
from condor_vac.vac import judge, layers

_ORDER = list(BY_NAME)


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

    def add(self, name: str, keys: dict[str, Any], no_limit: str) -> None:
        """Add a machinetype, with a sentence for what the role would refuse; ``no_limit`` where it has no limit."""
        missing = [key for key in ("image", "user_data") if key not in keys]
        self.note(name, *(f"{key}: missing; add it" for key in missing))
        reason = None if missing else judge.reason(name, keys)
        if reason is not None:
            self.note(name, f"{reason}; the role refuses it as it is")
        if "max_machines" not in keys:
            self.note(name, no_limit)
        self.machinetypes[name] = {key: keys[key] for key in sorted(keys, key=_place)}

    def add_change(self, name: str, keys: dict[str, Any]) -> None:
        """Add keys that change a machinetype of a pipe."""
        self.note(name, "changes a machinetype of a pipe; what is not set here stays the pipe's")
        if {"image", "user_data"} <= set(keys) and "kind" not in keys:
            self.note(name, "kind: set it if the pipe has no machinetype of this name")
        self.machinetypes[name] = keys

    def add_pipe(self, name: str, url: str, home: str, keys: dict[str, Any], weakest: Mapping[str, Any]) -> None:
        """Add a pipe: ``keys`` win over it, and it wins over ``weakest``. Vac and Vcycle have its files in ``home``."""
        if url.startswith("http://"):
            self.note(name, f"vacuum_pipe_url: {url} is not safe against changes on the way; using https instead")
            url = "https" + url[4:]
        if "target_share" not in keys:
            keys = layers.over(keys, {key: value for key, value in layers.OFF.items() if value is not None})
            self.note(name, layers.OFF_NOTE)
        self.note(name, f"user_data_proxy: if the pipe has it, set user_data_proxy_cert and _key ({home}/x509*.pem)")
        made = {"url": url, "files": f"{home}/files", **keys}
        below = {key: value for key, value in weakest.items() if value}
        self.pipes[name] = {**made, "defaults": below} if below else made


def _place(key: str) -> int:
    """Where a key stands: in the order of the key table, the site's own keys of the image with it, the share last."""
    if key.startswith("image_"):
        return _ORDER.index("image_format")
    return _ORDER.index(key) if key in BY_NAME else len(_ORDER)
