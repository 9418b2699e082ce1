# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM's life in order, or the VMs of one node, a line each.

A VM is named by its job's id (CLUSTER.PROC, SCHEDD#CLUSTER.PROC, or a GlobalJobId) or by its UUID. On its access point
this shows what the factory, the queue or HTCondor's history, and the job's log have of it, and where its files are; on
its worker node what the node's programs wrote into the journal (as root). A node is named by its host name. See
docs/history.md.

--json, a VM: {"vm": {id, uuid, machinetype, owner, state, host, submitted, started, ended, life, code, kind, cause,
message, reason} or null, "global_job_id", "steps": [{time, step, source, text}], "directory", "outputs": [{name,
size}], "kept", "uuids": [of the node], "running": [of these, those that have a lease now]}. A node: {"host", "vms":
[as of --ended of condor_vac machines], "node": [{id, uuid, domain, leased, started, ended, last}]}. Times in Unix
seconds, what is not known null.

Exit code: 0 good, 1 no such VM or node, 2 bad usage.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import sys
from typing import Any, NamedTuple

from condor_vac.base import table
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.shared import one_line
from condor_vac.cli import machines, past, survey, times, trace_job, trace_node
from condor_vac.cli.trace_files import Step
from condor_vac.cli.trace_job import Life, Name
from condor_vac.condor.pool import Pool
from condor_vac.factory.job_ad import HOST_NAME
from condor_vac.worker import settings
from condor_vac.worker.lease.store import is_uuid

_JOB = re.compile(r"(?:(?P<schedd>[A-Za-z0-9@._-]{1,255})#)?(?P<job>[0-9]{1,10}\.[0-9]{1,10})(?:#[0-9]{1,12})?")
_DAY = 86400.0
_SHOWN_FILES = 20
_HELP = "a job's id (CLUSTER.PROC, or with its schedd: SCHEDD#CLUSTER.PROC), a VM's UUID, or a worker node's name"


class _Here(NamedTuple):
    """What this machine is."""

    access_point: bool
    node: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac trace``."""
    parser.add_argument("what", metavar="JOB|UUID|HOST", help=_HELP)
    survey.add_arguments(parser, __doc__)
    parser.add_argument(
        "--since",
        type=times.moment,
        metavar="TIME",
        help="read the history and the journal back to there: 24h, 7d, 2026-11-28 (of a node: 24h; else all there is)",
    )


def run(args: argparse.Namespace) -> int:
    """Print it. Raises UsageError for a word that names nothing, VacError where nothing is known of it."""
    here = _Here(os.path.isdir(args.machinetypes), os.path.exists(settings.PATH))
    if not here.access_point and not here.node:
        raise UsageError(
            f"this machine is no access point ({args.machinetypes} is missing) and no worker node ({settings.PATH} is"
            " missing): run it on one"
        )
    name = _name(args.what)
    return _host(args, here) if name is None else _vm(args, here, name)


def _name(word: str) -> Name | None:
    """The VM that is meant; None for a node. Raises UsageError."""
    job = _JOB.fullmatch(word)
    if job is not None:
        return Name(job=job["job"], schedd=job["schedd"])
    if is_uuid(word.lower()):
        return Name(uuid=word.lower())
    if word.isdigit():
        raise UsageError(f"{word[:80]}: names a cluster of jobs; give one of its jobs, such as {word[:80]}.0")
    if not re.fullmatch(HOST_NAME, word):
        raise UsageError(f"{word[:80]!r} is no job's id (CLUSTER.PROC), no UUID and no host's name")
    return None


def _vm(args: argparse.Namespace, here: _Here, name: Name) -> int:
    life = trace_job.find(args, Pool(args.bindings), name) if here.access_point else None
    uuids: list[str] = []
    steps: list[Step] = [] if life is None else life.steps
    if here.node:
        known = Name(uuid=life.entry["uuid"]) if life is not None and life.entry["uuid"] else name
        found, uuids = trace_node.of_vm(known, _journal(args))
        steps = sorted([*steps, *found], key=lambda step: step.time)
    if life is None and not steps:
        raise VacError(_unknown(args, here))
    running = {uuid: label for uuid, label in trace_node.running().items() if uuid in uuids} if here.node else {}
    if args.json:
        print(json.dumps(_mapping(life, steps, uuids, sorted(running)), indent=1))
    else:
        print("\n".join(_text(life, steps, uuids, running)))
    for sentence in survey.shortened([] if life is None else life.damage):
        print(one_line(sentence), file=sys.stderr)
    return 0


def _journal(args: argparse.Namespace, since: float | None = None) -> list[trace_node.Line]:
    """What the node's programs wrote. Raises UsageError for a user who cannot read it all."""
    if os.geteuid() != 0:
        raise UsageError("needs root to read the journal of a worker node; run it as root")
    return trace_node.lines(args.since if args.since is not None else since)


