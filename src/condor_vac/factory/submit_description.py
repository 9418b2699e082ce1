# SPDX-License-Identifier: GPL-3.0-or-later
"""The submit description of a machinetype's VM jobs, as the submit commands that HTCondor's own parser reads.

``describe`` is what every VM of a machinetype has in common; ``for_batch`` adds what one submission adds.
Attributes have the names of HTCondorVMs (RequiresVac, HookKeyword, UserData, PublicKey, VacSpace) or begin with Vac.

How the factory learns outcomes: a completed VM job stays in the queue for ``keep_seconds``
(leave_in_queue), so that one query shows what runs and how the last VMs ended, and a factory that was
killed reads it again. It then leaves by itself into the history, without anybody's act; so the queue holds
an hour's ends and no more.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence

from condor_vac.base.errors import UsageError
from condor_vac.base.shared import SHUTDOWN_ATTRIBUTE, JobStatus
from condor_vac.condor import submit_parser
from condor_vac.factory.job_ad import HOST_NAME
from condor_vac.model import accounting, outcome_record
from condor_vac.model.machinetype import PROXY_NAME, Machinetype

AVOID = "VacAvoidHosts"
CONSOLE_LOG = "console.log"

# What a submit description would expand: $(X), $$(X), $F(X), $ENV(X) …; a $ that ends a regular expression
# stays.
_MACRO = re.compile(r"\$(\$|[A-Za-z_]*\()")
_KEEP_SECONDS = 3600
_QEMU_OVERHEAD_KB = 1 << 20


def classad_string(text: str) -> str:
    """``text`` as a ClassAd string literal that a submit description may hold. Raises UsageError.

    Backslash and quote are escaped; a line end or another control character would end the submit command,
    and a macro would be replaced, so both are refused.
    """
    if not text.isprintable():
        raise UsageError(f"{ascii(text)[:80]}: must be one line of printable characters")
    if _MACRO.search(text):
        raise UsageError(f"{text[:80]!r}: HTCondor would expand the $ in it; remove it")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def keep_seconds(machinetype: Machinetype) -> int:
    """How long a completed VM job stays in the queue: longer than any back-off that its outcome can cause."""
    return max(_KEEP_SECONDS, 2 * machinetype.backoff_seconds)


def describe(machinetype: Machinetype, machinetype_file: str | None = None) -> dict[str, str]:
    """Submit commands (lower case; ads as ``+Name``) of a VM job of ``machinetype``. Raises UsageError.

    ``machinetype_file`` is what the job transfers as NAME.json; by default the copy in the state directory.
    With ``submit_file`` the site's own file is the description: the machinetype then adds only what marks
    the job as its VM and what makes its outcome visible.
    """
    if machinetype.submit_file is not None:
        commands = submit_parser.load(machinetype.submit_file)
    else:
        path = machinetype_file or os.path.join(machinetype.state_directory, f"{machinetype.name}.json")
        commands = _generated(machinetype, path)
    marks = _marks(machinetype)
    # HTCondor's names have no case, so a site's "+requiresvac = False" must go as well.
    taken = {key.lower() for key in marks}
    commands = {key: value for key, value in commands.items() if key.lower() not in taken}
    commands.update(marks)
    _group(machinetype, commands)
    _account(machinetype, commands)
    if machinetype.user_data_proxy:
        # From the VM's own directory (initialdir), and never in the clear, whatever the pool's settings are.
        files = [commands.get("transfer_input_files", "").strip('"'), PROXY_NAME]
        commands["transfer_input_files"] = ",".join(name for name in files if name)
        commands["encrypt_input_files"] = PROXY_NAME
    commands["requirements"] = _requirements(commands.get("requirements"), machinetype)
    commands["+VacDigest"] = classad_string(digest(commands))
    return commands


def digest(commands: Mapping[str, str]) -> str:
    """A short name for this description: it changes if and only if a command does."""
    return hashlib.sha256(json.dumps(sorted(commands.items())).encode()).hexdigest()[:16]


def for_batch(commands: Mapping[str, str], batch: str, directory: str, avoid_hosts: Sequence[str]) -> dict[str, str]:
    """``commands`` for one submission: its name, the hosts to avoid, and a directory for each VM.

    A VM's own directory is ``DIRECTORY/PROC``; the job's log and what is transferred back are in it.
    """
    return {
        **commands,
        "initialdir": os.path.join(directory, "$(ProcId)"),
        "log": "vm.log",
        "+VacBatch": classad_string(batch),
        f"+{AVOID}": classad_string(",".join(avoided(avoid_hosts))),
    }


def avoided(hosts: Sequence[str]) -> list[str]:
    """Hosts as they go into VacAvoidHosts, which stringListIMember splits at commas and blanks: each once, in order.

    Nodes name themselves, so what is no single host's name is left out.
    """
    return sorted({host for host in hosts if re.fullmatch(HOST_NAME, host)})


def _generated(m: Machinetype, machinetype_file: str) -> dict[str, str]:
    files = [machinetype_file, *dict.fromkeys(m.input_files().values())]
    commands = {
        "universe": "vm",
        "executable": f"vac-{m.name}",
        "batch_name": f"vac-{m.name}",
        "vm_type": "kvm",
        "vm_memory": str(m.memory_mb),
        "vm_vcpus": str(m.processors),
        "request_cpus": str(m.processors),
        "request_memory": str(m.memory_mb),
        "request_disk": str(disk_kb(m)),
        "vm_networking": "true",
        "vm_networking_type": "nat",
        "vm_disk": _disk(m),
        "should_transfer_files": "YES",
        "when_to_transfer_output": "ON_EXIT",
        "transfer_input_files": ",".join(files),
        "transfer_output_files": f"{CONSOLE_LOG},joboutputs",
        "on_exit_remove": f"{outcome_record.ENDED_FOR_ANOTHER_JOB} =!= true",
        "job_lease_duration": str(m.job_lease_duration),
        "notification": "never",
        "+VacMachinetypeFile": classad_string(os.path.basename(machinetype_file)),
        "+UserData": classad_string(os.path.basename(m.user_data_file)),
    }
    if m.root_public_key is not None:
        commands["+PublicKey"] = classad_string(os.path.basename(m.root_public_key))
    if m.vnc:
        commands["vm_vnc"] = "true"
    if m.space is not None:
        commands["+VacSpace"] = classad_string(m.space)
    for key in ("requirements", "rank"):
        text = getattr(m, key)
        if text is not None:
            commands[key] = _expression(key, text)
    return commands


def _disk(m: Machinetype) -> str:
    if m.image_format == "iso":
        return f"{m.image}:hda:r:raw"
    return f"{m.image}:vda:r:{m.image_format}"


def disk_kb(m: Machinetype) -> int:
    """What the VM can fill: its cache and scratch disks (they are sparse), and a GiB of files beside them."""
    return (m.cvmfs_cache_gb + m.scratch_gb) * (1 << 20) + _QEMU_OVERHEAD_KB


def _marks(m: Machinetype) -> dict[str, str]:
    """What makes a job this machinetype's VM, also where the site wrote the rest of its description."""
    keep = keep_seconds(m)
    return {
        "+RequiresVac": "True",
        "+HookKeyword": classad_string("VAC"),
        "+WantIOProxy": "True",
        "+VacMachinetype": classad_string(m.name),
        "leave_in_queue": f"JobStatus == {JobStatus.COMPLETED} && time() - EnteredCurrentStatus < {keep}",
    }


