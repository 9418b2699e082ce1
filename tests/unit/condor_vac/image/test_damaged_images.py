# SPDX-License-Identifier: GPL-3.0-or-later
"""One damaged image among good ones: the others are refreshed in the same run, and it is named and shown."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from condor_vac.cli import dispatch
from condor_vac.image import fetch as image_fetch
from condor_vac.image.fetch import Bounds, Wanted
from condor_vac.image.store import Store
from tests.unit import damage
from tests.unit.condor_vac.image.pages import contents, image, page, sha256
from tests.unit.webserver import WebServer, reply

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow

NAMES = ("a.iso", "bad.iso", "z.iso")


def command(store: Store, *words: str) -> int:
    action, *rest = words
    return dispatch.main(["image", action, "--json", "--directory", store.directory, *rest])


@pytest.fixture
def three(store: Store, server: WebServer, capsys: pytest.CaptureFixture[str]) -> Store:
    """Three images, each of which its server has a new version of."""
    for number, name in enumerate(NAMES):
        server.routes[f"/{name}"] = page(image(50 + number), etag=f'"{name}"')
        assert command(store, "put", name, f"{server.url}/{name}") == 0
        server.routes[f"/{name}"] = page(image(60 + number), etag=f'"{name} 2"')
    capsys.readouterr()
    return store


def refreshed(store: Store, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any], str]:
    code = command(store, "refresh")
    shown = capsys.readouterr()
    return code, json.loads(shown.out)["images"], shown.err


def rows(store: Store, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    command(store, "list")
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)["images"]}


def hurt(monkeypatch: pytest.MonkeyPatch, path: Path, kind: str) -> None:
    if kind in damage.MADE:
        damage.MADE[kind](path)
    else:
        damage.unreadable(monkeypatch, path, kind)


def others_are_served(store: Store, results: dict[str, Any]) -> None:
    assert {name: results[name]["changed"] for name in ("a.iso", "z.iso")} == {"a.iso": True, "z.iso": True}
    assert (contents(store, "a.iso"), contents(store, "z.iso")) == (image(60), image(62))


@pytest.mark.parametrize("kind", [*damage.MADE, *damage.UNREADABLE])
def test_a_damaged_record(
    three: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: WebServer, kind: str
) -> None:
    path = Path(three.versions_directory, "bad.iso.json")
    with monkeypatch.context() as patched:
        hurt(patched, path, kind)
        if kind == "from the future":
            assert refreshed(three, capsys)[0] == 0
            return
        code, results, printed = refreshed(three, capsys)
        others_are_served(three, results)
        assert (code, printed.count("bad.iso: "), "bad.iso.json: " in printed) == (1, 1, True)
        assert contents(three, "bad.iso") == image(51), "VMs go on starting on what they started on"
        shown = rows(three, capsys)
        assert {name: row["good"] for name, row in shown.items()} == dict(zip(NAMES, (True, False, True)))
        assert "bad.iso.json: " in shown["bad.iso"]["error"]
        assert shown["bad.iso"]["version"] == f"{sha256(image(51))[:16]}-bad.iso"
    if kind in damage.UNREADABLE:
        return
    if kind == "a directory":
        assert command(three, "put", "bad.iso", f"{server.url}/bad.iso") == 1
        assert "bad.iso.json: cannot write: Is a directory" in capsys.readouterr().err
        assert command(three, "keep") == 1
        printed = capsys.readouterr().err
        assert "bad.iso: " in printed
        assert three.names() == ["bad.iso"]
    else:
        assert command(three, "put", "bad.iso", f"{server.url}/bad.iso") == 0
        assert contents(three, "bad.iso") == image(61)
        assert command(three, "list") == 0


def test_a_record_of_other_types(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(three.versions_directory, "bad.iso.json")
    good = json.loads(path.read_text())
    for name, text in damage.wrong_types(good):
        optional = name.endswith("=None") and name.partition("=")[0] in {
            "etag",
            "last_modified",
            "signing_dn",
            "signed_by",
            "ca",
        }
        path.write_text(text)
        shown = rows(three, capsys)
        assert {one: row["good"] for one, row in shown.items()} == {
            **dict.fromkeys(NAMES, True),
            "bad.iso": optional,
        }, name
        assert optional or "not an image's record" in shown["bad.iso"]["error"]
    for text in (
        json.dumps({**good, "name": "a.iso"}),
        json.dumps({**good, "source": "\x1b[31m"}),
        '{"name": 1, "name": 2}',
    ):
        path.write_text(text)
        code, results, _ = refreshed(three, capsys)
        assert (code, "error" in results["bad.iso"], contents(three, "bad.iso")) == (1, True, image(51))


def test_a_file_that_is_no_images_record_is_left_alone(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    Path(three.versions_directory, "not a name.json").write_text("{}")
    assert refreshed(three, capsys)[0] == 0
    assert command(three, "list") == 0


MENDED = {
    "empty",
    "truncated",
    "wrong encoding",
    "not an object",
    "deeply nested",
    "huge",
    "a dangling link",
    "a link to itself",
}


@pytest.mark.parametrize("kind", [*damage.MADE, *damage.UNREADABLE])
def test_a_damaged_version_is_fetched_again_or_named(
    three: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: WebServer, kind: str
) -> None:
    server.routes["/bad.iso"] = page(image(51), etag='"bad.iso"')
    path = Path(three.versions_directory, f"{sha256(image(51))[:16]}-bad.iso")
    if kind == "wrong encoding":
        path.write_text("text")
    hurt(monkeypatch, path, kind)
    before = rows(three, capsys)["bad.iso"]
    code, results, printed = refreshed(three, capsys)
    others_are_served(three, results)
    if kind == "from the future":
        assert (code, before["good"]) == (0, True)
    elif kind in MENDED:
        assert (code, before["error"].partition(";")[0]) == (0, "not all of it is here")
        assert contents(three, "bad.iso") == image(51)
        assert rows(three, capsys)["bad.iso"]["good"]
    else:
        assert (code, before["good"], printed.count("bad.iso: ") > 0) == (1, False, True)


@pytest.mark.parametrize(
    "kind", ["missing", "a directory", "a dangling link", "a link to itself", "a file put here by hand"]
)
def test_a_damaged_link_is_made_again_or_named(
    three: Store, capsys: pytest.CaptureFixture[str], server: WebServer, kind: str
) -> None:
    server.routes["/bad.iso"] = page(image(51), etag='"bad.iso"')
    link = Path(three.directory, "bad.iso")
    if kind in damage.MADE:
        damage.MADE[kind](link)
    else:
        link.unlink()
        if kind != "missing":
            link.write_bytes(b"by hand")
    assert not rows(three, capsys)["bad.iso"]["good"]
    code, results, printed = refreshed(three, capsys)
    others_are_served(three, results)
    if kind == "a directory":
        assert (code, "bad.iso: cannot put the image there: Is a directory" in printed) == (1, True)
    else:
        assert (code, contents(three, "bad.iso")) == (0, image(51))


def test_what_came_from_a_file_is_named_and_not_fetched(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "src.iso").write_bytes(image(70))
    assert command(store, "put", "a.iso", str(tmp_path / "src.iso")) == 0
    capsys.readouterr()
    assert refreshed(store, capsys)[0] == 0
    os.truncate(f"{store.directory}/a.iso", 5)
    code, results, _ = refreshed(store, capsys)
    assert (code, results["a.iso"]["error"].partition(";")[0]) == (1, "not all of the image is here")


def test_an_image_in_the_store_that_names_other_files_is_shown(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "src.qcow2").write_bytes(
        b"QFI\xfb\0\0\0\3" + bytes(8 * 8) + b"\0" * 7 + b"\4" + bytes(20) + b"\0\0\0\x68" + bytes(900)
    )
    with monkeypatch.context() as patched:
        # As it was before images were looked at.
        patched.setattr("condor_vac.image.qcow2.check_alone", lambda *_: None)
        assert command(store, "put", "a.qcow2", str(tmp_path / "src.qcow2")) == 0
    capsys.readouterr()
    row = rows(store, capsys)["a.qcow2"]
    assert not row["good"]
    assert "has its data in another file" in row["error"]
    assert command(store, "put", "a.qcow2", str(tmp_path / "src.qcow2")) != 0


class CrashError(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("step", ["chmod", "replace", "symlink"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_crash_at_any_step_of_an_installation_loses_no_image(
    store: Store, server: WebServer, monkeypatch: pytest.MonkeyPatch, step: str, call: int
) -> None:
    def put() -> None:
        with store.lock():
            image_fetch.ensure(store, Wanted("a.iso", f"{server.url}/a.iso"), (), Bounds())

    server.routes["/a.iso"] = reply(image(80))
    put()
    server.routes["/a.iso"] = reply(image(81))
    real, calls = getattr(os, step), 0

    def crash(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        if step != "chmod" or str(arguments[0]).endswith(".part"):
            calls += 1
        if calls == call:
            raise CrashError
        return real(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, step, crash)
        with contextlib.suppress(CrashError):
            put()
    server.routes["/a.iso"] = reply(b"", "503 Busy")
    with pytest.raises(Exception, match="503"):
        put()
    assert contents(store, "a.iso") in {image(80), image(81)}
    assert os.path.islink(f"{store.directory}/a.iso")
    server.routes["/a.iso"] = reply(image(81))
    put()
    assert contents(store, "a.iso") == image(81)
    assert list(store.sizes()) == [f"{sha256(image(81))[:16]}-a.iso"]
