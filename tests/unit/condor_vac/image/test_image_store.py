# SPDX-License-Identifier: GPL-3.0-or-later
"""Images brought to a node from files and from a web server that may do anything."""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base import urls
from condor_vac.base.errors import UsageError, VacError
from condor_vac.image import fetch as image_fetch
from condor_vac.image import qcow2
from condor_vac.image.fetch import Bounds, Outcome, Wanted
from condor_vac.image.store import Store, resolved, version_of
from condor_vac.worker.vm import disks
from tests.unit.condor_vac.image.pages import contents, image, page, sha256
from tests.unit.grid import Authority
from tests.unit.webserver import Route, WebServer, redirect, reply, web_server

PATTERN = r"/CN=cvm-sign01\.cern\.ch$"


def put(store: Store, wanted: Wanted, in_use: tuple[str, ...] = (), **options: Any) -> Outcome:
    bounds = options.pop("bounds", Bounds(seconds=20.0))
    if options.get("apply", True):
        with store.lock():
            return image_fetch.ensure(store, wanted, in_use, bounds, **options)
    return image_fetch.ensure(store, wanted, in_use, bounds, **options)


def left_over(store: Store) -> list[str]:
    return [name for name in os.listdir(store.versions_directory) if name.endswith(".part")]


def test_a_file_becomes_a_version_behind_a_link(store: Store, tmp_path: Path) -> None:
    (tmp_path / "src.iso").write_bytes(image(1))
    outcome = put(store, Wanted("vm.iso", str(tmp_path / "src.iso")))
    assert outcome.changed
    assert contents(store) == image(1)
    assert os.readlink(f"{store.directory}/vm.iso") == f".versions/{sha256(image(1))[:16]}-vm.iso"
    mode = os.stat(f"{store.directory}/vm.iso").st_mode
    assert (stat.S_IMODE(mode), stat.S_ISREG(mode)) == (0o644, True)
    assert not put(store, Wanted("vm.iso", str(tmp_path / "src.iso"))).changed


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_jobs_can_read_images_whatever_roots_umask(store: Store, tmp_path: Path, umask: int) -> None:
    (tmp_path / "src.iso").write_bytes(image(1))
    before = os.umask(umask)
    try:
        put(store, Wanted("vm.iso", str(tmp_path / "src.iso")))
    finally:
        os.umask(before)
    for path in (store.directory, store.versions_directory):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o755


