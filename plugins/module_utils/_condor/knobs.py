# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTCondor's configuration variables: which names exist, which values fit, which need a restart."""

from __future__ import annotations

import difflib
import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Sequence

from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import Configuration, Knob

NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.]*$")
REFERENCE = re.compile(r"\$(?:[A-Za-z]*)\(([A-Za-z_][A-Za-z0-9_.]*)")
SUBSYSTEMS = "MASTER|COLLECTOR|NEGOTIATOR|SCHEDD|SHADOW|STARTD|STARTER|CREDD|DEFRAG|GANGLIAD|HAD|REPLICATION|TOOL"

# Families of names that programs put together, so that no single name of theirs stands in a table. From the
# manual's configuration macros (docs/admin-manual/configuration-macros.rst).
FAMILIES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\w+_HOOK_(EVICT_CLAIM|FETCH_WORK|JOB_CLEANUP|JOB_EXIT|JOB_FINALIZE|PREPARE_JOB|PREPARE_JOB_BEFORE_TRANSFER"
        r"|REPLY_CLAIM|REPLY_FETCH|TRANSLATE_JOB|UPDATE_JOB_INFO|SHADOW_PREPARE_JOB)(_ARGS|_TIMEOUT)?",
        r"(NUM_SLOTS_TYPE|SLOT_TYPE)_\d+(_\w+)?",
        r"SLOT\d+(_\d+)?_(CPU_AFFINITY|EXECUTE|JOB_HOOK_KEYWORD|STARTD_ATTRS|USER)",
        r"(STARTD|SCHEDD|BENCHMARKS)_(CRON_)?\w+_(ARGS|CONDITION|CWD|ENV|EXECUTABLE|JOB_LOAD|KILL|METRICS|MODE"
        r"|PERIOD|PREFIX|RECONFIG|RECONFIG_RERUN|SLOTS)",
        r"(STARTD|SCHEDD)_CRON_(AUTOPUBLISH|CONFIG_VAL|JOBLIST|LOG_NON_ZERO_EXIT|MAX_JOB_LOAD|NAME)",
        r"(ALLOW|DENY|SETTABLE_ATTRS)_\w+",
        r"SEC_(DEFAULT|CLIENT|READ|WRITE|ADMINISTRATOR|CONFIG|OWNER|DAEMON|NEGOTIATOR|ADVERTISE_(MASTER|STARTD|SCHEDD))_\w+",
        r"(MACHINE_RESOURCE|OFFLINE_MACHINE_RESOURCE|ENVIRONMENT_FOR|ENVIRONMENT_VALUE_FOR|CONSUMPTION)_\w+",
        r"(JOB_TRANSFORM|SUBMIT_REQUIREMENT|SUBMIT_TEMPLATE|JOB_ROUTER|CLASSAD_USER_MAP(DATA|FILE)|MASTER_SHUTDOWN)_\w+",
        r"SYSTEM_PERIODIC_(HOLD|RELEASE|REMOVE|VACATE)(_\w+)?",
        r"(GROUP_(ACCEPT_SURPLUS|AUTOREGROUP|PRIO_FACTOR|QUOTA|QUOTA_DYNAMIC)|CONCURRENCY_LIMIT_DEFAULT)_[\w.]+",
        r"\w+_LIMIT",
        rf"({SUBSYSTEMS}|SHARED_PORT|KBDD|VM_GAHP)(_\w+)?_(ADDRESS_FILE|ADMIN_EMAIL|ARGS|ATTRS|EXPRS|DEBUG|LOG|LOCK|HOST|USERID"
        r"|EXECUTE|ENVIRONMENT|MAX_FILE_DESCRIPTORS|NOT_RESPONDING_TIMEOUT|DAEMON_AD_FILE|SUPER_ADDRESS_FILE"
        r"|BACKOFF_CEILING|BACKOFF_CONSTANT|BACKOFF_FACTOR|RECOVER_FACTOR|TIMEOUT_MULTIPLIER|CONTROLLER)",
        r"(MAX|MAX_NUM|TRUNC)_\w+_LOG(_ON_OPEN)?",
        r"FLOCK_(TO|FROM|COLLECTOR_HOSTS|NEGOTIATOR_HOSTS)",
        r"(STARTER|STARTD|JOB_ROUTER|SHADOW)_(DEFAULT_)?JOB_HOOK_KEYWORD",
        r"VM_NETWORKING_BRIDGE_INTERFACE|LIBVIRT_XML_SCRIPT_ARGS",
    )
]

