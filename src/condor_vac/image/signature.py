# SPDX-License-Identifier: GPL-3.0-or-later
"""The signature that a CernVM image carries in its last 32 KiB, and whether a site trusts who made it.

The block is JSON padded with NUL bytes: ``certificate`` (base64 of a PEM certificate) and ``signature``
(base64; PKCS #1 v1.5 with SHA-256) of every byte before the block. Format: sign.sh in cernvm/cernvm-micro.
Released images have JSON that lacks commas (projectvacuum/vac, vacutils.py), so that the two values are taken
by name. The certificate must lead to a CA of the site (``openssl verify``, as in Vac: EL 9's cryptography
cannot verify a chain), and its subject must match the pattern that the site gives.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from typing import Any

from condor_vac.base import tools
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.x509 import GRID_CA, distinguished_name, library

BLOCK_BYTES = 32 * 1024
_TIMEOUT_SECONDS = 30.0


class SignatureError(VacError):
    """The image is not signed, not by its contents' signer, or not by somebody whom the site trusts."""


def check_pattern(pattern: str) -> str:
    """The pattern, if it is a regular expression. Raises UsageError."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise UsageError(f"signing DN {pattern!r}: not a regular expression: {error}; correct it") from error
    return pattern


def verify(block: bytes, digest: bytes, pattern: str, ca: str = GRID_CA) -> str:
    """The DN of the signer, as ``/DC=ch/DC=cern/CN=…``.

    ``block`` is the image's last 32 KiB, ``digest`` the SHA-256 digest of what is before it. ``pattern`` is
    searched in the DN, as Vac's image_signing_dn. ``ca`` is a file or a hashed directory of CA certificates.
    Raises SignatureError if it is wrong, VacError where this node cannot check it.
    """
    x509 = library("x509")
    pem = certificate(block)
    try:
        signer = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise SignatureError(f"the certificate in its signature block cannot be read: {error}") from error
    _check_signature(signer, _field(block, "signature"), digest)
    name = distinguished_name(signer.subject)
    if not re.search(check_pattern(pattern), name):
        raise SignatureError(f"signed by {name}, which does not match {pattern}")
    _check_chain(pem, name, ca)
    return name


def certificate(block: bytes) -> bytes:
    """The signer's certificate (PEM) as an image's last 32 KiB hold it, unchecked. Raises SignatureError."""
    return _field(block, "certificate")


def _field(block: bytes, name: str) -> bytes:
    found = re.findall(rb'"%b"\s*:\s*"([A-Za-z0-9+/=]*)"' % name.encode(), block.rstrip(b"\0"))
    if len(found) != 1:
        raise SignatureError(f"not signed: its last {BLOCK_BYTES} bytes hold {len(found) or 'no'} {name}")
    try:
        return base64.b64decode(found[0], validate=True)
    except binascii.Error as error:
        raise SignatureError(f"the {name} in its signature block is not base64: {error}") from error


def _check_signature(certificate: Any, signature: bytes, digest: bytes) -> None:
    rsa = library("hazmat", "primitives", "asymmetric", "rsa")
    padding = library("hazmat", "primitives", "asymmetric", "padding")
    prehashed = library("hazmat", "primitives", "asymmetric", "utils").Prehashed
    sha256 = library("hazmat", "primitives", "hashes").SHA256
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise SignatureError("signed with a key that is not RSA of at least 2048 bits")
    try:
        key.verify(signature, digest, padding.PKCS1v15(), prehashed(sha256()))
    except library("exceptions").InvalidSignature:
        raise SignatureError("its signature does not fit its contents: the image was changed or damaged") from None


def _check_chain(pem: bytes, name: str, ca: str) -> None:
    if not os.path.exists(ca):
        raise VacError(f"{ca}: no such CA file or directory; install the CAs there, or name another place")
    where = "-CApath" if os.path.isdir(ca) else "-CAfile"
    argv = ["openssl", "verify", "-no-CAfile", "-no-CApath", "-no-CAstore", where, ca]
    try:
        tools.run(argv, timeout=_TIMEOUT_SECONDS, stdin=pem)
    except tools.ToolError as error:
        if error.status is None:
            raise
        raise SignatureError(f"the certificate of {name} is not trusted by {ca}: {error}") from error
