# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a URL that an experiment wrote may lead: to public addresses, and to hosts of the site that the site names.

The site's own machines trust each other by their addresses. A vacuum pipe that names one of them would have this
machine ask it in the experiment's place, and hand the answer to the experiment's VMs.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from typing import Union

from condor_vac.base import http_proxy, urls
from condor_vac.base.errors import UsageError
from condor_vac.base.http_proxy import Exempt
from condor_vac.base.urls import FetchError

# RFC 6052: the last four bytes are the IPv4 address that is reached.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


def named(hosts: object) -> tuple[Exempt, ...]:
    """The hosts that a site names (texts, or one text with commas), written as those of no_proxy. Raises UsageError."""
    try:
        return http_proxy.exceptions(hosts, "private_hosts")
    except ValueError as error:
        raise UsageError(str(error)) from error


def check(url: str, allowed: Collection[Exempt]) -> None:
    """Raises FetchError where the URL's host is already the address that it may not be; names are not looked up."""
    parts = urls.parse(url)
    host, port = parts.hostname or "", parts.port or 443
    if urls.is_loopback(host) or _address(host) is not None:
        _check(url, host, [host], port, allowed)


def addresses(url: str, host: str, port: int, allowed: Collection[Exempt]) -> list[str]:
    """The addresses of the host of a URL, all of which it may lead to. Raises FetchError, OSError.

    Who connects to them, and not to the name, cannot be led elsewhere by another answer of its name server.
    """
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    _check(url, host, found, port, allowed)
    return found


def is_public(text: str) -> bool:
    """Whether everybody in the Internet reaches the same machine at this address."""
    address = _address(text)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if address.is_site_local:
            return False
    return address is not None and address.is_global and not (address.is_multicast or address.is_reserved)


def _check(url: str, host: str, found: list[str], port: int, allowed: Collection[Exempt]) -> None:
    bare = host.lower().rstrip(".")
    if any(one.covers(bare, port) for one in allowed):
        return
    for text in found:
        if not is_public(text) and not any(one.covers(text, port) for one in allowed):
            what = f"{host} is" if text == host else f"{host} has the address {text}, which is"
            raise FetchError(
                f"{url}: {what} not public, and a pipe may name no host of the site's own network; if VMs need it, name"
                " it in private_hosts of the pipe"
            )


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
