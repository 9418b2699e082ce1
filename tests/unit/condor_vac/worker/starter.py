# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the starter's side of the Chirp protocol, on a loopback port of its own.

It writes down what it is asked and by whom, reads lines as io_proxy_handler.cpp does (blanks part words, a backslash
takes the next character as it is), and can fail, refuse or be silent.
"""

from __future__ import annotations

import re
import socketserver
import threading
from pathlib import Path

COOKIE = "0123456789abcdef"
# How long the end of a starter may take: there are hundreds of them.
POLL_SECONDS = 0.01


class Starter(socketserver.ThreadingTCPServer):
    """One starter; its key is ``config``, what it was asked is in ``asked``."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Client)
        self.asked: list[tuple[str, str]] = []
        self.users: set[int] = set()
        self.connections = 0
        self.answer: str | None = "0"
        self.silent = threading.Event()
        threading.Thread(target=self.serve_forever, args=(POLL_SECONDS,), daemon=True).start()

    @property
    def config(self) -> str:
        """What HTCondor writes into .chirp.config."""
        return f"127.0.0.1 {self.server_address[1]} {COOKIE}\n"

    def stop(self) -> None:
        """No more of it."""
        self.silent.set()
        self.shutdown()
        self.server_close()


class _Client(socketserver.StreamRequestHandler):
    server: Starter

    def handle(self) -> None:
        self.server.connections += 1
        self.server.users.add(owner(self.client_address[1], self.server.server_address[1]))
        known = False
        while line := self.rfile.readline(5120).decode():
            command, *words = _words(line.rstrip("\n"))
            if not known:
                known = command == "cookie" and words == [COOKIE]
                self._say("0" if known else "-1")
                continue
            if self.server.answer is None:
                self.server.silent.wait(60)
            if self.server.answer is None:
                return
            if self.server.answer == "":
                return
            if command != "set_job_attr" or len(words) != 2:
                self._say("-8")
            else:
                if self.server.answer == "0":
                    self.server.asked.append((words[0], words[1]))
                self._say(self.server.answer)

    def _say(self, answer: str) -> None:
        self.wfile.write(f"{answer}\n".encode())


def _words(line: str) -> list[str]:
    found = re.findall(r"(?:\\.|[^\s\\])+", line)
    return [re.sub(r"\\(.)", r"\1", word) for word in found] or [""]


def owner(port: int, peer: int) -> int:
    """The user of the process that connected from one loopback port to another, by the kernel's table of connections.

    Both ports count: an ended connection is there for a minute, as root's, and its port may be in use again.
    """
    for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if [int(end.rpartition(":")[2], 16) for end in fields[1:3]] == [port, peer]:
            return int(fields[7])
    raise LookupError(port, peer)