# Lists of attribute names: what stands in one is a variable of its own.
ATTRIBUTE_LISTS = re.compile(r"(^|[._])(ATTRS|EXPRS|NAMES|JOBLIST)$", re.IGNORECASE)

# Policy expressions that a daemon parses when it (re)reads its configuration: the startd exits on a bad one.
EXPRESSIONS = re.compile(
    r"(start|rank|preempt|suspend|continue|kill|want_(suspend|vacate|hold|hold_reason)|start_backfill|is_owner"
    r"|maxjobretirementtime|machinemaxvacatetime|preemption_(requirements|rank)|negotiator_(pre|post)_job_rank"
    r"|system_periodic_(hold|remove|release)|start_(local|scheduler)_universe|daemon_shutdown(_fast)?"
    r"|default_draining_start_expr)"
)

# What no daemon changes while it runs ("Macros That Will Require a Restart When Changed" in the manual's
# introduction to configuration, restart=true in param_info.in, and the VM universe, which the startd
# initialises once: VMUniverseMgr::init). DAEMON_LIST is not among them: the master follows a reconfig.
RESTARTS: list[tuple[str, str, str]] = [
    (
        r"VM_(TYPE|MEMORY|MAX_NUMBER|MAX_MEMORY|NETWORKING|NETWORKING_TYPE|NETWORKING_DEFAULT_TYPE|GAHP_SERVER)"
        r"|VM_NETWORKING_BRIDGE_INTERFACE|VM_HARDWARE_VT",
        "STARTD",
        "the startd examines the VM universe when it starts",
    ),
    (
        r"NUM_CPUS|MAX_NUM_CPUS|COUNT_HYPERTHREAD_CPUS|MEMORY|RESERVED_MEMORY|RESERVED_DISK|RESERVED_SWAP|DISK"
        r"|NUM_SLOTS|(NUM_SLOTS_TYPE|SLOT_TYPE)_\w+|MAX_SLOT_TYPES|MACHINE_RESOURCE_\w+|SLOT\d+_EXECUTE",
        "STARTD",
        "the startd divides the machine into slots when it starts",
    ),
    (
        r"CONSUMPTION_POLICY|NUM_CLAIMS",
        "STARTD",
        "the startd makes the claims of a consumption policy when it starts",
    ),
    (
        r"STARTD_NAME|EXECUTE|SLOTS_CONNECTED_TO_(CONSOLE|KEYBOARD)",
        "STARTD",
        "the startd reads it when it starts",
    ),
    (r"SCHEDD_NAME|SPOOL|JOB_QUEUE_LOG", "SCHEDD", "the schedd reads it when it starts"),
    (
        r"COLLECTOR_(PORT|NAME|SOCKET_BUFSIZE|TCP_SOCKET_BUFSIZE)|NEGOTIATOR_NAME",
        "COLLECTOR",
        "the collector reads it when it starts",
    ),
    (
        r"NETWORK_(INTERFACE|HOSTNAME)|ENABLE_IPV[46]|PREFER_IPV4|BIND_ALL_INTERFACES|USE_SHARED_PORT|SHARED_PORT_PORT"
        r"|SHARED_PORT_ARGS|IN_LOWPORT|IN_HIGHPORT|LOWPORT|HIGHPORT|TCP_FORWARDING_HOST|PRIVATE_NETWORK_\w+|CCB_ADDRESS"
        r"|PROCD_ADDRESS|USE_PROCD|SOCKET_LISTEN_BACKLOG|PIPE_BUFFER_MAX",
        "MASTER",
        "how daemons find each other is fixed when they start",
    ),
    (
        r"(\w+_)?MAX_FILE_DESCRIPTORS|CONDOR_IDS|RELEASE_DIR|LOCAL_DIR|LOG|LOCK|RUN|SBIN|LIBEXEC"
        r"|DISCARD_SESSION_KEYRING_ON_STARTUP",
        "MASTER",
        "all daemons read it when they start",
    ),
]
# Any daemon's name may stand before a variable (subsystem_info.cpp has the names, and any ..._GAHP counts as one).
_PREFIX = re.compile(
    rf"^({SUBSYSTEMS}|ANNEXD|DAGMAN|GRIDMANAGER|JOB_ROUTER|KBDD|PROCD|ROOSTER|SHARED_PORT|SUBMIT|TRANSFER(D|ER)"
    r"|(\w+_)?GAHP)\.",
    re.IGNORECASE,
)


