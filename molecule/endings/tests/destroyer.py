#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the box: destroys the domain of a job once its guest has powered off, before its QEMU has ended.

As HTCondor does where it asks for the VM's state at that moment. ``destroyer.py JOB FILE``: the file gets a line that
says what was done.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import libvirt

SECONDS = 3600


def domain_of(connection: libvirt.virConnect, job: str) -> libvirt.virDomain:
    """The domain, once it is there."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = [one for one in connection.listAllDomains() if one.name().endswith(f"_{job}")]
        if found:
            return found[0]
        time.sleep(0.5)
    sys.exit(f"no domain of job {job}")


def main(job: str, file: str) -> None:
    """Wait for the guest's power-off; libvirt sends an event of it before it ends QEMU."""
    libvirt.virEventRegisterDefaultImpl()
    connection = libvirt.open("qemu:///system")
    domain = domain_of(connection, job)
    seen: list[int] = []
    connection.domainEventRegisterAny(
        domain, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lambda *event: seen.append(event[2]), None
    )
    while libvirt.VIR_DOMAIN_EVENT_SHUTDOWN not in seen and libvirt.VIR_DOMAIN_EVENT_STOPPED not in seen:
        libvirt.virEventRunDefaultImpl()
    try:
        domain.destroy()
    except libvirt.libvirtError as error:
        Path(file).write_text(f"came too late: {error}\n", "utf-8")
    else:
        Path(file).write_text("destroyed\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
