# SPDX-License-Identifier: GPL-3.0-or-later
"""When this machine's credentials end: tokens, certificates, those that VMs' proxies are made of, CAs of signers.

The one place for the rule that 30 days ahead is soon: ``condor_vac doctor``, ``explain`` and ``metrics`` have it from
here.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import ssl
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from condor_vac.base import atomic, json_text, tools, x509
from condor_vac.base.errors import VacError
from condor_vac.base.findings import Finding
from condor_vac.base.shared import MACHINETYPES_DIRECTORY, one_line
from condor_vac.image import signature
from condor_vac.image.store import Record, Store
from condor_vac.model import machinetype
from condor_vac.worker.checks.node import TIMEOUT_SECONDS, Check, Node

SOON_SECONDS = 30 * 86400
TOKEN, CERTIFICATE, PROXY_CERTIFICATE, SIGNING_CA = "token", "certificate", "proxy_certificate", "signing_ca"
_WORDS = {PROXY_CERTIFICATE: "certificate for VMs' proxies", SIGNING_CA: "CA of images' signers"}
_TOKENS = "/etc/condor/tokens.d"
_CERTIFICATES = ("auth_ssl_server_certfile", "auth_ssl_client_certfile")
_LIMIT = 1 << 16
_CA_LIMIT = 1 << 22
# The file names of a directory that openssl rehash made.
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]")
# From a signer up to the CA that signed itself.
_CHAIN = 5
_NEW_TOKEN = "condor_token_create on the central manager makes another (docs/tokens.md)"  # noqa: S105 - no password
_NEW_CA = "install the CA's new certificate there (EGI: update ca-policy-egi-core)"


class Credential(NamedTuple):
    """One credential: its kind, its file, when it ends (Unix s; None: never or not known), why that is not known, and
    how a new one is made."""

    kind: str
    path: str
    ends: float | None
    fault: str | None
    remedy: str


def tokens_of(node: Node) -> Iterator[Credential]:
    """HTCondor's tokens of this machine; of a file with several the first to end. Raises VacError."""
    directory = node.knobs.get("sec_token_system_directory") or _TOKENS
    for name in _names(node, directory):
        path = f"{directory}/{name}"
        try:
            lines = [line for line in _read(node, path).splitlines() if line.strip() and not line.startswith(b"#")]
            ends = [_end_of_token(line) for line in lines]
        except (VacError, ValueError) as error:
            fault = f"{path}: no token can be read: {one_line(str(error), 200)}"
            yield Credential(TOKEN, path, None, fault, _NEW_TOKEN)
            continue
        end = min((end for end in ends if end is not None), default=None)
        yield Credential(TOKEN, path, end, None if ends else f"{path}: there is no token in it", _NEW_TOKEN)


def certificates_of(node: Node) -> Iterator[Credential]:
    """The certificates by which HTCondor's daemons here show who they are."""
    for knob in _CERTIFICATES:
        for path in re.split(r"[,\s]+", node.knobs.get(knob, "")):
            if path and os.path.exists(node.path(path)):
                yield _certificate(node, CERTIFICATE, path, f"renew it, as {knob.upper()} names it")


def proxy_certificates_of(node: Node) -> Iterator[Credential]:
    """The site's certificates of which factories make VMs' proxies; a machinetype that is wrong has none."""
    directory = node.path(MACHINETYPES_DIRECTORY)
    try:
        files = sorted(name for name in os.listdir(directory) if name.endswith(".json"))
    except FileNotFoundError:
        return
    except OSError as error:
        raise VacError(f"{MACHINETYPES_DIRECTORY}: {error.strerror}") from error
    users: dict[str, list[str]] = {}
    for file in files:
        try:
            m = machinetype.load(os.path.join(directory, file))
        except VacError:
            # condor_vac status shows it.
            continue
        if m.user_data_proxy and m.user_data_proxy_cert:
            users.setdefault(m.user_data_proxy_cert, []).append(m.name)
    for path, names in users.items():
        yield _certificate(node, PROXY_CERTIFICATE, path, f"renew it; VMs of {', '.join(names)} get none without it")


def signing_cas_of(node: Node) -> Iterator[Credential]:
    """The CAs from which the signers of this node's images have their certificates. Raises VacError."""
    directory = node.settings.image_dir
    store = Store(node.path(directory))
    found: dict[str, Credential] = {}
    for name in store.names():
        try:
            record = store.described(name)
        except VacError:
            # Another check reports the damaged record.
            continue
        if record is None or record.signing_dn is None:
            continue
        ca = record.ca or x509.GRID_CA
        try:
            for path, end in _issuers(store, record, node.path(ca)):
                shown = path.removeprefix(node.root)
                found.setdefault(shown, Credential(SIGNING_CA, shown, end, None, _NEW_CA))
        except VacError as error:
            fault = f"{ca}: the CA of {name}'s signer cannot be read: {one_line(str(error), 200)}"
            found[ca] = Credential(SIGNING_CA, ca, None, fault, _NEW_CA)
    yield from found.values()


def of_machine(node: Node) -> tuple[list[Credential], list[str]]:
    """All of this machine's credentials, and what could not be listed, in sentences."""
    sources = [tokens_of, certificates_of]
    sources += [proxy_certificates_of] if node.is_access_point else []
    sources += [signing_cas_of] if node.is_worker else []
    found: list[Credential] = []
    unknown = []
    for source in sources:
        try:
            found += source(node)
        except VacError as error:
            unknown.append(str(error))
    return found, unknown