def needs_restart(name: str) -> tuple[str, str] | None:
    """The daemon to restart for a change of this variable, and why; None if a reconfig is enough."""
    bare = _PREFIX.sub("", name)
    for pattern, daemon, why in RESTARTS:
        if re.fullmatch(pattern, bare, re.IGNORECASE):
            return daemon, why
    return None


def unknown(configuration: Configuration, names: Iterable[str], allowed: Sequence[str]) -> list[str]:
    """Those of *names* that neither HTCondor nor anything in the configuration uses.

    *allowed* are shell patterns of names that are known to be good. HTCondor's table holds only variables
    that have a default; the others are looked for in the text of its programs.
    """
    used = _used(configuration)
    rest = [name for name in names if not _is_known(name, configuration, used, allowed)]
    return _not_in_programs(rest, _programs(configuration)) if rest else []


def suggestion(name: str, configuration: Configuration) -> str:
    """The known name that looks most like *name*, in upper case; empty if none does."""
    close = difflib.get_close_matches(name.lower(), list(configuration.known), n=1, cutoff=0.8)
    return close[0].upper() if close else ""


def misfit(knob: Knob, kind: str) -> str:
    """What is wrong with a literal value for a variable of this type; empty for an expression."""
    value = knob.expanded.strip()
    if not value or not re.match(r"^[\w.+-]+$", value):
        return ""
    if kind == "BOOL" and value.lower() not in ("true", "false", "t", "f", "yes", "no", "1", "0"):
        return f"{value} is neither true nor false"
    if kind in ("INT", "LONG") and not re.match(r"^[+-]?\d+$", value):
        return f"{value} is not a whole number"
    if kind == "DOUBLE" and not re.match(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$", value):
        return f"{value} is not a number"
    return ""


def is_expression(name: str, configuration: Configuration) -> bool:
    """Whether a variable's value is a ClassAd expression that a daemon parses."""
    bare = name.split(".", 1)[-1].lower()
    published = _listed(configuration, ("startd_attrs", "startd_exprs", "schedd_attrs", "master_attrs"))
    return EXPRESSIONS.fullmatch(bare) is not None or bare in published


def _is_known(name: str, configuration: Configuration, used: set[str], allowed: Sequence[str]) -> bool:
    if not NAME.match(name):
        return False
    bare = _PREFIX.sub("", name)
    return (
        bare.lower() in configuration.known
        or bare.lower() in used
        or any(pattern.fullmatch(bare) for pattern in FAMILIES)
        or any(fnmatch.fnmatchcase(name.upper(), pattern.upper()) for pattern in allowed)
    )


def _used(configuration: Configuration) -> set[str]:
    """Lower-case names that other variables refer to, or that stand in a list of attributes."""
    used: set[str] = set()
    for knob in configuration.knobs.values():
        used.update(match.lower() for match in REFERENCE.findall(knob.raw) if match.lower() != knob.name.lower())
    return used | _listed(configuration, [name for name in configuration.knobs if ATTRIBUTE_LISTS.search(name)])


def _listed(configuration: Configuration, lists: Iterable[str]) -> set[str]:
    return {word.lower() for name in lists for word in re.split(r"[,\s]+", configuration.value(name)) if word}


def _programs(configuration: Configuration) -> list[str]:
    """HTCondor's own library and daemons, the library first."""
    places = [configuration.value("LIB"), "/usr/lib64", "/usr/lib", "/usr/lib/*-linux-gnu", "/usr/lib/condor"]
    patterns = [os.path.join(place, "libcondor_utils*.so*") for place in places if place]
    patterns += [os.path.join(configuration.value(name) or "/usr/sbin", "condor_*") for name in ("SBIN", "LIBEXEC")]
    return [path for pattern in patterns for path in sorted(glob.glob(pattern)) if os.path.isfile(path)]


def _not_in_programs(names: Sequence[str], programs: Iterable[str]) -> list[str]:
    """Those names that stand, as a whole string, in none of the files."""
    left = list(names)
    for path in programs:
        with open(path, "rb") as stream:
            text = stream.read().upper()
        left = [name for name in left if not NAME.match(name) or name.upper().encode() + b"\0" not in text]
        if not left:
            break
    return left
