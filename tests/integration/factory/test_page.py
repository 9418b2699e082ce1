# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a real pool's factory, in a real browser: its figures, its text, and how it looks.

Screenshots are in tests/output/page, for people to look at.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from condor_vac.factory import day
from condor_vac.page.classes import WORDS
from condor_vac.page.picture import COLUMNS, MOST_BARS
from tests.browser import Browser
from tests.integration.chroot import CHECKOUT, OWNER
from tests.integration.factory.site import Site, job_id

OUTPUT = CHECKOUT / "tests" / "output" / "page"
IDLE = 1
# What a VM may write into its message; the node makes one line of the first 4096 bytes and its factory 256 characters.
SCRIPT = "<script>document.title = 'owned'</script>"
LONG = "</td></svg><img src=https://example.org/x onerror=alert(1)> " + "y" * 4036
FIGURES = """Object.fromEntries([...document.querySelectorAll("#machinetype-NAME dl div")].map(
    each => [each.querySelector("dt").textContent, each.querySelector("dd").textContent]))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of the file; pages may run scripts, if they had any."""
    with Browser() as running:
        yield running


def written(site: Site) -> tuple[Path, dict[str, Any]]:
    """The page as the factory's owner writes it, and its report."""
    directory = site.outside / "www"
    if not directory.exists():
        directory.mkdir()
        site.pool.run("chown", OWNER, f"{site.directory}/www")
    done = site.run("page", f"{site.directory}/www", "--json")
    assert done.returncode == 0, done.stderr
    return directory / "index.html", dict(json.loads(done.stdout)["machinetypes"][site.name])


def busy(site: Site) -> None:
    """A factory with VMs of all kinds, after a cycle that did nothing more."""
    site.write(max_machines=12, max_idle=8, max_starting=12)
    site.once()
    works, quiet, done, dry, bad, hostile, held, *_ = [job_id(ad) for ad in site.jobs() if ad["JobStatus"] == IDLE]
    site.start(works, host="wn1.test")
    site.start(quiet, life=400, fraction=0.0, host="wn2.test")
    site.finish(done, 200, host="wn1.test")
    site.finish(dry, 300, life=700, worked=False, host="wn2.test")
    site.finish(bad, 500, life=70, worked=False, host="wn3.test")
    site.jobs(edits={bad: {"ShutdownMessage": json.dumps(SCRIPT)}})
    site.finish(hostile, 600, life=800, host="wn3.test")
    site.jobs(edits={hostile: {"ShutdownMessage": json.dumps(LONG)}})
    site.pool.run("condor_hold", held)
    for _ in range(4):
        assert site.once().returncode == 0, site.last()
        if not site.last()["submit"]:
            return
    raise AssertionError(f"the factory did not come to rest: {site.last()}")


def pictures(browser: Browser, name: str) -> None:
    """The page as it is shown now, narrow and wide, light and dark; nothing of it is wider than the screen."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for width in (400, 1400):
        for scheme in ("light", "dark"):
            browser.look(width, scheme == "dark")
            browser.picture(OUTPUT / f"{name}-{width}-{scheme}.png")
            assert browser.value("document.documentElement.scrollWidth") == width
            back = browser.value("getComputedStyle(document.body).backgroundColor")
            (red, *_) = map(int, re.findall(r"\d+", back))
            assert (red > 128) == (scheme == "light")


def test_the_page_shows_what_status_shows(site: Site, browser: Browser) -> None:
    busy(site)
    path, report = written(site)
    status = json.loads(site.run("status", "--json").stdout)["machinetypes"][site.name]
    shared = ("idle", "running", "works", "held", "ended", "last", "max_machines")
    assert {key: report[key] for key in shared} == {key: status[key] for key in shared}
    assert (status["works"], status["held"], sum(status["ended"].values())) == (1, 1, 4)
    browser.open(path)
    shown = browser.value(FIGURES.replace("NAME", site.name))
    assert [shown[key] for key in ("idle", "running", "works", "held", "max", "ended in a day")] == [
        str(status[key]) for key in ("idle", "running", "works", "held", "max_machines")
    ] + ["4"]
    text = browser.value("document.body.innerText")
    assert "1 VM held; condor_vac status shows the reasons" in report["problems"]
    for reason in status["last"]["reasons"]:
        assert reason in text
    assert {each["code"]: each["number"] for each in report["ends"]} == {200: 1, 300: 1, 500: 1, 600: 1}
    assert report["hosts"]["wn3.test"] == {"running": 0, "ended": 2, "failed": 2}
    bars = browser.value(f"document.querySelectorAll('#machinetype-{site.name} svg.picture > rect').length")
    assert bars == 6
    pictures(browser, f"pool-{site.pool.suite}")


def test_what_guests_wrote_is_text_and_the_page_asks_for_nothing(site: Site, browser: Browser) -> None:
    busy(site)
    path, _report = written(site)
    browser.open(path)
    assert browser.requests == [path.resolve().as_uri()]
    assert browser.value("document.title").startswith("VMs of ")
    assert browser.value("document.querySelectorAll('script, img, iframe, [onerror]').length") == 0
    text = browser.value("document.body.textContent")
    assert SCRIPT in text
    assert LONG[:200] in text
    assert max(map(len, re.findall("y+", text))) < 256
    # It is the same where scripts are not allowed.
    browser.scripts(allowed=False)
    try:
        browser.open(path)
        assert browser.value("document.body.textContent") == text
    finally:
        browser.scripts(allowed=True)


@pytest.mark.parametrize("number", [MOST_BARS, 1000])
def test_many_vms_are_one_picture(site: Site, browser: Browser, number: int) -> None:
    """All of them are in it: each as a bar, or in columns of which there are as many for any number."""
    site.once()
    now = time.time()
    ends = [
        day.End(
            f"{n}.0", f"wn{n % 40}.test", now - 80_000 + 70 * n, now - 80_000 + 75 * n + 3000,
            (200, 300, 500)[n % 3], ("success", "no_work", "site")[n % 3], None, n % 3 == 0,
        )
        for n in range(1, number + 1)
    ]  # fmt: skip
    (site.states / day.ENDS).write_text("".join(json.dumps(end._asdict()) + "\n" for end in ends))
    path, report = written(site)
    shown = sum(each["number"] for each in report["ends"])
    assert shown == sum(end.ended <= now for end in ends)
    seconds = browser.open(path)
    print(f"{number} VMs: {path.stat().st_size} bytes, shown in {seconds:.2f} s")
    rects = browser.value("document.querySelectorAll('svg.picture > rect').length")
    assert rects == shown if shown <= MOST_BARS else COLUMNS < rects < 2 * COLUMNS * len(WORDS)
    legend = browser.value("[...document.querySelectorAll('.legend li')].map(each => each.textContent)")
    assert sum(int(words.rpartition(" ")[2]) for words in legend) == shown
    pictures(browser, f"{number}-vms-{site.pool.suite}")
