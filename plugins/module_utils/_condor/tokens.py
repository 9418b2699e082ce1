# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The claims of HTCondor's IDTOKENS, and whether one is still usable. Nothing here reads or checks a signature.

A token is a JSON Web Token (RFC 7519) in compact form. HTCondor writes the claims iss (the TRUST_DOMAIN of
who signed it), sub (the identity), iat, exp, jti, and scope with one ``condor:/AUTHORIZATION`` for each
authorisation that it is limited to (src/condor_io/condor_auth_passwd.cpp, generate_token).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import InvalidContent, ModuleError

AUTHORIZATIONS = [
    "READ",
    "WRITE",
    "NEGOTIATOR",
    "ADMINISTRATOR",
    "CONFIG",
    "DAEMON",
    "ADVERTISE_MASTER",
    "ADVERTISE_SCHEDD",
    "ADVERTISE_STARTD",
]
IDENTITY = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+")
# Clocks of a pool may differ by so many seconds before a token of the future is worth an error.
SKEW = 300


@dataclass(frozen=True)
class Claims:
    """The readable part of a token; ``issued`` and ``expires`` in seconds since 1970, 0 if it never expires."""

    identity: str
    issuer: str
    authorizations: tuple[str, ...]
    issued: int
    expires: int
    id: str


@dataclass(frozen=True)
class Wanted:
    """What a token has to be; ``renew_before`` its end in seconds, ``issued_after`` in seconds since 1970."""

    identity: str
    issuer: str
    authorizations: tuple[str, ...]
    lifetime: int
    renew_before: int
    issued_after: int

    def fault(self, claims: Claims, now: int) -> str:
        """Why *claims* do not serve any more, in one line; empty if they do."""
        for name in ("identity", "issuer", "authorizations"):
            here, there = getattr(claims, name), getattr(self, name)
            if here != there:
                return f"its {name} is {_text(here)}, not {_text(there)}"
        if claims.issued < self.issued_after:
            return "it was signed before the central manager got its present key"
        if claims.expires == 0:
            return "it never expires"
        if claims.expires <= now:
            return "it has expired"
        if claims.expires - now <= self.renew_before:
            return f"it expires within {self.renew_before} s"
        return ""


def wanted(params: dict[str, Any]) -> Wanted:
    """The arguments of a module as Wanted. Raises ModuleError that names what cannot be."""
    identity, lifetime, renew_before = params["identity"], params["lifetime"], params["renew_before"]
    check_request(identity, lifetime)
    if not 0 <= renew_before < lifetime:
        raise ModuleError(
            f"renew_before: {renew_before} s, with a lifetime of {lifetime} s",
            "give 0 or more, and less than the lifetime, or every run would renew the token",
        )
    return Wanted(
        identity,
        params["issuer"] or identity.partition("@")[2],
        tuple(sorted(set(params["authorizations"]))),
        lifetime,
        renew_before,
        params["issued_after"],
    )


def check_request(identity: str, lifetime: int) -> None:
    """Raise ModuleError for an identity or a lifetime that condor_token_create would take without a word."""
    if not IDENTITY.fullmatch(identity):
        raise ModuleError(f"identity: {identity!r} is not of the form user@domain", "write it like condor@pool.example")
    if lifetime <= 0:
        raise ModuleError(
            f"lifetime: {lifetime} s is not a valid lifetime",
            "give how many seconds it is valid, for instance 31536000",
        )


def read(text: str, where: str) -> Claims:
    """The claims of the one token in *text*. Raises InvalidContent, which never quotes the token."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) != 1:
        raise InvalidContent(f"{where} holds {len(lines)} tokens", "it must hold exactly one")
    try:
        payload = json.loads(_decode(lines[0].split(".")[1]))
        return Claims(
            str(payload["sub"]),
            str(payload["iss"]),
            _authorizations(str(payload.get("scope", ""))),
            int(payload["iat"]),
            int(payload.get("exp", 0)),
            str(payload.get("jti", "")),
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise InvalidContent(f"{where} holds no IDTOKEN of HTCondor", "create a new one") from None


def _authorizations(scope: str) -> tuple[str, ...]:
    return tuple(sorted({word.rpartition("/")[2] for word in scope.split()}))


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _text(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else " ".join(value) or "(unlimited)"
