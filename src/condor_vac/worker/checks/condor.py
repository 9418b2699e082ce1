# SPDX-License-Identifier: GPL-3.0-or-later
"""HTCondor: the VM universe's configuration on disk and in the running startd, its daemons, what the pool sees."""

from __future__ import annotations

import re
from typing import Any

from condor_vac.base import tools
from condor_vac.base.errors import VacError
from condor_vac.base.findings import Finding
from condor_vac.base.shared import EXIT_HOOK, PREPARE_HOOK, XML_SCRIPT, one_line
from condor_vac.condor import uid_domain
from condor_vac.policy.words import count
from condor_vac.worker import startd
from condor_vac.worker.checks.node import CONVERGE, TIMEOUT_SECONDS, Check, Node

# How each value must look, and why.
EXPECTED = {
    "VM_TYPE": ("kvm", "no VM runs without it"),
    "VM_NETWORKING": ("(?i:true)", "VMs need the network"),
    "VM_NETWORKING_TYPE": ("(?i:.*nat.*)", "VMs are on a NAT network"),
    "VM_MAX_NUMBER": ("0", "HTCondor 23 does not give VM_AvailNum back, so it must not bind"),
    "LIBVIRT_XML_SCRIPT": (XML_SCRIPT, "VMs get their disks and context by it"),
    "VAC_HOOK_PREPARE_JOB": (PREPARE_HOOK, "VMs get their lease by it"),
    "START": (r"(?is:.*RequiresVac\s*=\?=\s*true.*HookKeyword.*)", "anybody's VMs would start here, without hooks"),
}
# What the startd reads when it starts, and what a reconfig brings: one of each shows which is missing.
_RUNNING = ("VM_TYPE", "LIBVIRT_XML_SCRIPT", "VAC_HOOK_PREPARE_JOB", "START")
# Since this version a JOB_EXIT hook makes the job run again; libvirt's hook alone sees the end there.
_WITHOUT_EXIT_HOOK = (25, 4)


def configuration(node: Node) -> list[Finding]:
    """HTCondor's configuration files set what the VM universe and the hooks need."""
    found = []
    for name, (pattern, why) in EXPECTED.items():
        value = node.knobs.get(name.lower())
        if not value:
            found.append(Finding(f"{name} is not set: {why}", CONVERGE))
        elif not re.fullmatch(pattern, value):
            found.append(Finding(f"{name} is {value} ({_place(name)}): {why}", CONVERGE))
    forced = node.knobs.get("starter_job_hook_keyword", "")
    if forced.upper() not in {"", "VAC"}:
        what = f"STARTER_JOB_HOOK_KEYWORD is {forced} ({_place('STARTER_JOB_HOOK_KEYWORD')}): VMs would run its hooks"
        found.append(Finding(what, "name the site's hooks by STARTER_DEFAULT_JOB_HOOK_KEYWORD instead"))
    exit_hook = node.knobs.get("vac_hook_job_exit", "")
    if version() < _WITHOUT_EXIT_HOOK and exit_hook != EXIT_HOOK:
        found.append(Finding(f"VAC_HOOK_JOB_EXIT is {exit_hook or 'not set'}: shutdown codes get lost", CONVERGE))
    elif version() >= _WITHOUT_EXIT_HOOK and exit_hook:
        found.append(Finding("VAC_HOOK_JOB_EXIT is set: this HTCondor runs each job again with it", CONVERGE))
    return found


def owners(node: Node) -> list[Finding]:
    """Jobs of the access points run as their owners here, not as nobody."""
    rules = uid_domain.rules(lambda name: node.knobs.get(name.lower(), ""))
    return [Finding(what, uid_domain.REMEDY) for what in uid_domain.faults(node.settings.access_points, rules)]


def _place(name: str) -> str:
    """Where a variable's value is from: file and line, or HTCondor itself."""
    text = tools.run(["condor_config_val", "-verbose", name], timeout=TIMEOUT_SECONDS)
    match = re.search(r"^ *# at: (.+)$", text, re.MULTILINE)
    return match[1] if match else "HTCondor's default"


def version() -> tuple[int, int]:
    """HTCondor's version, major and minor. Raises VacError."""
    text = tools.run(["condor_version"], timeout=TIMEOUT_SECONDS)
    match = re.search(r"CondorVersion: (\d+)\.(\d+)", text)
    if match is None:
        raise VacError("condor_version: not understood")
    return int(match.group(1)), int(match.group(2))


