# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this worker node runs the jobs of an access point as their owners, or as nobody.

The rules are the starter's: JICShadow::sameUidDomain (condor_starter.V6.1/jic_shadow.cpp), host_in_domain
(condor_utils/internet.cpp) and get_full_hostname (condor_utils/ipv6_hostname.cpp). The module ``uid_domain_info`` has a
copy, which ``python -m tests.shared_file`` writes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import NamedTuple

REMEDY = (
    "give the access point's address a reverse name in that domain (DNS or /etc/hosts of worker nodes: the name with"
    " its domain first), or set UID_DOMAIN on all machines to a domain that its name ends with"
)
_TRUE = {"true", "t", "yes", "y", "1"}


class Rules(NamedTuple):
    """What HTCondor's configuration says of names."""

    uid_domain: str
    default_domain: str
    # Whether nobody looks (TRUST_UID_DOMAIN), and whether addresses have no names (NO_DNS).
    trusted: bool
    no_dns: bool


def rules(value: Callable[[str], str]) -> Rules:
    """The rules of a configuration; ``value`` gives a variable's value by its name, empty if it has none."""
    trusted, no_dns = (value(name).strip().lower() in _TRUE for name in ("TRUST_UID_DOMAIN", "NO_DNS"))
    return Rules(value("UID_DOMAIN").strip(), value("DEFAULT_DOMAIN_NAME").strip(), trusted, no_dns)


def faults(points: Iterable[str], these: Rules) -> list[str]:
    """One line for each access point (a host name or an address) whose jobs would run as nobody on this machine.

    One that cannot be resolved has none: HTCondor comes to the node, not the node to it.
    """
    if these.trusted or these.no_dns or not these.uid_domain:
        return []
    return [fault for fault in (_fault(point, these) for point in points) if fault]


def _fault(point: str, these: Rules) -> str:
    known = {address: full_name(names_behind(address), these.default_domain) for address in _addresses(point)}
    if any(_is_own(address) or in_domain(name, these.uid_domain) for address, name in known.items()):
        return ""
    behind = ", ".join(f"{address}: {name or 'no name with a domain'}" for address, name in known.items())
    what = (
        f"UID_DOMAIN is {these.uid_domain}, but the name behind the access point {point} is not in it ({behind}):"
        " its jobs run as nobody here, and VMs end with 'sudo: a password is required'"
    )
    return what if known else ""


def full_name(names: list[str], default_domain: str) -> str:
    """The first name with a dot, else the first one in the default domain; empty without either."""
    dotted = next((name for name in names if "." in name), "")
    if dotted or not (names and default_domain):
        return dotted
    return f"{names[0]}.{default_domain.lstrip('.')}"


def in_domain(name: str, domain: str) -> bool:
    """Whether a host's name is the domain or ends with it, after a dot."""
    name, domain = name.lower(), domain.lower()
    return name == domain or name.endswith(domain if domain.startswith(".") else f".{domain}")


def names_behind(address: str) -> list[str]:
    """The names of an address that lead back to it, its own before its aliases."""
    try:
        name, aliases, _addresses_found = socket.gethostbyaddr(address)
    except OSError:
        return []
    return [one for one in (name, *aliases) if address in _addresses(one)]


def _addresses(name: str) -> list[str]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_own(address: str) -> bool:
    """Whether this machine has the address: its own jobs are trusted (TRUST_LOCAL_UID_DOMAIN)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as own:
        try:
            own.bind((address, 0))
        except OSError:
            return False
    return True
