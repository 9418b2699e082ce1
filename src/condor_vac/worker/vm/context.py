# SPDX-License-Identifier: GPL-3.0-or-later
"""What the context ISO of a VM holds, by the kind of its machinetype: file name to contents.

No single ISO serves every image: CernVM 3 and 4 look for ``context.sh`` (its label does not matter), stock
cloud-init for a volume labelled ``cidata`` with ``user-data`` and ``meta-data`` (its data source NoCloud).
"""

from __future__ import annotations

import base64
import json
import re

from condor_vac.base.errors import UsageError
from condor_vac.worker.vm import guest_script
from condor_vac.worker.vm.guest_script import Guest

LABELS = {"cernvm": "CONTEXT", "cloud-init": "cidata"}
ROOT_KEY_NAME = "root.pub"
KEY_LIMIT = 1 << 16

_KEY_LINE = r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,3}( [^\x00-\x1f\x7f]*)?"


def files(kind: str, guest: Guest, user_data: bytes) -> dict[str, bytes]:
    """The files of the ISO for ``kind`` (cernvm or cloud-init). Raises VacError for values that do not fit.

    ``user_data`` is the rendered user data, which goes in byte for byte.
    """
    return {"cernvm": _cernvm, "cloud-init": _cloud_init}[kind](guest, user_data)


def metadata(guest: Guest, machinetype: str, space: str | None, user_data: bytes) -> dict[str, bytes]:
    """The files that nginx answers requests to 169.254.169.254 from; same instance id as on the ISO.

    ``meta_data.json`` is OpenStack's, the others are values of EC2's tree. Raises VacError.
    """
    keys = [] if guest.root_public_key is None else check_public_key(guest.root_public_key, "root public key")
    document = {
        "uuid": guest.uuid,
        "hostname": guest.hostname,
        "name": guest.hostname,
        "public_keys": {str(number): key for number, key in enumerate(keys)},
        "availability_zone": space or "",
        "meta": {**guest_script.urls("http"), "machinetype": machinetype},
    }
    values = {"ami-id": machinetype, "instance-id": guest.uuid, "local-hostname": guest.hostname}
    if keys:
        values["openssh-key"] = "\n".join(keys)
    files = {name: value.encode() for name, value in values.items()}
    return {**files, "meta_data.json": _json(document), "user-data": user_data}


def check_public_key(data: bytes, source: str) -> list[str]:
    """The keys in an authorized_keys file without options, one a line. Raises UsageError naming ``source``.

    A private key put there by mistake would otherwise be handed to every VM.
    """
    try:
        text = data[: KEY_LIMIT + 1].decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{source}: not text; give an OpenSSH public key") from error
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if len(data) > KEY_LIMIT or not keys or not all(re.fullmatch(_KEY_LINE, key) for key in keys):
        raise UsageError(f"{source}: not OpenSSH public keys, one a line without options; give the .pub file")
    return keys


def _cernvm(guest: Guest, user_data: bytes) -> dict[str, bytes]:
    """amiconfig and the µCernVM boot loader source context.sh, so each value is one word of shell."""
    lines = [
        'ONE_CONTEXT_PATH="/var/lib/amiconfig"',
        f'EC2_USER_DATA="{base64.b64encode(user_data).decode()}"',
    ]
    lines += [f'{name.upper()}="{place}"' for name, place in guest_script.places(guest.sharing).items()]
    result = {}
    if guest.root_public_key is not None:
        keys = check_public_key(guest.root_public_key, "root public key")
        result[ROOT_KEY_NAME] = "".join(f"{key}\n" for key in keys).encode()
        lines.insert(0, f'ROOT_PUBKEY="{ROOT_KEY_NAME}"')
    result["context.sh"] = "".join(f"{line}\n" for line in lines).encode()
    result["prolog.sh"] = guest_script.prolog(guest)
    return result


def _cloud_init(guest: Guest, user_data: bytes) -> dict[str, bytes]:
    """JSON is YAML, and quotes everything; vendor-data leaves the whole of user-data to the experiment."""
    metadata: dict[str, object] = {
        "instance-id": guest.uuid,
        "local-hostname": guest.hostname,
        **guest_script.places(guest.sharing),
    }
    if guest.root_public_key is not None:
        metadata["public-keys"] = check_public_key(guest.root_public_key, "root public key")
    network = {
        "version": 2,
        "ethernets": {"vac0": {"match": {"macaddress": guest.mac}, "dhcp4": True}},
    }
    return {
        "user-data": user_data,
        "meta-data": _json(metadata),
        "network-config": _json(network),
        "vendor-data": guest_script.vendor_script(guest),
    }


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"
