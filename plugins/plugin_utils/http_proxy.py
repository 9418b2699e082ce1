# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# Made from src/condor_vac/base/http_proxy.py by python -m tests.shared_file: change that file, not this one.
"""A site's HTTP proxy: how it is written, and which hosts are reached without it (no_proxy).

The plugins have a copy, which ``python -m tests.shared_file`` writes. Standard library only.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import urllib.parse
from collections.abc import Iterable
from typing import NamedTuple, Union

REMEDY = "must be http://[USER:PASSWORD@]HOST:PORT, with @ : / in user and password as %40 %3A %2F"
EXCEPTION_REMEDY = "must be a host, a .domain, an address or a network, each without http:// and path, or *"
EVERYTHING = "*"
_LIMIT = 1024
_HOST = r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?"

_Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


class Exempt(NamedTuple):
    """What is reached directly: hosts of a network or, where that is None, a host or domain; a port of None is any."""

    network: _Network | None
    name: str
    port: int | None

    def covers(self, host: str, port: int) -> bool:
        """Whether it is so for this host (lower case, no dot at the end)."""
        if self.port not in {None, port}:
            return False
        if self.network is None:
            return self.name in {EVERYTHING, host} or (_address(host) is None and host.endswith(f".{self.name}"))
        address = _address(host)
        return address is not None and address in self.network


class HttpProxy(NamedTuple):
    """A proxy that is asked in plain HTTP. ``credentials`` are USER:PASSWORD, None if it asks for none."""

    host: str
    port: int
    credentials: str | None = None
    exempt: tuple[Exempt, ...] = ()

    def __repr__(self) -> str:
        """Without the password, wherever this is printed."""
        return f"HttpProxy({self.shown})"

    @property
    def shown(self) -> str:
        """HOST:PORT, for messages."""
        return authority(self.host, self.port)

    def serves(self, host: str, port: int) -> bool:
        """Whether the proxy is to be asked for what this host has on this port."""
        bare = host.lower().rstrip(".")
        return not any(one.covers(bare, port) for one in self.exempt)

    def headers(self) -> dict[str, str]:
        """What a request to the proxy has besides."""
        if self.credentials is None:
            return {}
        return {"Proxy-Authorization": "Basic " + base64.b64encode(self.credentials.encode()).decode("ascii")}


def authority(host: str, port: int) -> str:
    """HOST:PORT as a URL and CONNECT have it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(proxy: object, no_proxy: object = ()) -> HttpProxy | None:
    """The proxy, None for an empty text. ``no_proxy``: texts, or one text with commas or blanks between.

    Raises ValueError (``http_proxy: …`` or ``no_proxy: …``), which never shows a password.
    """
    exempt = exceptions(no_proxy, "no_proxy")
    if proxy is None or proxy == "":
        return None
    if not isinstance(proxy, str):
        raise ValueError(f"http_proxy: {REMEDY}")
    wrong = ValueError(f"http_proxy: {ascii(re.sub('^.*@', '...@', proxy, flags=re.DOTALL))[:120]}: {REMEDY}")
    try:
        parts = urllib.parse.urlsplit(proxy)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise wrong from None
    rest = (parts.path in {"", "/"}, not parts.query, not parts.fragment, len(proxy) <= _LIMIT)
    if parts.scheme != "http" or not port or not all(rest) or not re.fullmatch("[!-~]+", proxy) or not _is_host(host):
        raise wrong
    if parts.username is None:
        return HttpProxy(host, port, None, exempt)
    words = (urllib.parse.unquote(word) for word in (parts.username, parts.password or ""))
    return HttpProxy(host, port, ":".join(words), exempt)


def fault(proxy: object, no_proxy: object, variables: tuple[str, str]) -> str:
    """What is wrong with them in one line that names the variables of the two; empty if nothing is."""
    try:
        parse(proxy, no_proxy)
    except ValueError as error:
        key, _colon, text = str(error).partition(": ")
        return f"{variables[key == 'no_proxy']}: {text}"
    return ""


def exceptions(hosts: object, key: str) -> tuple[Exempt, ...]:
    """Hosts, domains, addresses and networks: texts, or one text with commas or blanks between.

    Raises ValueError (``KEY: …``).
    """
    if hosts is None:
        return ()
    given = [hosts] if isinstance(hosts, str) else hosts
    if not isinstance(given, Iterable) or isinstance(given, dict):
        raise ValueError(f"{key}: must be a list of hosts and domains")
    return tuple(_exempt(word, key) for text in given for word in re.split(r"[,\s]+", str(text)) if word)


def _exempt(word: str, key: str) -> Exempt:
    """One entry. Raises ValueError."""
    wrong = ValueError(f"{key}: {ascii(re.sub('^.*@', '...@', word))[:120]}: {EXCEPTION_REMEDY}")
    if word == EVERYTHING:
        return Exempt(None, EVERYTHING, None)
    found = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]+))?|([^:]+):([0-9]+)", word)
    name, port = word, None
    if found is not None:
        name, digits = found[1] or found[3], found[2] or found[4]
        port = None if digits is None else int(digits)
        if port is not None and not 0 < port < 65536:
            raise wrong
    try:
        return Exempt(ipaddress.ip_network(name, strict=False), "", port)
    except ValueError:
        domain = name.lower().strip(".")
    domain = domain[2:] if domain.startswith("*.") else domain
    if not re.fullmatch(_HOST, domain):
        raise wrong
    return Exempt(None, domain, port)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_host(host: str) -> bool:
    return re.fullmatch(_HOST, host) is not None or _address(host) is not None
