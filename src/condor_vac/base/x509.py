# SPDX-License-Identifier: GPL-3.0-or-later
"""X.509 for images and proxies: Python's cryptography where it is needed, names, times, PEM, the grid's authorities."""

from __future__ import annotations

import datetime
import importlib
import os
from typing import Any

from condor_vac.base.errors import VacError

# Where a grid site keeps the certificates of the authorities that grid services and signers have theirs from.
GRID_CA = "/etc/grid-security/certificates"
_SHORT_NAMES = {
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
    "1.2.840.113549.1.9.1": "emailAddress",
    "2.5.4.3": "CN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
}


def grid_ca() -> str | None:
    """The grid's certificates, where this machine has them."""
    return GRID_CA if os.path.isdir(GRID_CA) else None


def distinguished_name(name: Any) -> str:
    """An X.509 name as OpenSSL writes it on one line; a slash in a value, which could pretend to be another
    attribute, as ``\\x2f``."""
    parts = []
    for attribute in name:
        oid = attribute.oid.dotted_string
        value = str(attribute.value)
        shown = "".join(char if char.isprintable() and char != "/" else f"\\x{ord(char):02x}" for char in value)
        parts.append(f"/{_SHORT_NAMES.get(oid, oid)}={shown}")
    return "".join(parts)


def library(*names: str) -> Any:
    """A part of the package cryptography, imported when it is needed. Raises VacError if it is missing."""
    try:
        return importlib.import_module(".".join(["cryptography", *names]))
    except ImportError as error:
        raise VacError(f"X.509 needs Python's cryptography: {error}; install python3-cryptography") from error


def pem_blocks(data: bytes, kind: bytes) -> list[bytes]:
    """The PEM blocks whose name ends in ``kind``."""
    blocks, block = [], []
    for line in data.splitlines():
        if line.startswith(b"-----BEGIN ") and line.rstrip().endswith(kind + b"-----"):
            block = [line]
        elif block:
            block.append(line)
            if line.startswith(b"-----END "):
                blocks.append(b"\n".join(block) + b"\n")
                block = []
    return blocks


def moment_of(certificate: Any, name: str) -> float:
    """A time of a certificate, Unix s; naive and in UTC before cryptography 42."""
    found: datetime.datetime | None = getattr(certificate, f"{name}_utc", None)
    moment = found if found is not None else getattr(certificate, name).replace(tzinfo=datetime.timezone.utc)
    return moment.timestamp()


def utc(moment: float) -> str:
    """A time (Unix s) as ISO 8601 in UTC, to the second."""
    return datetime.datetime.fromtimestamp(moment, tz=datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
