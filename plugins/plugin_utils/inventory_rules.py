# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules for an inventory's groups and variables; those for its machinetypes are in machinetype_faults."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Collection, Iterable, Iterator, Mapping

from ansible_collections.vacuum.htcondor.plugins.plugin_utils import faults, http_proxy, machinetypes, site_variables
from ansible_collections.vacuum.htcondor.plugins.plugin_utils.host_variables import HostVariables
from ansible_collections.vacuum.htcondor.plugins.plugin_utils.site_variables import GROUPS

# How like one of our groups the name of a group with hosts of its own must be to be taken for it.
_MISSPELT = 0.9
_ANSIBLES_GROUPS = frozenset({"all", "ungrouped"})
_NAMED = 3
# The keys of a machinetype that the role shares carries out.
_SHARES = frozenset({"accounting_group", "target_share"})
_SHARING = machinetypes.options()["sharing"]


class Report:
    """Lines, each once, with the hosts for which it holds."""

    def __init__(self) -> None:
        self._hosts: dict[str, dict[str, None]] = {}

    def add(self, line: str, host: str | None = None) -> None:
        """A line, of one host or of the inventory as a whole."""
        hosts = self._hosts.setdefault(line, {})
        if host is not None:
            hosts[host] = None

    def lines(self, groups: Mapping[str, Collection[str]], hosts: Collection[str]) -> list[str]:
        """The lines in the order in which they came; ``hosts`` are all to which the collection pays attention."""
        return [f"{line} ({where(of, groups, hosts)})" if of else line for line, of in self._hosts.items()]


def where(some: Collection[str], groups: Mapping[str, Collection[str]], hosts: Collection[str]) -> str:
    """Some hosts in a few words: the group that they are, if they are one."""
    if len(some) == 1:
        return f"host {next(iter(some))}"
    if set(some) == set(hosts):
        return "every host"
    for name in (*GROUPS, *sorted(set(groups) - _ANSIBLES_GROUPS)):
        if set(groups.get(name, ())) == set(some):
            return f"group {name}"
    first = list(some)[:_NAMED]
    more = f" and {len(some) - len(first)} more" if len(some) > len(first) else ""
    return f"hosts {', '.join(first)}{more}"


def hosts(groups: Mapping[str, Collection[str]]) -> dict[str, tuple[str, ...]]:
    """Host → the roles that run on it, of the hosts in the collection's groups."""
    found: dict[str, dict[str, None]] = {}
    for group, roles in site_variables.ROLES_OF_GROUP.items():
        for host in groups.get(group, ()):
            found.setdefault(host, {}).update(dict.fromkeys(roles))
    return {host: tuple(roles) for host, roles in found.items()}


def groups(present: Mapping[str, Collection[str]], *, managed: bool, ignored: Collection[str] = ()) -> Iterator[str]:
    """Lines about groups that are missing, empty or misspelt. ``managed``: the playbook sets up the pool's HTCondor."""
    ours = {host for group in GROUPS for host in present.get(group, ())}
    others = {name for name in present if name not in GROUPS and name not in _ANSIBLES_GROUPS}
    suspects = {name: _like(name) for name in sorted(others - set(ignored)) if _like(name)}
    for group in GROUPS:
        if group in ignored or present.get(group) or (group == "central_manager" and not managed):
            continue
        near = next((name for name, right in suspects.items() if right == group and present[name]), None)
        near = near or faults.nearest(group, (name for name in others if present[name]))
        suspects.pop(near or "", None)
        yield faults.line(f"group {group}", "empty" if group in present else "missing", _group_remedy(group, near))
    for name, right in suspects.items():
        lost = [host for host in present[name] if host not in ours]
        if lost:
            what = f"{len(lost)} of its hosts {'is' if len(lost) == 1 else 'are'} in no group of the collection"
            yield faults.line(f"group {name}", what, f"rename it to {right}, or name it in vacuum_ignore_groups")


def _like(name: str) -> str | None:
    return faults.nearest(name.lower().replace("-", "_"), GROUPS, _MISSPELT)


def _group_remedy(group: str, near: str | None) -> str:
    if near:
        return f"rename the group {near} to it"
    also = ", or set vacuum_manage_pool to false" if group == "central_manager" else ""
    return f"add its hosts{also}, or name it in vacuum_ignore_groups"


def unknown(names: Iterable[str], ignored: Iterable[str] = ()) -> Iterator[str]:
    """Lines about variables with a prefix of the collection's that no specification knows."""
    patterns = [str(pattern) for pattern in ignored]
    expected = site_variables.options()
    for name in names:
        if name in expected or not name.startswith(site_variables.prefixes()) or name in site_variables.internal():
            continue
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            continue
        near = faults.nearest(name, expected)
        correction = f"rename it to {near}" if near else "remove it"
        remedy = f"{correction}, or name it in vacuum_ignore_variables if it is yours"
        yield faults.line(name, "unknown variable", remedy)


def factories(groups: Mapping[str, Collection[str]]) -> list[str]:
    """The hosts whose machinetypes are checked: the access points, or any host while there is none."""
    return list(groups.get("access_point") or list(hosts(groups))[:1])


