# SPDX-License-Identifier: GPL-3.0-or-later
"""X.509 proxies for VMs (``option_x509_proxy``): limited proxies of RFC 3820, made of a site's certificate.

A proxy is made on the access point by the factory, one for each VM, in the VM's own directory there; the job
takes it along as an input file. The site's key never leaves the access point. What a proxy is: section 3 of
RFC 3820; *limited* is Globus's policy, with which services start no jobs.
"""

from __future__ import annotations

import datetime
import os
import stat
from dataclasses import dataclass
from typing import Any

from condor_vac.base import atomic
from condor_vac.base.errors import VacError
from condor_vac.base.x509 import distinguished_name, library, moment_of, pem_blocks, utc
from condor_vac.factory import leftovers
from condor_vac.model.machinetype import PROXY_NAME, Machinetype

KEY_BITS = 2048
# A VM that waits this long in the queue needs no new proxy; also how much longer than a VM a proxy may last.
SPARE_SECONDS = 3600
# Clocks of services that check a new proxy may be behind.
_EARLIER_SECONDS = 300
_FILE_LIMIT = 1 << 18
_PROXY_CERT_INFO = "1.3.6.1.5.5.7.1.14"
# ProxyCertInfo in DER: no path length, policy language 1.3.6.1.4.1.3536.1.1.1.9 (limited), no policy.
_LIMITED = bytes.fromhex("300f300d060b2b060104019b5001010109")
_DER_INTEGER = 0x02


class DirectoryError(VacError):
    """A proxy cannot be put into one VM's directory."""


@dataclass(frozen=True)
class Credential:
    """A site's certificate (or proxy) with its key. ``chain`` is the certificate and what follows it in its file."""

    source: str
    chain: tuple[Any, ...]
    key: Any

    @property
    def ends(self) -> float:
        """When the first of its certificates ends, Unix s."""
        return min(moment_of(certificate, "not_valid_after") for certificate in self.chain)


@dataclass(frozen=True)
class Proxy:
    """A new proxy: ``pem`` is certificate, key and chain, as services read it; ``ends`` in Unix s. Secret."""

    pem: bytes
    subject: str
    ends: float


def load(certificate_path: str, key_path: str) -> Credential:
    """The credential in two PEM files (they may be one). Raises VacError, which never shows their contents.

    A key that everybody on the machine can read is refused: it is to be this user's or its group's alone.
    """
    x509 = library("x509")
    serialization = library("hazmat", "primitives", "serialization")
    try:
        if os.stat(key_path).st_mode & stat.S_IROTH:
            raise VacError(f"{key_path}: every user of this machine can read the key; chmod o-r it")
    except OSError as error:
        raise VacError(f"{key_path}: cannot read: {error.strerror}; check the path and its permissions") from error
    blocks = pem_blocks(atomic.read(certificate_path, _FILE_LIMIT), b"CERTIFICATE")
    try:
        chain = tuple(x509.load_pem_x509_certificate(block) for block in blocks)
    except ValueError as error:
        raise VacError(
            f"{certificate_path}: holds a certificate that cannot be read; put the right one there"
        ) from error
    if not chain:
        raise VacError(f"{certificate_path}: holds no certificate (PEM); install the site's certificate there")
    try:
        # One file with both is usual, and holds certificates before or after the key.
        keys = pem_blocks(atomic.read(key_path, _FILE_LIMIT), b"PRIVATE KEY")
        key = serialization.load_pem_private_key(b"".join(keys), password=None)
    except (ValueError, TypeError) as error:
        raise VacError(f"{key_path}: holds no private key that can be read without a passphrase") from error
    credential = Credential(certificate_path, chain, key)
    _check(credential, key_path)
    return credential