def findings(credentials: Iterable[Credential]) -> list[Finding]:
    """What is wrong with them, or will be within SOON_SECONDS."""
    now = time.time()
    found = []
    for one in credentials:
        what = f"the {_WORDS.get(one.kind, one.kind)} {one.path}"
        if one.fault is not None:
            found.append(Finding(one.fault, one.remedy))
        elif one.ends is not None and one.ends <= now:
            found.append(Finding(f"{what} has expired", one.remedy))
        elif one.ends is not None and one.ends - now <= SOON_SECONDS:
            days = f"{(one.ends - now) / 86400:.0f} days"
            found.append(Finding(f"{what} expires in {days}, at {x509.utc(one.ends)}", one.remedy, later=True))
    return found


def tokens(node: Node) -> list[Finding]:
    """HTCondor's tokens of this machine can be read, and are good for another 30 days."""
    return findings(tokens_of(node))


def certificates(node: Node) -> list[Finding]:
    """HTCondor's certificates of this machine are good for another 30 days."""
    return findings(certificates_of(node))


def proxy_certificates(node: Node) -> list[Finding]:
    """The certificates for VMs' proxies are good for another 30 days."""
    return findings(proxy_certificates_of(node))


def signing_cas(node: Node) -> list[Finding]:
    """The CAs of images' signers are good for another 30 days: without them no newer image is accepted."""
    return findings(signing_cas_of(node))


def _certificate(node: Node, kind: str, path: str, remedy: str) -> Credential:
    """The first certificate in a file, and what follows it there: the first to end counts."""
    try:
        blocks = x509.pem_blocks(_read(node, path), b"CERTIFICATE")
        ends = [_end_of_certificate(block) for block in blocks[:_CHAIN]] or [_end_of_certificate(b"")]
    except (VacError, ValueError) as error:
        fault = f"{path}: no certificate can be read: {one_line(str(error), 200)}"
        return Credential(kind, path, None, fault, remedy)
    return Credential(kind, path, min(ends), None, remedy)


def _end_of_certificate(pem: bytes) -> float:
    """When a certificate ends, by openssl, which is on machines without Python's cryptography too.

    Raises VacError, ValueError.
    """
    answer = tools.run(["openssl", "x509", "-noout", "-enddate"], timeout=TIMEOUT_SECONDS, stdin=pem)
    return float(ssl.cert_time_to_seconds(answer.strip().partition("=")[2]))


def _issuers(store: Store, record: Record, ca: str) -> Iterator[tuple[str, float]]:
    """File and end of each CA from an image's signer up. Raises VacError."""
    load = x509.library("x509").load_pem_x509_certificate
    try:
        with open(store.path(record), "rb") as stream:
            stream.seek(-signature.BLOCK_BYTES, os.SEEK_END)
            certificate = load(signature.certificate(stream.read()))
        known = {authority.subject: (path, authority) for path, authority in _authorities(ca, load)}
    except (OSError, ValueError) as error:
        raise VacError(str(error)) from error
    if certificate.issuer not in known:
        raise VacError("it is not there")
    for _step in range(_CHAIN):
        path, authority = known[certificate.issuer]
        yield path, x509.moment_of(authority, "not_valid_after")
        if authority.subject == certificate.issuer == authority.issuer or authority.issuer not in known:
            return
        certificate = authority


def _authorities(ca: str, load: Any) -> Iterator[tuple[str, Any]]:
    """The certificates of a file, or of a hashed directory, with their files. Raises VacError, ValueError, OSError."""
    names = sorted(filter(_HASHED.fullmatch, os.listdir(ca))) if os.path.isdir(ca) else [""]
    for path in (os.path.join(ca, name) if name else ca for name in names):
        for block in x509.pem_blocks(atomic.read(path, _CA_LIMIT), b"CERTIFICATE"):
            yield path, load(block)


def _names(node: Node, directory: str) -> list[str]:
    """What may be a token: HTCondor takes every file of the directory whose name does not begin with a dot."""
    try:
        return sorted(name for name in os.listdir(node.path(directory)) if not name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise VacError(f"{directory}: {error.strerror}") from error


def _read(node: Node, path: str) -> bytes:
    """Raises VacError, which does not name the path a second time."""
    try:
        return atomic.read(node.path(path), _LIMIT)
    except VacError as error:
        raise VacError(str(error).removeprefix(f"{node.path(path)}: ")) from error


def _end_of_token(line: bytes) -> float | None:
    """When a token ends, Unix s; None if it has no end. Raises ValueError, which shows nothing of it."""
    parts = line.strip().split(b".")
    if len(parts) != 3:
        raise ValueError("not a JSON Web Token")
    try:
        payload = json_text.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        raise ValueError("not a JSON Web Token") from None
    end = payload.get("exp") if isinstance(payload, dict) else None
    if not isinstance(payload, dict) or isinstance(end, bool) or not isinstance(end, (int, float, type(None))):
        raise ValueError("not a JSON Web Token")
    return end


_EVERYWHERE = (Check("condor", "tokens", tokens), Check("condor", "certificates", certificates))
CHECKS = (*_EVERYWHERE, Check("images", "signing CAs", signing_cas))
ACCESS_POINT = (*_EVERYWHERE, Check("condor", "certificates for proxies", proxy_certificates))
