# SPDX-License-Identifier: GPL-3.0-or-later
"""Which URLs condor_vac fetches from; separate from ``fetch``, because the hooks check URLs without an HTTP client."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from condor_vac.base.errors import VacError

if TYPE_CHECKING:
    import urllib.parse

_URL_LIMIT = 2048
_URL = r"[!-~]+"
# A query or fragment in a sentence: to the end of its word, but for what closes the word there.
_WORD_END = r"""(?=["')]*[:;,.]?(?:\s|$))"""
_QUERY = re.compile(rf"[?#](?!{_WORD_END})\S*?{_WORD_END}")


class FetchError(VacError):
    """Nothing, or nothing usable, came. ``status`` is HTTP's where the server gave one.

    The message shows no URL's query: messages go into logs.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(without_queries(message))
        self.status = status


def without_queries(text: str) -> str:
    """The text with ``?…`` for each URL's query and fragment, which may hold a token."""
    return _QUERY.sub("?…", text)


def is_url(source: str) -> bool:
    """Whether a source has a scheme (of any kind), so that it is not a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", source) is not None


def check_url(url: str) -> str:
    """``url`` itself if ``download`` could start with it. Raises FetchError with the reason."""
    parse(url)
    return url


def parse(url: str, first: urllib.parse.SplitResult | None = None) -> urllib.parse.SplitResult:
    """The URL's parts; ``first`` is where redirects began, None for that itself. Raises FetchError."""
    import urllib.parse  # noqa: PLC0415 - 0.5 ms of 27, at each VM's start

    # A part that has blanks is not found by its word.
    shown = ascii(re.split("[?#]", url)[0][:120])
    if len(url) > _URL_LIMIT or not re.fullmatch(_URL, url):
        raise FetchError(f"{shown}: not a URL: it is too long, or has blanks or characters that are not ASCII")
    try:
        parts = urllib.parse.urlsplit(url)
        has_port = parts.port is None or parts.port > 0
    except ValueError as error:
        raise FetchError(f"{shown}: not a URL: {error}") from error
    if parts.username is not None or parts.password is not None:
        raise FetchError("a URL with a user or password in it is not fetched; take them out")
    if parts.scheme not in {"http", "https"} or not parts.hostname or not has_port:
        where = "" if first is None else f" (from {first.geturl()})"
        raise FetchError(f"{shown}{where}: must be https://HOST/PATH")
    here = is_loopback(parts.hostname)
    if parts.scheme == "http" and not here:
        raise FetchError(f"{shown}: http is not safe against changes on the way; use https")
    if first is not None and here and not is_loopback(first.hostname or ""):
        raise FetchError(f"{first.geturl()}: redirects to this machine itself; not followed")
    return parts


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
