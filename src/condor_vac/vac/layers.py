# SPDX-License-Identifier: GPL-3.0-or-later
"""One set of a machinetype's keys over another: [settings] < pipe < section of a pipe < section of a machinetype.

The order is that of Vac's readConf (shared.py): what is said nearer to the machinetype wins, key by key, and what is
not said there stays what it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What a size for each processor replaces: the whole size that was said farther away.
_WHOLE = {
    "memory_mb_per_processor": ("memory_mb",),
    "disk_gb_per_processor": ("cvmfs_cache_gb", "scratch_gb"),
    "hs06_per_processor": ("hs06",),
}
# What a target share of 0 means here: no VM. No other limit may be above max_machines.
OFF: Mapping[str, Any] = {
    "target_share": 0,
    "max_machines": 0,
    "max_idle": None,
    "max_starting": None,
    "probe_machines": None,
    "first_machines": None,
}
OFF_NOTE = "target_share: 0 or none means that Vac starts no VM of it: max_machines is 0; raise both to have VMs"


def over(weaker: Mapping[str, Any], stronger: Mapping[str, Any]) -> dict[str, Any]:
    """``weaker`` with what ``stronger`` sets; null there takes a key away. Names of options and files count singly."""
    result = dict(weaker)
    for key, wholes in _WHOLE.items():
        if stronger.get(key) is not None:
            for whole in wholes:
                result.pop(whole, None)
    if stronger.get("target_share") and result.get("max_machines") == 0:
        del result["max_machines"]
    files, options = stronger.get("user_data_files"), result.get("user_data_options")
    if isinstance(files, Mapping) and isinstance(options, Mapping):
        # A file fills the option of its name.
        result["user_data_options"] = {name: text for name, text in options.items() if name not in files}
    for key, value in stronger.items():
        old = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(old, Mapping):
            result[key] = {**old, **value}
        else:
            result[key] = value
    return result