def daemons(node: Node) -> list[Finding]:
    """The daemons that should run here do."""
    ad = node.master
    if not ad:
        return [Finding("no condor_master runs", "systemctl start condor; if it ends again, read its MasterLog")]
    wanted = set(re.split(r"[,\s]+", node.knobs.get("daemon_list", "")))
    if "STARTD" not in wanted:
        return [Finding("DAEMON_LIST has no STARTD: this is not a worker node", "use role:get_htcondor_execute")]
    states = {name[: -len("_PID")]: ad.get(name[: -len("_PID")], "?") for name in ad if name.endswith("_PID")}
    found = []
    for name, state in sorted(states.items()):
        if state == "Hold":
            remedy = "the node is drained: playbooks/drain.yml with vacuum_drain=undrain takes it back"
            found.append(Finding(f"{name} is switched off", remedy))
        elif state.startswith("Shutdown"):
            remedy = "wait for them; then it stops or restarts, as requested"
            found.append(Finding(f"{name} accepts no new job and ends when its jobs have ended ({state})", remedy))
        elif state != "Alive":
            log = node.knobs.get("log", "HTCondor's log directory")
            found.append(Finding(f"{name} is {state}", f"read its log in {log}"))
    if states.get("STARTD") == "Alive" and ad.get("STARTD_State", "Ready") != "Ready":
        found.append(Finding(f"the startd is {ad['STARTD_State']}", "wait a moment, or read StartLog"))
    return found


def running_configuration(node: Node) -> list[Finding]:
    """The running startd uses the configuration that is in the files."""
    if not node.slot:
        raise VacError("the startd has no slot")
    found = []
    for name in _RUNNING:
        live = tools.run(["condor_config_val", "-startd", name], timeout=TIMEOUT_SECONDS).strip()
        if " ".join(live.split()) != " ".join(node.knobs.get(name.lower(), "").split()):
            what = f"the running startd has another {name} than the files"
            found.append(Finding(what, f"{CONVERGE} (VM_TYPE: condor_restart -peaceful -startd)"))
    return found


def vm_universe(node: Node) -> list[Finding]:
    """The startd offers the VM universe; if not, the finding quotes its reason."""
    ad = node.slot
    if ad.get("HasVM") is True and str(ad.get("VM_Type")) == "kvm" and not ad.get("VMOfflineReason"):
        return _memory(node, ad)
    waited_for = startd.retiring(node.master)
    if waited_for and not ad.get("VMOfflineReason"):
        jobs = count(len(waited_for), "job")
        what = f"the startd offers no VM universe until it has restarted, which waits for {jobs} on this node to end"
        return [Finding(what, "wait; the node takes no new job meanwhile")]
    reason = ad.get("VMOfflineReason") or _last_words(node)
    remedy = (
        "see that libvirt and KVM work; vac_watch offers VMs again five minutes after one failed to start,"
        " else condor_restart -peaceful -startd: the startd looks when it starts"
    )
    return [Finding(f"the startd offers no VM universe: {reason}", remedy)]


def _memory(node: Node, ad: dict[str, Any]) -> list[Finding]:
    """VM_MEMORY is a ledger that HTCondor 23 does not refill, so it must be out of reach."""
    memory = node.knobs.get("vm_memory", "")
    total = ad.get("TotalMemory", 0)
    if memory.isdigit() and isinstance(total, int) and int(memory) > total:
        return []
    return [Finding(f"VM_MEMORY is {memory or 'not set'}: it must be far above the {total} MB of the node", CONVERGE)]


def _last_words(node: Node) -> str:
    """The last line of the StartLog about the VM universe."""
    path = node.knobs.get("startd_log", "")
    lines = [line for line in node.text(path).splitlines() if "VMType" in line or "vmgahp" in line.lower()]
    return one_line(lines[-1], tools.SHOWN, end=True) if lines else "it gave no reason; see its StartLog"


def pool(node: Node) -> list[Finding]:
    """``condor_status -vm`` shows the node, so jobs can be matched to it, if its startd offers VMs at all."""
    if node.slot.get("HasVM") is not True:
        return []
    name = str(node.slot.get("Machine"))
    constraint = f'HasVM =?= True && Machine == "{name}"'
    if startd.ads("condor_status", "-json", "-attributes", "Name,Machine", "-constraint", constraint):
        return []
    host = node.knobs.get("collector_host", "the collector")
    remedy = f"check that {host} runs, and that its log does not refuse this node's token"
    return [Finding(f"condor_status -vm does not show {name}", remedy)]


CHECKS = (
    Check("condor", "configuration", configuration),
    Check("condor", "owners of jobs", owners),
    Check("ready", "daemons", daemons),
    Check("ready", "running configuration", running_configuration),
    Check("checks", "VM universe", vm_universe),
    Check("checks", "pool", pool),
)
