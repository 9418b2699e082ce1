# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac page``: what the factories left, as text that nobody's input can turn into markup."""

from __future__ import annotations

import html.parser
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from condor_vac.cli import survey
from condor_vac.factory import day
from condor_vac.factory.day import End, Vm
from condor_vac.factory.state import State
from condor_vac.policy.control_law import Policy
from condor_vac.policy.observation import Limits
from tests.unit.condor_vac.cli.surveyed import LAST, Site
from tests.unit.condor_vac.standins import NOW, RUNNING, machinetype

SCRIPT = "<script>alert(1)</script>"
HOSTILE = [
    SCRIPT,
    '"><img src=x onerror=alert(1)>',
    "</style><b>",
    "&lt;b&gt;",
    "]]><!--",
    "\x1b[31m\x00\u202e",
    "💥" * 200,
]


class Reader(html.parser.HTMLParser):
    """The page as a browser takes it: its tags, its addresses and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(key for key, _ in attrs)
        self.addresses.update(value or "" for key, value in attrs if key in {"href", "src", "action", "data"})

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


class Page:
    """A site with a directory for its page."""

    def __init__(self, site: Site, path: Path) -> None:
        self.site = site
        self.state = site.states / "gridpp"
        self.directory = path / "www"
        self.directory.mkdir()

    def leave(self, vms: list[Vm], ends: list[End]) -> None:
        """What its factory leaves."""
        (self.state / day.QUEUE).write_text(json.dumps({"version": 1, "time": NOW - 20, "vms": vms}))
        (self.state / day.ENDS).write_text("".join(json.dumps(end._asdict()) + "\n" for end in ends))

    def report(self) -> dict[str, Any]:
        """The report, which is printed with --json."""
        code, out, err = self.site.run("page", str(self.directory), "--json")
        assert (code, err) == (0, "")
        return dict(json.loads(out))

    def read(self) -> Reader:
        """The page that a run writes."""
        assert self.site.run("page", str(self.directory)) == (0, "", "")
        return Reader((self.directory / "index.html").read_text("utf-8"))


@pytest.fixture
def page(site: Site, tmp_path: Path) -> Page:
    return Page(site, tmp_path)


def end(number: int = 1, code: int | None = 200, kind: str = "success", **keys: Any) -> End:
    """A VM that ended."""
    data = {"id": f"{number}.0", "host": "wn1", "started": NOW - 5000, "ended": NOW - 100 - number, "works": False}
    return End(**{**data, "code": code, "kind": kind, "message": None, **keys})


def test_the_page_has_the_decision_and_the_figures(page: Page) -> None:
    page.leave([Vm("5.0", 1, None, None, False, None), Vm("6.0", RUNNING, "wn2", NOW - 60, True, None)], [end()])
    found = page.read()
    for text in ("gridpp", "No work for 600 s.", "ended after work (2xx): 1", "condor_vac trace 1.0", "wn2"):
        assert f"{text}\n" in found.text
    entry = page.report()["machinetypes"]["gridpp"]
    assert [entry[key] for key in ("idle", "running", "works", "held", "problems")] == [1, 1, 1, 0, []]
    assert entry["last"]["reasons"] == LAST["reasons"]
    assert entry["ends"] == [{"code": 200, "kind": "success", "number": 1}]
    assert entry["hosts"] == {
        "wn1": {"running": 0, "ended": 1, "failed": 0}, "wn2": {"running": 1, "ended": 0, "failed": 0},
    }  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_guests_stays_text(page: Page, text: str) -> None:
    page.leave([], [end()])
    plain = page.read()
    page.leave([], [end(message=text[:256])])
    page.site.keep(State(last={**LAST, "reasons": [text], "error": text}))
    (page.site.types / "broken.json").write_text(json.dumps({**machinetype().to_mapping(), "kind": text}))
    found = page.read()
    assert found.tags <= plain.tags | {"li", "ul"}
    assert found.attributes <= plain.attributes
    shown = "".join(char if char.isprintable() else "\ufffd" for char in text[:200])
    assert shown.strip()[:200] in found.text
    assert not [char for char in found.text if not char.isprintable() and char != "\n"]


def test_it_needs_no_script_and_asks_for_nothing(page: Page) -> None:
    page.leave([], [end(message=SCRIPT)])
    found = page.read()
    assert not found.tags & {"script", "img", "iframe", "object", "embed", "form", "base"}
    assert all(address.startswith(("#", "data:,")) for address in found.addresses)
    assert not {name for name in found.attributes if name.startswith("on")}
    text = (page.directory / "index.html").read_text()
    assert "default-src 'none'" in text
    assert "url(" not in text
    assert "@import" not in text


def test_nodes_with_findings_are_named_over_all_machinetypes(page: Page) -> None:
    bad = [end(number, 500, "site", host="wn7", message="no cvmfs") for number in range(3)]
    page.leave([], [*bad, end(9, host="wn1"), end(10, None, "lost", host="wn1")])
    page.site.keep(State(last=LAST, avoid=("wn7",)))
    text = page.read().text
    assert "all 3 VMs of the last day failed; 3 VMs failed by the node (5xx, lost or refused); gridpp avoids it" in text
    assert "500 no cvmfs\n" in text
    assert page.report()["machinetypes"]["gridpp"]["avoid_hosts"] == {"wn7": None}
    # One failure on a host where others succeed may be chance.
    assert text.rpartition("Nodes with findings")[2].count("condor_vac trace") == 1


def test_avoided_hosts_have_the_time_that_the_policy_knows(page: Page) -> None:
    policy = json.loads(json.dumps(Policy(Limits()).state()))
    policy["judgement"]["hosts"] = {"wn7": {"failures": 1, "level": 1, "until": NOW + 600}}
    page.site.keep(State(last=LAST, avoid=("wn7", "wn8"), policy=policy))
    page.leave([], [])
    until = time.strftime("%H:%M", time.localtime(NOW + 600))
    found = page.read()
    mine = found.text.rpartition("Nodes with findings")[0]
    assert f"Hosts that new VMs avoid\nhost\nuntil\nwn7\n{until}\nwn8\nnot known\n" in mine
    assert f"gridpp avoids it until {until}\n" in found.text
    assert page.report()["machinetypes"]["gridpp"]["avoid_hosts"] == {"wn7": NOW + 600, "wn8": None}


def test_one_bad_machinetype_costs_itself(page: Page) -> None:
    page.leave([], [end()])
    (page.site.states / "broken").mkdir()
    (page.site.types / "broken.json").write_text("{")
    (page.site.states / "broken" / "state.json").write_text("{")
    report = page.report()["machinetypes"]
    assert report["gridpp"]["problems"] == []
    assert len(report["broken"]["problems"]) == 2
    text = page.read().text
    assert "needs attention\n" in text
    assert f"{page.site.states}/broken/state.json" in text


def test_a_factory_that_stopped_is_a_problem(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "now", lambda: NOW + 7200)
    assert page.report()["machinetypes"]["gridpp"]["problems"] == [
        "its last cycle was 2h00 ago; condor_vac explain gridpp shows why"
    ]


def test_a_machinetype_that_is_gone_leaves_the_page_a_day_later(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    page.leave([], [end()])
    os.remove(page.site.types / "gridpp.json")
    assert "gridpp" in page.report()["machinetypes"]
    monkeypatch.setattr(survey, "now", lambda: NOW + 90_000)
    assert page.report()["machinetypes"] == {}
    assert "No machinetype has a file" in page.read().text


def test_the_schedd_is_not_asked(page: Page) -> None:
    page.site.pool.failing = {"jobs", "history", "slots", "setting"}
    page.leave([], [end()])
    assert "gridpp" in page.report()["machinetypes"]


def test_twice_in_a_row_and_with_a_relative_path(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(page.directory.parent)
    for _ in range(2):
        assert page.site.run("page", "www")[0] == 0
    assert os.listdir(page.directory) == ["index.html"]
    assert (page.directory / "index.html").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["absent", "file", ""])
def test_a_wrong_directory_is_one_line(page: Page, name: str) -> None:
    (page.directory / "file").write_text("")
    place = str(page.directory / name) if name else ""
    code, out, err = page.site.run("page", place)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "not a directory; create it first" in err


def test_many_hosts_codes_and_vms_are_cut_and_counted(page: Page) -> None:
    page.leave([], [end(n, 600 + n % 100, "experiment", host=f"wn{n}") for n in range(200)])
    found = page.read()
    for text in ("and 70 more codes", "and 170 more hosts", "The latest 100 of 200 VMs one by one"):
        assert text in found.text
    assert len(page.report()["machinetypes"]["gridpp"]["hosts"]) == 200


@pytest.mark.slow
def test_the_page_grows_less_than_its_vms(page: Page) -> None:
    sizes = []
    for number in (600, 6000):
        ends = [end(n, started=NOW - 80_000 + 10 * n, host=f"wn{n % 400}") for n in range(number)]
        page.leave([], ends)
        page.read()
        sizes.append((page.directory / "index.html").stat().st_size)
    assert sizes[1] < 1.3 * sizes[0]


def test_times_are_local(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert "JST" in page.read().text
    finally:
        monkeypatch.undo()
        time.tzset()
