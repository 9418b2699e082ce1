# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's HTML from its content. It needs no script, no other file and no server, and its policy allows none."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element

from condor_vac.base.shared import one_line
from condor_vac.factory.day import DAY_SECONDS, MOST_ENDS, End, Vm
from condor_vac.factory.job_ad import ON_HOST
from condor_vac.page import classes, content, picture
from condor_vac.page.classes import WORDS
from condor_vac.page.content import Host, Part
from condor_vac.page.markup import Node, document, element, table
from condor_vac.page.picture import Bar, Window, clock
from condor_vac.page.style import SHEET
from condor_vac.policy.words import count, duration

MOST_HOSTS = 30
MOST_VMS = 100
_LINE = 500
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_NODES = "nodes"
_FIGURES = ("idle", "running", "works", "held")


def page(parts: Sequence[Part], access_point: str, now: float) -> bytes:
    """The whole page, in UTF-8. ``now`` is Unix s."""
    starts = [start for each in parts for start in _starts(each)]
    shown = picture.window(starts, now, DAY_SECONDS)
    title = f"VMs of {access_point}"
    written = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now))
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        # Without it a browser asks the server for one.
        element("link", rel="icon", href="data:,"),
        element("title", title),
    ]
    body = [
        element("h1", title),
        element("p", f"Written {written}. Reload for the present state. Times are this access point's.", class_="soft"),
        _contents(parts),
        *(_machinetype(each, shown) for each in parts),
        _nodes(parts),
    ]
    return document("en", head, body, SHEET)


def _contents(parts: Sequence[Part]) -> Element:
    """Links to the machinetypes, and whether each is well."""
    if not parts:
        return element("p", "No machinetype has a file on this access point, and none had VMs in the last day.")
    links = [
        element("li", element("a", each.name, href=f"#machinetype-{each.name}"), " ", _state(each)) for each in parts
    ]
    nodes = element("li", element("a", "Nodes with findings", href=f"#{_NODES}"))
    return element("nav", element("ul", *links, nodes))


def _state(part: Part) -> Element:
    if part.problems or part.last.get("error") is not None:
        return element("span", "needs attention", class_="bad")
    return element("span", "ok" if part.last else "no cycle yet", class_="good" if part.last else "soft")


def _machinetype(part: Part, shown: Window) -> Element:
    bars = _vms(part)
    ends = part.seen.ends
    title = element("div", element("h2", part.name), _state(part), element("span", _cycle(part), class_="soft"))
    title.set("class", "title")
    return element(
        "section",
        title,
        *_sentences(part),
        _figures(part),
        *([_figure(bars, shown)] if bars else [element("p", "No VM ran in the last day.", class_="soft")]),
        *_avoided(part),
        *(_codes(ends) if ends else []),
        *_hosts(content.by_host([part.seen])),
        *_latest(part, shown.now),
        id=f"machinetype-{part.name}",
    )


def _cycle(part: Part) -> str:
    if not part.last:
        return "its factory has not decided yet"
    return f"decided at {clock(part.last['time'])}: submit {part.last['submit']}"


def _sentences(part: Part) -> list[Element]:
    """The decision's reasons, then what is wrong."""
    reasons = [element("p", one_line(text, _LINE)) for text in part.last.get("reasons", ())]
    wrong = [element("li", one_line(text, _LINE), class_="bad") for text in part.problems]
    return [*reasons, *([element("ul", *wrong)] if wrong else [])]


def _figures(part: Part) -> Element:
    words = {key: str(part.figures[key]) for key in _FIGURES}
    words["max"] = "?" if part.max_machines is None else str(part.max_machines)
    words["ended in a day"] = str(len(part.seen.ends)) + ("+" if len(part.seen.ends) >= MOST_ENDS else "")
    each = [element("div", element("dt", word), element("dd", number)) for word, number in words.items()]
    return element("dl", *each)


def _figure(bars: Sequence[Bar], shown: Window) -> Element:
    classes_of = Counter(each.of_class for each in bars)
    legend = [
        element("li", picture.swatch(name), f"{words}: {classes_of[name]}")
        for name, words in WORDS.items()
        if classes_of[name]
    ]
    return element("figure", picture.draw(bars, shown), element("ul", *legend, class_="legend"))


def _codes(ends: Sequence[End]) -> list[Element]:
    rows: list[list[Node]] = [
        ["none" if each.code is None else str(each.code), each.kind, str(each.number), each.latest.message or ""]
        for each in content.by_code(ends)
    ]
    heads = ("code", "kind", "VMs", "latest message")
    return [element("h3", "Ends of the last day by code"), table(heads, rows[:MOST_HOSTS]), *_more(rows, "code")]


def _hosts(hosts: Sequence[Host]) -> list[Element]:
    rows: list[list[Node]] = []
    for host in hosts[:MOST_HOSTS]:
        ends = [host.ends.get(name, 0) for name in (classes.DONE, classes.DRY)]
        others = sum(host.ends.values()) - sum(ends) - host.failed
        rows.append([host.name, *map(str, (host.now, *ends, host.failed, others)), _command(f"trace {host.name}")])
    if not rows:
        return []
    heads = ("host", "VMs now", "after work", "no work", "failed", "other", "to see more")
    return [element("h3", "Ends of the last day by host"), table(heads, rows), *_more(hosts, "host")]