def values(variables: HostVariables, report: Report) -> None:
    """Report every value that is not of its variable's type, on each host of the collection's groups.

    Machinetypes are large, and in most inventories the same everywhere: those of access points stand for all.
    """
    for host, roles in hosts(variables.groups).items():
        prefixes = site_variables.of_roles(roles)
        left_out = () if host in factories(variables.groups) else site_variables.MACHINETYPES
        for name in variables.of(host):
            option = site_variables.options().get(name)
            if option is None or not name.startswith(prefixes) or name in left_out:
                continue
            value = variables.value(host, name, functools.partial(report.add, host=host))
            remedy = faults.remedy(value, option) if faults.known(value) else None
            if remedy is not None:
                shown = "(hidden)" if option.get("no_log") else faults.shown(value)
                report.add(faults.line(name, shown, remedy), host)


def proxies(variables: HostVariables, report: Report) -> None:
    """Report every HTTP proxy, and every list of what is reached without one, that is not valid."""
    for host, roles in hosts(variables.groups).items():
        for prefix in site_variables.of_roles(roles):
            keys = (f"{prefix}http_proxy", f"{prefix}no_proxy")
            found = [variables.silent(host, key) for key in keys]
            # What is of another type has its line already.
            proxy = found[0] if isinstance(found[0], str) else None
            no_proxy = found[1] if isinstance(found[1], (list, tuple)) and faults.known(found[1]) else []
            line = http_proxy.fault(proxy, no_proxy, keys)
            if line:
                report.add(line, host)


def names(variables: HostVariables, report: Report) -> None:
    """Report every unknown variable, on each host of the collection's groups."""
    for host in hosts(variables.groups):
        for line in unknown(variables.of(host), listed(variables, host, "vacuum_ignore_variables")):
            report.add(line, host)


def listed(variables: HostVariables, host: str, name: str) -> list[str]:
    """The value of a list of words; empty where it is none, which is a fault of its own."""
    value = variables.silent(host, name)
    return [str(word) for word in value] if isinstance(value, (list, tuple)) else []


def without_central_manager(variables: HostVariables, offered: Iterable[object]) -> list[str]:
    """A warning for each setting that only the role of central managers carries out, where the inventory has none.

    ``offered`` are the machinetypes of all access points. It is no fault: a site may have set its negotiator up itself.
    """
    if variables.groups.get("central_manager"):
        return []
    backfill = (variables.silent(host, "worker_backfill") for host in variables.groups.get("worker_node", ()))
    shares = any(isinstance(keys, Mapping) and (_SHARES & keys.keys()) for keys in offered)
    wanted = {
        ", ".join(sorted(_SHARES)): (shares, "docs/shares.md"),
        "worker_backfill": (any(str(value).lower() in faults.TRUE for value in backfill), "docs/batch-jobs.md"),
    }
    what = "the group central_manager has no host, so that no negotiator is set up for it"
    remedy = "add the negotiator's host, or set it up yourself as {} says"
    return [faults.line(name, what, remedy.format(page)) for name, (found, page) in wanted.items() if found]


def claimed_leftovers(variables: HostVariables) -> list[str]:
    """A warning where schedds may take what matches leave of nodes, and nodes have a limit of starts."""
    name, limit = "factory_claim_leftovers", "worker_starts_per_cycle"
    found = {host: str(variables.silent(host, name)).lower() for host in variables.groups.get("access_point", ())}
    points = [host for host, value in found.items() if value in faults.TRUE]
    limits = [variables.silent(host, limit) for host in variables.groups.get("worker_node", ())]
    if not points or not any(str(value) != "0" for value in limits):
        return []
    what = f"true on {', '.join(points)}, where {limit} of the worker nodes then limits nothing and shares do not hold"
    return [faults.line(name, what, f"set {limit} to 0 and CONSUMPTION_POLICY in worker_config as docs/shares.md says")]


def sharing(variables: HostVariables, wanted: Mapping[str, object], report: Report) -> None:
    """Report each machinetype whose ``sharing`` no worker node offers: every VM of it would be held."""
    nodes = variables.groups.get("worker_node", ())
    offered = [_offered(variables, host) for host in nodes]
    ways = sorted(set().union(*offered))
    for name, keys in wanted.items() if nodes else ():
        way = str(keys.get("sharing") or _SHARING["default"]) if isinstance(keys, Mapping) else ""
        needed = set(_SHARING["choices"]) - {"both"} if way == "both" else {way}
        # What is no choice has its line already.
        if way in _SHARING["choices"] and not any(needed <= words for words in offered):
            instead = f"set it to {' or '.join(ways)}, or " if ways else ""
            what = f"{way}: no worker node has that in its worker_sharing"
            remedy = f"{instead}name {' and '.join(sorted(needed))} in worker_sharing"
            report.add(faults.line(f"{site_variables.OWN}.{name}.sharing", what, remedy))


def _offered(variables: HostVariables, host: str) -> set[str]:
    """How a worker node shares; every way while that is not known, or has a fault of its own."""
    option = site_variables.options()["worker_sharing"]
    value = variables.silent(host, "worker_sharing")
    if value is None:
        return set(option["default"])
    whole = isinstance(value, (list, tuple)) and faults.known(value)
    return {str(word) for word in value} if whole else set(option["choices"])


def managed(variables: HostVariables) -> bool:
    """Whether the playbook is to set up HTCondor on any host."""
    found = [variables.silent(host, "vacuum_manage_pool") for host in hosts(variables.groups)]
    return not found or any(str(value).lower() not in faults.FALSE for value in found)
