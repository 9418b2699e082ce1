# SPDX-License-Identifier: GPL-3.0-or-later
"""Attributes of a running job's ad in the schedd, set through the job's starter by the Chirp protocol.

Works for a job with WantIOProxy while its starter lives. Runs as the job's user, who owns the key to it
(.chirp.config: address, port, cookie). One connection for all attributes: a condor_chirp process for each took
seconds where libvirt and HTCondor wait, and libvirtd's AppArmor profile does not let its hook run it. The
protocol's lines are read by the starter in src/condor_starter.V6.1/io_proxy_handler.cpp; its error codes are in
src/condor_chirp/chirp_protocol.h.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Union

from condor_vac.base.errors import VacError
from condor_vac.base.shared import printable

if TYPE_CHECKING:
    import socket

Value = Union[str, int, float, bool, None]

# "127.0.0.1 40404 " and a cookie of some 40 characters.
_CONFIG_LIMIT = 1024
_CONFIG = r"([0-9a-fA-F.:]{2,45}) ([1-9][0-9]{0,4}) (\S{1,255})\s*"
_ANSWER_LIMIT = 64
# CHIRP_ERROR_* of chirp_protocol.h that a job's user can meet here.
_REFUSALS = {
    -1: "the starter does not know this cookie",
    -2: "the starter does not let this job change its ad (WantIOProxy)",
    -3: "no such job or attribute",
    -8: "the starter takes the request for invalid",
}
# The protocol's line and the starter's buffer are longer; this keeps an ad readable as well.
LITERAL_LIMIT = 900
_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,63}"


def literal(value: Value) -> str:
    """``value`` as one ClassAd literal on one line, which every ClassAd parser reads alike.

    A string's backslashes become slashes: the old and the new syntax of ClassAds, both of which a value
    passes through, disagree on them. What cannot be printed becomes U+FFFD, and a long string is cut.
    """
    if value is None:
        return "undefined"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else "undefined"
    return '"' + "".join(_cut([_safe(char) for char in printable(value)])) + '"'


def set_attributes(config: str, attributes: Mapping[str, Value], *, timeout: float) -> None:
    """Set each attribute in the job's ad, in order; ``config`` is the job's .chirp.config.

    ``timeout`` is for all together, in seconds. Raises VacError for the first that fails; others may be set.
    """
    deadline = time.monotonic() + timeout
    for name in attributes:
        if not re.fullmatch(_NAME, name):
            raise VacError(f"{name!r}: not an attribute name")
    host, port, cookie = _read_config(config)
    requests = {"cookie": f"cookie {cookie}\n"}
    requests.update({name: f"set_job_attr {name} {_word(literal(value))}\n" for name, value in attributes.items()})
    with _connected(host, port, timeout) as link:
        # All at once (it reads a line at a time, ReliSock::get_line_raw): a starter whose VM is gone ends soon, and
        # what it is asked after each answer only it may not hear any more.
        link.settimeout(_left(deadline))
        link.sendall("".join(requests.values()).encode())
        answers = _answers(link, deadline)
        for what in requests:
            _judge(what, next(answers, None))


def _read_config(path: str) -> tuple[str, int, str]:
    """Address, port and cookie; the file is in the job's own hands and may be anything."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            text = os.read(fd, _CONFIG_LIMIT).decode("ascii", "replace")
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise VacError(f"{path}: not there; the job needs WantIOProxy = true and a living starter") from None
    except OSError as error:
        raise VacError(f"{path}: {error.strerror}") from error
    found = re.fullmatch(_CONFIG, text)
    if found is None or int(found.group(2)) > 65535:
        raise VacError(f"{path}: not HTCondor's: wanted are an address, a port and a cookie on one line")
    return found.group(1), int(found.group(2)), found.group(3)


@contextlib.contextmanager
def _connected(host: str, port: int, timeout: float) -> Iterator[socket.socket]:
    import socket  # noqa: PLC0415 - 1.4 ms of 27, at no VM's start

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as link:
            link.settimeout(timeout)
            link.connect((host, port))
            yield link
    except (socket.timeout, TimeoutError) as error:
        raise VacError(f"the job's starter at {host}:{port}: no answer within {timeout:g} s") from error
    except OSError as error:
        raise VacError(f"the job's starter at {host}:{port}: {error.strerror or error}") from error


def _left(deadline: float) -> float:
    """The seconds left. Raises TimeoutError if there are none: who sends a byte now and then gets no more time."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _answers(link: socket.socket, deadline: float) -> Iterator[bytes]:
    """The starter's answers, a line for each request in their order; ends where the connection does."""
    rest = b""
    while True:
        while b"\n" not in rest:
            link.settimeout(_left(deadline))
            chunk = link.recv(_ANSWER_LIMIT)
            if not chunk or len(rest) > _ANSWER_LIMIT:
                return
            rest += chunk
        line, rest = rest.split(b"\n", 1)
        yield line


def _judge(what: str, answer: bytes | None) -> None:
    """Raise VacError unless the answer is a number, which is below 0 if the request was refused."""
    if answer is None:
        raise VacError(f"{what}: the job's starter ended the connection")
    if not re.fullmatch(rb"-?[0-9]{1,9}\s*", answer):
        raise VacError(f"{what}: the job's starter answered {answer!r}")
    code = int(answer)
    if code < 0:
        raise VacError(f"{what}: {_REFUSALS.get(code, f'the starter refuses with error {code}')}")


def _word(text: str) -> str:
    """``text`` as one word of a line: the starter takes a character after a backslash as it is."""
    return re.sub(r"([\s\\])", r"\\\1", text)


def _safe(char: str) -> str:
    if char == "\\":
        return "/"
    return '\\"' if char == '"' else char


def _cut(pieces: list[str]) -> list[str]:
    """The pieces that fit; a piece is an escaped character and stays whole."""
    size = 0
    for index, piece in enumerate(pieces):
        size += len(piece.encode())
        if size > LITERAL_LIMIT:
            return pieces[:index]
    return pieces