def _unknown(args: argparse.Namespace, here: _Here) -> str:
    places = ["the queue", "HTCondor's history"] if here.access_point else []
    places += ["this node's journal"] if here.node else []
    back = "" if args.since is None else f" since {times.shown(args.since)}"
    elsewhere = "" if here.access_point else "; its access point may know more (condor_vac trace there)"
    return f"{args.what}: no such VM in {' or '.join(places)}{back}{elsewhere}"


def _mapping(life: Life | None, steps: list[Step], uuids: list[str], running: list[str]) -> dict[str, Any]:
    return {
        "vm": None if life is None else life.entry,
        "global_job_id": None if life is None else life.global_id,
        "steps": [step._asdict() for step in steps],
        "directory": None if life is None else life.directory,
        "outputs": [] if life is None else [output._asdict() for output in life.outputs],
        "kept": None if life is None else life.kept,
        "uuids": uuids,
        "running": running,
    }


def _text(life: Life | None, steps: list[Step], uuids: list[str], running: dict[str, str]) -> list[str]:
    lines = [] if life is None else _about(life)
    if len(uuids) > 1:
        lines.append(f"jobs of this id had {len(uuids)} VMs on this node (two access points?): {', '.join(uuids)}")
    lines += [f"{label} runs on this node now" for label in running.values()]
    rows = [("TIME", "STEP", "FROM", "WHAT")]
    rows += [(times.shown(step.time), step.step, step.source, step.text) for step in steps]
    lines += table.wrapped(rows, table.terminal())
    if life is not None and life.directory is not None:
        shown = life.outputs[:_SHOWN_FILES]
        more = len(life.outputs) - len(shown)
        lines.append(f"files in {life.directory}:")
        lines += [f"  {output.name}  {output.size} bytes" for output in shown]
        lines += [f"  and {more} more"] if more else []
    if life is not None and life.kept is not None:
        lines.append(f"kept for its failure: {life.kept}")
    return lines


def _about(life: Life) -> list[str]:
    vm = life.entry
    host = f" on {vm['host']}" if vm["host"] else ""
    code = "" if vm["kind"] is None else f" ({'no code' if vm['code'] is None else vm['code']}, {vm['kind']})"
    lived = "" if vm["life"] is None else f" after {survey.duration(vm['life'])}"
    return [
        f"VM {life.global_id or vm['id']}",
        f"UUID {vm['uuid'] or 'not known'}, machinetype {vm['machinetype']} of {vm['owner']}",
        f"{vm['state']}{code}{host}{lived}",
    ]


def _host(args: argparse.Namespace, here: _Here) -> int:
    since = survey.now() - _DAY if args.since is None else args.since
    found = past.of_host(args, Pool(args.bindings), since, args.what) if here.access_point else past.Vms([], [])
    local = here.node and _is_this_host(args.what)
    node = trace_node.vms(_journal(args, since)) if local else []
    if not found.entries and not node:
        where = "this access point has had no VM on it" if here.access_point else "this node has had no VM"
        other = f"; the node's own journal is on {args.what}" if not local else ""
        raise VacError(f"{args.what}: {where} since {times.shown(since)}{other}")
    if args.json:
        print(json.dumps({"host": args.what, "vms": found.entries, "node": node}, indent=1))
        return 0
    if found.entries:
        print("\n".join(machines.ended_table(found.entries)))
    if node:
        print("\n".join(_node_table(node)))
    for sentence in [past.cut(found.entries), *survey.shortened(found.damage)]:
        if sentence:
            print(one_line(sentence), file=sys.stderr)
    return 0


def _is_this_host(word: str) -> bool:
    return word.partition(".")[0].lower() == socket.gethostname().partition(".")[0].lower()


def _node_table(node: list[dict[str, Any]]) -> list[str]:
    rows = [("VM", "UUID", "LEASE", "STARTED", "ENDED", "LAST LINE")]
    keys = ("leased", "started", "ended")
    rows += [(vm["domain"], vm["uuid"], *(times.shown(vm[key]) for key in keys), vm["last"]) for vm in node]
    return table.columns(rows, table.terminal())
