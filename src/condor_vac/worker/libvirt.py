# SPDX-License-Identifier: GPL-3.0-or-later
"""The libvirt domains of this node, by virsh.

virsh and not libvirt's Python binding: a call to a libvirtd that hangs never returns there, while a program
can be given up after a time limit. Never call this from libvirt's own hook: libvirt would wait for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from condor_vac.base import tools
from condor_vac.base.errors import VacError

URI = "qemu:///system"
TIMEOUT_SECONDS = 20.0
# virDomainState, as domstats prints it.
PAUSED_STATES = frozenset({3, 7})  # paused, suspended by its own power management


class Domain(NamedTuple):
    """One domain that exists now: its name, virDomainState, and CPU seconds of all its processors."""

    name: str
    state: int
    cpu_seconds: float
    processors: int


def active(timeout: float = TIMEOUT_SECONDS) -> dict[str, Domain]:
    """Every domain that has a QEMU process, by name. Raises VacError if libvirt does not answer.

    ``--nowait``: a job's user can stop the QEMU of the job's VM, and libvirt would wait for it.
    """
    words = ("domstats", "--list-active", "--raw", "--nowait", "--state", "--vcpu")
    return parse_domstats(_virsh(*words, timeout=timeout))


def parse_domstats(text: str) -> dict[str, Domain]:
    """The domains in what ``virsh domstats --state --vcpu`` printed; one whose numbers are none runs all the same."""
    found = {}
    for block in f"\n{text}".split("\nDomain: ")[1:]:
        head, *lines = block.splitlines()
        values = dict(line.strip().split("=", 1) for line in lines if "=" in line)
        name = head.strip().strip("'")
        try:
            found[name] = _domain(name, values)
        except ValueError:
            found[name] = Domain(name, 0, 0.0, 1)
    return found


def _domain(name: str, values: Mapping[str, str]) -> Domain:
    times = [int(value) for key, value in values.items() if _is_vcpu_time(key)]
    processors = int(values.get("vcpu.current", len(times) or 1))
    return Domain(name, int(values.get("state.state", "0")), sum(times) / 1e9, processors)


def consoles(name: str) -> tuple[str, list[str]]:
    """The UUID of a domain and the files that its serial ports go to; ("", []) if it is gone. Raises VacError."""
    text = _unless_gone("dumpxml", "--domain", name)
    if not text:
        return "", []
    import xml.etree.ElementTree as ET  # noqa: PLC0415 - 2.7 ms of 23 of vac_lease, which never needs it

    try:
        root = ET.fromstring(text)  # noqa: S314 - libvirt wrote it
    except ET.ParseError as error:
        raise VacError(f"{name}: virsh dumpxml is not XML: {error}") from error
    sources = root.findall("./devices/serial[@type='file']/source")
    return root.findtext("uuid", ""), [source.get("path", "") for source in sources]


def shut_down(uuid: str) -> bool:
    """Press the power button of the VM with this UUID; False if there is none any more. Raises VacError.

    By UUID and not by name, here and in ``destroy``: another VM may have been given the name.
    """
    return _unless_gone("shutdown", "--domain", uuid, "--mode", "acpi") is not None


def destroy(uuid: str) -> bool:
    """End the VM with this UUID at once; False if there is none any more. Raises VacError."""
    return _unless_gone("destroy", "--domain", uuid) is not None


def _is_vcpu_time(key: str) -> bool:
    parts = key.split(".")
    return len(parts) == 3 and parts[0] == "vcpu" and parts[1].isdigit() and parts[2] == "time"


def _unless_gone(*arguments: str) -> str | None:
    """What virsh prints, None if the domain is gone."""
    try:
        return _virsh(*arguments)
    except tools.ToolError as error:
        if not any(words in str(error) for words in ("not found", "not running", "failed to get domain")):
            raise
        return None


def _virsh(*arguments: str, timeout: float = TIMEOUT_SECONDS) -> str:
    return tools.run(["virsh", "-q", "-c", URI, *arguments], timeout=timeout)