def _group(m: Machinetype, commands: dict[str, str]) -> None:
    """The accounting group with its user, which htcondor2 23.9.6 leaves empty if only the group is given."""
    if m.accounting_group is not None:
        commands["accounting_group"] = m.accounting_group
    if "accounting_group" in commands:
        commands.setdefault("accounting_group_user", m.owner)


def _account(m: Machinetype, commands: dict[str, str]) -> None:
    """What accounting reads of the job in HTCondor's history, besides what HTCondor writes there (model/accounting.py).

    A machinetype's own benchmark counts; else that of the node, which the schedd copies from the slot at the match.
    """
    if m.accounting_fqan is not None:
        commands["+VacFqan"] = classad_string(m.accounting_fqan)
        commands["+VacVO"] = classad_string(accounting.vo(m.accounting_fqan))
    if m.gocdb_sitename is not None:
        commands["+VacSite"] = classad_string(m.gocdb_sitename)
    if m.hepscore23_per_processor is not None:
        commands["+VacHepscore23"] = repr(float(m.hepscore23_per_processor))
    if m.hs06 is not None:
        commands["+VacHs06"] = f"{m.hs06 / m.processors:.6f}"
    own = commands.get("job_machine_attrs", "")
    names = [own, accounting.NODE_HEPSCORE23, accounting.NODE_HS06]
    commands["job_machine_attrs"] = ",".join(name for name in names if name)


def _requirements(own: str | None, m: Machinetype) -> str:
    """The job's own requirements, the hosts to avoid, and time enough on a node whose shutdown is planned.

    Nodes publish their plan (worker/watch/node_ad.py); what is not a time there keeps no VM away.
    """
    avoid = f"stringListIMember(TARGET.Machine, MY.{AVOID}) =!= True"
    left = f"TARGET.{SHUTDOWN_ATTRIBUTE} - time() >= {m.min_wallclock_seconds}"
    enough = f"ifThenElse(isInteger(TARGET.{SHUTDOWN_ATTRIBUTE}), {left}, True)"
    return " && ".join([*([] if own is None else [f"({own})"]), avoid, enough])


def _expression(key: str, text: str) -> str:
    """An expression of the site, checked for what would change the submit description around it."""
    if not text.isprintable() or _MACRO.search(text):
        raise UsageError(f"machinetype: {key}: holds a line end or a $ macro; give a plain ClassAd expression")
    if text.rstrip().endswith("\\"):
        raise UsageError(f"machinetype: {key}: ends with a backslash, which continues a line; remove it")
    return text