def _avoided(part: Part) -> list[Element]:
    if not part.avoided:
        return []
    rows: list[list[Node]] = [
        [host, "not known" if until is None else clock(until)] for host, until in sorted(part.avoided.items())
    ]
    heads = ("host", "until")
    return [element("h3", "Hosts that new VMs avoid"), table(heads, rows[:MOST_HOSTS]), *_more(rows, "host")]


def _nodes(parts: Sequence[Part]) -> Element:
    """Nodes of which the VMs of any machinetype show that something is wrong."""
    avoided: dict[str, list[str]] = {}
    for part in parts:
        for name, until in part.avoided.items():
            end = "" if until is None else f" until {clock(until)}"
            avoided.setdefault(name, []).append(f"{part.name} avoids it{end}")
    hosts = {host.name: host for host in content.by_host(each.seen for each in parts)}
    rows: list[list[Node]] = []
    for name in dict.fromkeys([*hosts, *sorted(avoided)]):
        host = hosts.get(name)
        found = [*(content.findings(host) if host else []), *avoided.get(name, [])]
        if found:
            latest = "" if host is None or host.latest is None else content.message(host.latest)
            rows.append([name, "; ".join(found), _command(f"trace {name}"), latest])
    title = element("h2", "Nodes with findings")
    if not rows:
        return element("section", title, element("p", "None by what VMs of the last day show."), id=_NODES)
    heads = ("node", "finding", "to see more", "latest failure")
    doctor = element("p", "On the node itself: ", _command("doctor"), class_="soft")
    wrong = table(heads, rows[:MOST_HOSTS])
    wrong.set("class", "wide findings")
    return element("section", title, wrong, *_more(rows, "node"), doctor, id=_NODES)


def _latest(part: Part, now: float) -> list[Element]:
    """The latest VMs, those that ended first, with what to type for each one's life."""
    ends = sorted(part.seen.ends, key=lambda end: -end.ended)
    running = sorted(_running(part), key=lambda vm: -(vm.started or 0))
    rows = [_end_row(end) for end in ends[:MOST_VMS]] + [_running_row(vm, now) for vm in running[:MOST_VMS]]
    if not rows:
        return []
    total = len(ends) + len(running)
    heads = ("VM", "host", "to see its life", "from", "to", "ran", "end")
    text = f"{total} VMs one by one" if total == len(rows) else f"The latest {len(rows)} of {total} VMs one by one"
    return [element("details", element("summary", text), table(heads, rows))]


def _end_row(end: End) -> list[Node]:
    job = end.id.partition(":")[0]
    ran = "" if end.started is None else duration(end.ended - end.started)
    start = "" if end.started is None else clock(end.started)
    return [job, end.host or "", _command(f"trace {job}"), start, clock(end.ended), ran, content.message(end)]


def _running_row(vm: Vm, now: float) -> list[Node]:
    ran = "" if vm.started is None else duration(now - vm.started)
    start = "" if vm.started is None else clock(vm.started)
    return [vm.id, vm.host or "", _command(f"trace {vm.id}"), start, "", ran, WORDS[classes.of_vm(vm)]]


def _vms(part: Part) -> list[Bar]:
    """A bar for each VM of which the start is known."""
    ends = [end for end in part.seen.ends if end.started is not None]
    running = [vm for vm in _running(part) if vm.started is not None]
    # Columns have no place for the labels of so many.
    few = len(ends) + len(running) <= picture.MOST_BARS
    bars = [
        Bar(end.started or 0.0, end.ended, classes.of_end(end), end.host or "", _label(end) if few else "")
        for end in ends
    ]
    bars += [
        Bar(vm.started or 0.0, None, classes.of_vm(vm), vm.host or "", _present(vm) if few else "") for vm in running
    ]
    return bars


def _label(end: End) -> str:
    return f"{end.id} on {end.host}: {clock(end.started or 0.0)} to {clock(end.ended)}, {content.message(end)}"


def _present(vm: Vm) -> str:
    return f"{vm.id} on {vm.host}: since {clock(vm.started or 0.0)}, {WORDS[classes.of_vm(vm)]}"


def _running(part: Part) -> list[Vm]:
    return [vm for vm in part.seen.vms if vm.state in ON_HOST]


def _starts(part: Part) -> list[float]:
    """When its VMs began, as far as that is known."""
    each = [*(end.started for end in part.seen.ends), *(vm.started for vm in _running(part))]
    return [start for start in each if start is not None]


def _more(rows: Sequence[object], what: str) -> Iterable[Element]:
    left = len(rows) - MOST_HOSTS
    return [element("p", f"and {count(left, f'more {what}')}", class_="soft")] if left > 0 else []


def _command(words: str) -> Element:
    return element("code", f"condor_vac {words}")