def test_a_changed_mode_is_fixed(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "vm.iso"
    source.write_bytes(image(5))
    wanted = Wanted("vm.iso", str(source), sha256(image(5)))
    version = store.path(put(store, wanted).after)  # type: ignore[arg-type]
    for mode in (0o600, 0o666, 0o755):
        os.chmod(version, mode)
        assert put(store, wanted, apply=False).changed
        assert stat.S_IMODE(os.stat(version).st_mode) == mode
        assert put(store, wanted).changed
        assert stat.S_IMODE(os.stat(version).st_mode) == 0o644
        assert not put(store, wanted).changed


def test_a_pinned_image_is_fetched_once(store: Store, server: WebServer) -> None:
    server.routes["/a.iso"] = reply(image(2))
    wanted = Wanted("vm.iso", server.url + "/a.iso", "sha256:" + sha256(image(2)).upper())
    assert put(store, wanted).changed
    assert not put(store, wanted).changed
    assert len(server.requests) == 1


def test_an_image_that_is_not_pinned_follows_its_source(store: Store, server: WebServer) -> None:
    wanted = Wanted("vm.iso", server.url + "/a.iso")
    server.routes["/a.iso"] = page(image(3), etag='"three"')
    assert put(store, wanted).changed
    assert not put(store, wanted).changed
    assert 'If-None-Match: "three"' in server.requests[1]
    server.routes["/a.iso"] = page(image(4), modified="Wed, 25 Nov 2026 17:00:00 GMT")
    assert put(store, wanted).changed
    assert contents(store) == image(4)
    assert not put(store, wanted).changed
    assert "If-Modified-Since: Wed, 25 Nov 2026 17:00:00 GMT" in server.requests[3]
    assert left_over(store) == []


def test_the_same_contents_without_validators_are_not_a_change(store: Store, server: WebServer) -> None:
    server.routes["/a.iso"] = reply(image(5))
    wanted = Wanted("vm.iso", server.url + "/a.iso")
    put(store, wanted)
    inode = os.stat(f"{store.directory}/vm.iso").st_ino
    assert not put(store, wanted).changed
    assert os.stat(f"{store.directory}/vm.iso").st_ino == inode


def test_check_mode_reports_the_change_and_stores_nothing(store: Store, server: WebServer) -> None:
    wanted = Wanted("vm.iso", server.url + "/a.iso")
    assert put(store, wanted, apply=False).changed
    assert not os.path.exists(store.directory)
    server.routes["/a.iso"] = reply(image(6))
    put(store, wanted)
    assert not put(store, wanted, apply=False).changed
    server.routes["/a.iso"] = reply(image(7))
    seen = put(store, wanted, apply=False)
    done = put(store, wanted)
    assert seen.changed
    assert seen.after is not None
    assert done.after is not None
    assert (seen.after.sha256, seen.removed) == (done.after.sha256, done.removed)


def slow(server: WebServer) -> Route:
    return server.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")


def endless(server: WebServer) -> Route:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return server.drip(head, 0.0, b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


HOSTILE: dict[str, tuple[Any, str]] = {
    "another digest": (lambda _: reply(image(99)), "SHA-256 is "),
    "truncated": (lambda _: reply(image(8)[:1000], Content_Length="300000"), "ended|complete"),
    "404": (lambda _: reply(image(8), "404 Not Found"), "404"),
    "500": (lambda _: reply(image(8), "500 Oops"), "500"),
    "206": (lambda _: reply(image(8), "206 Partial Content"), "206"),
    "304 that was not requested": (lambda _: reply(b"", "304 Not Modified"), "304"),
    "redirect loop": (lambda _: redirect("/a.iso"), "redirects"),
    "redirect to a file": (lambda _: redirect("file:///etc/passwd"), "https"),
    "redirect to http": (lambda _: redirect("http://images.example.org/vm.iso"), "https"),
    "slow": (slow, "not complete within"),
    "no end": (endless, "over the budget"),
    "gzip bomb": (lambda _: reply(gzip.compress(bytes(64 << 20)), Content_Encoding="gzip"), "compressed"),
    "10 GB": (lambda _: reply(b"x" * 300_000, Content_Length=str(10 << 30)), "over the budget"),
    "empty": (lambda _: reply(b""), "SHA-256 is "),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_server_changes_nothing(store: Store, server: WebServer, tmp_path: Path, kind: str) -> None:
    route, printed = HOSTILE[kind]
    (tmp_path / "old.iso").write_bytes(image(9))
    put(store, Wanted("vm.iso", str(tmp_path / "old.iso")))
    server.routes["/a.iso"] = route(server)
    wanted = Wanted("vm.iso", server.url + "/a.iso", sha256(image(8)))
    seconds = 1.0 if kind == "slow" else 60.0
    with pytest.raises(VacError, match=printed) as caught:
        put(store, wanted, bounds=Bounds(4 << 20, seconds))
    assert "\n" not in str(caught.value)
    assert contents(store) == image(9)
    assert left_over(store) == []
    assert list(store.sizes()) == [f"{sha256(image(9))[:16]}-vm.iso"]


@pytest.mark.parametrize("name", ["../vm.iso", "a/b", "", ".", "..", ".hidden", "a b", "a\nb", "x" * 101])
def test_a_name_that_is_not_a_file_name_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / "src.iso").write_bytes(image(10))
    with pytest.raises(UsageError, match="image name"):
        put(store, Wanted(name, str(tmp_path / "src.iso")))
    assert not os.path.exists(tmp_path / "vm.iso")


@pytest.mark.parametrize(
    "source", ["file:///etc/passwd", "http://images.example.org/a.iso", "ftp://example.org/a", "relative.iso", ""]
)
def test_a_source_that_is_neither_https_nor_a_path_is_refused(store: Store, source: str) -> None:
    with pytest.raises(UsageError):
        put(store, Wanted("vm.iso", source))


@pytest.mark.parametrize("text", ["md5:" + "0" * 32, "sha1:" + "0" * 40, "0" * 63, "sha256:" + "g" * 64, ""])
def test_a_checksum_that_is_not_sha256_is_refused(store: Store, text: str) -> None:
    with pytest.raises(UsageError, match="checksum"):
        put(store, Wanted("vm.iso", "/nowhere", text))


def test_a_signature_is_demanded_before_an_image_is_used(store: Store, server: WebServer, authority: Authority) -> None:
    ca = authority.directory()
    wanted = Wanted("vm.iso", server.url + "/a.iso", signing_dn=PATTERN, ca=ca)
    server.routes["/a.iso"] = reply(authority.sign(image(11)))
    outcome = put(store, wanted)
    assert outcome.after is not None
    assert outcome.after.signed_by == "/DC=ch/DC=cern/OU=computers/CN=cvm-sign01.cern.ch"
    good = contents(store)
    changed = bytearray(authority.sign(image(12)))
    changed[7] ^= 255
    other = authority.issue("m", "/DC=ch/CN=mallory")
    for bad in (image(13), bytes(changed), authority.sign(image(14), *other)):
        server.routes["/a.iso"] = reply(bad)
        with pytest.raises(VacError, match="not used"):
            put(store, wanted)
        with pytest.raises(VacError, match="not used"):
            put(store, replace(wanted, sha256=sha256(bad)))
        assert contents(store) == good


def test_a_signature_asked_for_later_is_checked_on_what_is_there(
    store: Store, tmp_path: Path, authority: Authority
) -> None:
    unsigned, signed = image(15), authority.sign(image(16))
    for data, good in ((unsigned, False), (signed, True)):
        (tmp_path / "src.iso").write_bytes(data)
        wanted = Wanted("vm.iso", str(tmp_path / "src.iso"), sha256(data))
        put(store, wanted)
        (tmp_path / "src.iso").unlink()
        later = replace(wanted, signing_dn=PATTERN, ca=authority.directory())
        if good:
            assert put(store, later).changed
            assert not put(store, later).changed
        else:
            with pytest.raises(VacError, match="not signed"):
                put(store, later)


def test_over_https_the_grids_ca_vouches_for_the_server(store: Store, https: WebServer, authority: Authority) -> None:
    https.routes["/a.iso"] = reply(image(17))
    with pytest.raises(urls.FetchError, match="not trusted"):
        put(store, Wanted("vm.iso", https.url + "/a.iso"))
    assert put(store, Wanted("vm.iso", https.url + "/a.iso", ca=authority.directory())).changed
    assert contents(store) == image(17)


def test_a_version_goes_when_no_vm_runs_on_it(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "src.iso"
    first = f"{sha256(image(18))[:16]}-vm.iso"
    for seed in (18, 19, 20):
        source.write_bytes(image(seed))
        put(store, Wanted("vm.iso", str(source)), in_use=(first,))
    assert sorted(store.sizes()) == sorted([first, f"{sha256(image(20))[:16]}-vm.iso"])
    outcome = put(store, Wanted("vm.iso", str(source)))
    assert outcome.removed == (first,)
    assert contents(store) == image(20)


def test_the_budget_counts_every_version(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "src.iso"
    source.write_bytes(image(21))
    put(store, Wanted("vm.iso", str(source)))
    old = f"{sha256(image(21))[:16]}-vm.iso"
    source.write_bytes(image(22))
    put(store, Wanted("vm.iso", str(source)), in_use=(old,))
    for size, good in ((400_001, False), (400_000, True)):
        source.write_bytes(image(23, size))
        wanted = Wanted("other.iso", str(source))
        if good:
            assert put(store, wanted, in_use=(old,), bounds=Bounds(1_000_000)).changed
        else:
            with pytest.raises(VacError, match="worker_image_budget_gb"):
                put(store, wanted, in_use=(old,), bounds=Bounds(1_000_000))


def test_a_full_disk_is_not_filled_further(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src.iso").write_bytes(image(24))
    monkeypatch.setattr(image_fetch, "RESERVE_BYTES", 1 << 60)
    with pytest.raises(VacError, match="make room"):
        put(store, Wanted("vm.iso", str(tmp_path / "src.iso")))


def test_what_a_killed_fetch_left_is_cleared(store: Store, tmp_path: Path) -> None:
    (tmp_path / "src.iso").write_bytes(image(25))
    put(store, Wanted("vm.iso", str(tmp_path / "src.iso")))
    Path(store.part("vm.iso")).write_bytes(b"half")
    put(store, Wanted("vm.iso", str(tmp_path / "src.iso")))
    assert left_over(store) == []


def test_a_damaged_version_is_fetched_again(store: Store, server: WebServer) -> None:
    server.routes["/a.iso"] = page(image(26), etag='"x"')
    wanted = Wanted("vm.iso", server.url + "/a.iso")
    put(store, wanted)
    os.truncate(f"{store.directory}/vm.iso", 1000)
    assert put(store, wanted).changed
    assert contents(store) == image(26)


def test_a_file_of_htcondorvms_is_taken_over(store: Store, tmp_path: Path) -> None:
    os.makedirs(store.directory)
    Path(store.directory, "vm.iso").write_bytes(b"put here by hand")
    with open(f"{store.directory}/vm.iso", "rb") as running:
        (tmp_path / "src.iso").write_bytes(image(27))
        assert put(store, Wanted("vm.iso", str(tmp_path / "src.iso"))).changed
        assert running.read() == b"put here by hand"
    assert contents(store) == image(27)


def test_an_overlay_names_the_version(store: Store, tmp_path: Path) -> None:
    (tmp_path / "src.raw").write_bytes(image(30, 1 << 20))
    put(store, Wanted("vm.raw", str(tmp_path / "src.raw")))
    path = resolved(f"{store.directory}/vm.raw", store.directory)
    overlay = disks.make_overlay(str(tmp_path), path, "raw")
    assert qcow2.read(overlay) == (path, "raw", False)
    assert version_of(path, store.directory) == f"{sha256(image(30, 1 << 20))[:16]}-vm.raw"


def naming_others(tmp_path: Path, kind: str) -> bytes:
    """A qcow2 image that has QEMU read another file of the node, or (alone) none."""
    path = tmp_path / "made.qcow2"
    more = {"alone": [], "backing file": ["-F", "raw", "-b", "/etc/passwd"], "data file": ["-o", f"data_file={path}.d"]}
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *more[kind], str(path), "1M"], check=True)
    return path.read_bytes()


@pytest.mark.parametrize("way", ["file", "server", "check mode", "checksum", "on disk"])
@pytest.mark.parametrize(
    ("kind", "words"), [("backing file", "/etc/passwd"), ("data file", "another file"), ("alone", "")]
)
def test_an_image_that_has_qemu_read_other_files_is_not_used(
    store: Store, server: WebServer, tmp_path: Path, kind: str, words: str, way: str
) -> None:
    (tmp_path / "old.qcow2").write_bytes(image(40))
    put(store, Wanted("vm.qcow2", str(tmp_path / "old.qcow2")))
    data = naming_others(tmp_path, kind)
    server.routes["/a.qcow2"] = reply(data)
    (tmp_path / "src.qcow2").write_bytes(data)
    source = server.url + "/a.qcow2" if way == "server" else str(tmp_path / "src.qcow2")
    wanted = Wanted("vm.qcow2", source, sha256(data) if way in {"checksum", "on disk"} else None)
    if way == "on disk":
        Path(store.versions_directory, f"{sha256(data)[:16]}-vm.qcow2").write_bytes(data)
    in_use = (f"{sha256(data)[:16]}-vm.qcow2",)
    if kind == "alone":
        assert put(store, wanted, in_use, apply=way != "check mode").changed
        assert contents(store, "vm.qcow2") == (image(40) if way == "check mode" else data)
        return
    with pytest.raises(VacError, match=f"{words}.*which QEMU would read on the node; .*; not used"):
        put(store, wanted, in_use, apply=way != "check mode")
    assert contents(store, "vm.qcow2") == image(40)
    assert left_over(store) == []


def test_an_answer_to_a_changed_question_does_not_count(store: Store, server: WebServer, tmp_path: Path) -> None:
    """The validators of one URL do not count for another."""
    server.routes["/a.iso"] = page(image(36), etag='"same"')
    server.routes["/b.iso"] = page(image(37), etag='"same"')
    put(store, Wanted("vm.iso", server.url + "/a.iso"))
    assert put(store, Wanted("vm.iso", server.url + "/b.iso")).changed
    assert contents(store) == image(37)


def test_a_servers_word_that_cannot_be_printed_is_not_kept(store: Store, server: WebServer) -> None:
    server.routes["/a.iso"] = page(image(38), etag='"a\x7f"')
    for changed in (True, False):
        outcome = put(store, Wanted("vm.iso", server.url + "/a.iso"))
        assert outcome.after is not None
        assert (outcome.changed, outcome.after.etag) == (changed, None)


def test_unreachable(store: Store) -> None:
    with web_server() as server:
        url = server.url + "/a.iso"
    with pytest.raises(urls.FetchError):
        put(store, Wanted("vm.iso", url))
