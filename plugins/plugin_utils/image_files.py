# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the images of machinetypes are called on worker nodes."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping
from typing import Any

from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import image_name

# Keys of the inventory, image_KEY, by which a worker node knows the right image.
KEYS = ("checksum", "signing_dn", "ca")


def image(machinetype: Mapping[str, Any]) -> dict[str, str]:
    """Where a machinetype's image is from, and by what a worker node knows it: source, checksum, signing_dn, ca."""
    known = {key: str(machinetype.get(f"image_{key}") or "") for key in KEYS}
    return {"source": str(machinetype["image"]), **known}


def names(machinetypes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Machinetype → the file name of its image on worker nodes.

    It is the last part of its source. Where this would be one name for different images (two servers' cernvm4.iso), or
    is not all that identifies the image (get?name=vm.iso), each gets eight hexadecimal digits of its own before
    the suffix.
    """
    wanted = {name: image(machinetype) for name, machinetype in machinetypes.items()}
    digests: dict[str, set[str]] = {}
    for one in wanted.values():
        digests.setdefault(_base(one), set()).add(_digest(one))
    return {name: _name(one, shared=_shares(one, len(digests[_base(one)]))) for name, one in wanted.items()}


def _name(one: Mapping[str, str], *, shared: bool) -> str:
    stem, suffix = posixpath.splitext(_base(one))
    return f"{stem}-{_digest(one)}{suffix}" if shared else _base(one)


def _shares(one: Mapping[str, str], images: int) -> bool:
    return images > 1 or _base(one) != one["source"].rpartition("/")[2]


def _base(one: Mapping[str, str]) -> str:
    return image_name(one["source"])


def _digest(one: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(one, sort_keys=True).encode()).hexdigest()[:8]