def make(credential: Credential, now: float, ends: float) -> Proxy:
    """A limited proxy from ``now`` to ``ends`` (Unix s). Raises VacError if the credential ends before."""
    if credential.ends < ends:
        raise VacError(
            f"{credential.source}: ends {utc(credential.ends)}, before a proxy of it may ({utc(ends)}); renew it"
        )
    x509, oid = library("x509"), library("x509", "oid")
    hashes = library("hazmat", "primitives", "hashes")
    rsa = library("hazmat", "primitives", "asymmetric", "rsa")
    parent = credential.chain[0]
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    serial = x509.random_serial_number()
    # The proxy's name must be its issuer's and one CN more, unique among the issuer's proxies (3.4).
    last = x509.RelativeDistinguishedName([x509.NameAttribute(oid.NameOID.COMMON_NAME, str(serial))])
    subject = x509.Name([*parent.subject.rdns, last])
    usage = dict.fromkeys(
        ("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign", "encipher_only"),
        False,
    )
    info = x509.UnrecognizedExtension(x509.ObjectIdentifier(_PROXY_CERT_INFO), _LIMITED)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(parent.subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(_datetime(max(now - _EARLIER_SECONDS, moment_of(parent, "not_valid_before"))))
        .not_valid_after(_datetime(ends))
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_encipherment=True, decipher_only=False, **usage), critical=True
        )
        .add_extension(info, critical=True)
        .sign(credential.key, hashes.SHA256())
    )
    return Proxy(_pem(certificate, key, credential.chain), distinguished_name(subject), float(int(ends)))


def of_machinetype(m: Machinetype) -> Credential | None:
    """The credential that a machinetype names, None if its VMs get no proxy. Raises VacError."""
    if not m.user_data_proxy:
        return None
    return load(str(m.user_data_proxy_cert), str(m.user_data_proxy_key))


def lifetime(m: Machinetype) -> int:
    """Seconds for which a proxy of a VM is made: it outlasts a VM that starts within SPARE_SECONDS."""
    return m.max_wallclock_seconds + SPARE_SECONDS


def renew(credential: Credential, directory: str, m: Machinetype, now: float) -> bool:
    """Have a proxy in a waiting VM's directory that outlasts a VM which starts soon; whether it was made now.

    The file is the caller's alone (0600). What else is in its place is removed. Raises DirectoryError, and VacError if
    no proxy can be made.
    """
    path = os.path.join(directory, PROXY_NAME)
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise DirectoryError(f"{path}: {error.strerror}") from error
    # What is made holds for a known time, so that its end follows from its age.
    is_file = found is not None and stat.S_ISREG(found.st_mode)
    if found is not None and is_file and 0 <= now - found.st_mtime < SPARE_SECONDS / 2:
        return False
    made = make(credential, now, now + lifetime(m))
    try:
        if not is_file:
            leftovers.remove(path)
        atomic.write(path, made.pem, mode=0o600)
    except VacError as error:
        raise DirectoryError(str(error)) from error
    return True


def remove(directory: str) -> None:
    """Take the proxy of a VM that has ended away, or what its host sent back under that name. Raises VacError."""
    leftovers.remove(os.path.join(directory, PROXY_NAME))


def _check(credential: Credential, key_path: str) -> None:
    """Refuse a certificate whose proxies no service accepts. Raises VacError."""
    x509 = library("x509")
    encoding = library("hazmat", "primitives", "serialization")
    parent = credential.chain[0]
    shape = (encoding.Encoding.DER, encoding.PublicFormat.SubjectPublicKeyInfo)
    if parent.public_key().public_bytes(*shape) != credential.key.public_key().public_bytes(*shape):
        raise VacError(f"{key_path}: is not the key of the first certificate in {credential.source}; put the right one")
    for extension in parent.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            raise VacError(f"{credential.source}: is a CA, which can have no proxy; give the site's own certificate")
        if isinstance(value, x509.KeyUsage) and not value.digital_signature:
            raise VacError(f"{credential.source}: its key usage allows no signatures, so no proxies; get another one")
        if extension.oid.dotted_string == _PROXY_CERT_INFO and _ends_here(value.value):
            raise VacError(f"{credential.source}: is a proxy that allows no further ones; make one that does")


def _ends_here(info: bytes) -> bool:
    """Whether a ProxyCertInfo (DER) has the path length constraint 0."""
    return info[2:5] == bytes((_DER_INTEGER, 1, 0))


def _pem(certificate: Any, key: Any, chain: tuple[Any, ...]) -> bytes:
    s = library("hazmat", "primitives", "serialization")
    private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.TraditionalOpenSSL, s.NoEncryption())
    public = [each.public_bytes(s.Encoding.PEM) for each in (certificate, *chain)]
    return b"".join([public[0], private, *public[1:]])


def _datetime(moment: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(moment), tz=datetime.timezone.utc).replace(tzinfo=None)
