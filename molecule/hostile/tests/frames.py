#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the frames that come from one MAC address by what they claim to be, on interfaces of a node.

``frames.py FILE PORT INTERFACE...`` writes FILE, a JSON object of interface to {kind: count}, at SIGTERM, and
"ready" to standard output once it listens. A kind is the source's MAC, then ``ip ADDRESS``, ``arp ADDRESS`` or the
Ethernet type in hexadecimal. On the guest's own port (the first interface) every frame counts that the guest sent,
before any filter; on the others those that passed it.
"""

from __future__ import annotations

import collections
import errno
import json
import select
import signal
import socket
import struct
import sys
from pathlib import Path

ETH_P_ALL = 3
PACKET_OUTGOING = 4
# linux/if_packet.h: the kernel takes off a VLAN's tag and reports it beside the frame (struct tpacket_auxdata).
SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 263, 8, 0x10
AUXDATA = struct.Struct("=IIIHHHH")
ARP, IPV4 = 0x0806, 0x0800


class Stop(Exception):
    """It is time to write what was counted."""


def kind(frame: bytes, beside: list[tuple[int, int, bytes]]) -> str:
    """What a frame claims to be; ``beside`` is what the kernel reports with it."""
    source, ethernet_type = frame[6:12].hex(":"), int.from_bytes(frame[12:14], "big")
    for level, name, data in beside:
        if (level, name) == (SOL_PACKET, PACKET_AUXDATA):
            status, *_, tag_type = AUXDATA.unpack_from(data)
            ethernet_type = tag_type if status & TP_STATUS_VLAN_VALID else ethernet_type
    if ethernet_type == IPV4:
        return f"{source} ip {socket.inet_ntoa(frame[26:30])}"
    if ethernet_type == ARP:
        return f"{source} arp {socket.inet_ntoa(frame[28:32])}"
    return f"{source} {ethernet_type:04x}"


def listen(name: str) -> socket.socket:
    """A socket that gets every frame of an interface."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    link.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    link.bind((name, ETH_P_ALL))
    return link


def frame_of(link: socket.socket) -> tuple[str, bool] | None:
    """The kind of the next frame and whether this host sent it; None if the port has gone with its VM."""
    try:
        frame, beside, _, address = link.recvmsg(2048, socket.CMSG_SPACE(AUXDATA.size))
    except OSError as error:
        if error.errno == errno.ENETDOWN:
            return None
        raise
    return kind(frame, beside), address[2] == PACKET_OUTGOING


def count(names: list[str]) -> dict[str, collections.Counter[str]]:
    """Count until SIGTERM: what comes in on the first interface, and what goes out by or comes in on the others."""

    def stop(*_: object) -> None:
        raise Stop

    found: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in names}
    links = {listen(name): name for name in names}
    signal.signal(signal.SIGTERM, stop)
    print("ready", flush=True)
    try:
        while True:
            for link in select.select(list(links), [], [])[0]:
                seen = frame_of(link)
                if seen is None:
                    del links[link]
                elif links[link] != names[0] or not seen[1]:
                    found[links[link]][seen[0]] += 1
    except Stop:
        return found


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(count(sys.argv[2:])), "utf-8")
