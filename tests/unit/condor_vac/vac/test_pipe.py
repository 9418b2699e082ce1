# SPDX-License-Identifier: GPL-3.0-or-later
"""Vacuum pipes: both formats, the site's word over the experiment's, and what a hostile pipe cannot do."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.fetch import Limits
from condor_vac.cli import dispatch
from condor_vac.vac import pipe
from tests.unit.webserver import Route, WebServer, raw, redirect, reply, web_server

PROD: dict[str, Any] = {
    "suffix": "prod",
    "machine_model": "cernvm4",
    "root_image": "https://vo.example/cernvm4.iso",
    "user_data": "https://vo.example/user_data",
    "backoff_seconds": 600,
    "fizzle_seconds": "900",
    "max_wallclock_seconds": 172800,
    "max_processors": 2,
    "min_processors": 2,
    "heartbeat_file": "vm-heartbeat",
    "heartbeat_seconds": 600,
    "accounting_fqan": "/gridpp/Role=NULL/Capability=NULL",
    "target_share": 3,
    "user_data_option_queue": "q1",
    "user_data_file_hostkey": "hostkey.pem",
    "image_signing_dn": "/CN=cvm-sign01\\.cern\\.ch$",
}
DEV: dict[str, Any] = {"suffix": "dev", "user_data": "dev.user_data", "root_image": "dev.iso", "target_share": "1"}


@pytest.fixture(name="web")
def _web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def vac3(*offers: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"cache_seconds": 1800, "machinetypes": list(offers), **more}).encode()


def expand(data: bytes, prefix: str = "gridpp", **local: Any) -> pipe.Pipe:
    return pipe.expand(pipe.parse(data, "test"), prefix, local)


def test_each_machinetype_of_a_pipe_has_the_prefix_and_our_keys() -> None:
    found = expand(vac3(PROD, DEV))
    assert found.cache_seconds == 1800
    assert list(found.machinetypes) == ["gridpp-prod", "gridpp-dev"]
    assert found.machinetypes["gridpp-prod"] == {
        "kind": "cernvm",
        "image": "https://vo.example/cernvm4.iso",
        "user_data": "https://vo.example/user_data",
        "image_signing_dn": "/CN=cvm-sign01\\.cern\\.ch$",
        "user_data_options": {"queue": "q1"},
        "user_data_files": {"hostkey": "gridpp/hostkey.pem"},
        "heartbeat_file": "vm-heartbeat",
        "backoff_seconds": 600,
        "fizzle_seconds": 900,
        "max_wallclock_seconds": 172800,
        "heartbeat_seconds": 600,
        "processors": 2,
        "memory_mb": 4096,
        "disk_gb_per_processor": 40,
        "cvmfs_cache_gb": 75,
        "scratch_gb": 0,
        "accounting_group": "group_gridpp",
        "accounting_fqan": "/gridpp/Role=NULL/Capability=NULL",
        "pipe_urls": {"image": "", "user_data": ""},
    }
    assert found.machinetypes["gridpp-dev"]["user_data"] == "gridpp/dev.user_data"


def test_the_flat_format_is_one_machinetype_of_the_prefixs_name() -> None:
    flat = {key: value for key, value in PROD.items() if key != "suffix"}
    found = expand(json.dumps({**flat, "cache_seconds": 120}).encode(), "atlas")
    assert list(found.machinetypes) == ["atlas"]
    assert found.machinetypes["atlas"]["fizzle_seconds"] == 900
    assert found.cache_seconds == 120


def test_the_sites_settings_win_key_by_key() -> None:
    found = expand(
        vac3(PROD), memory_mb=8000, accounting_group="group_mine", user_data_options={"proxy": "p", "queue": "mine"}
    )
    keys = found.machinetypes["gridpp-prod"]
    assert (keys["memory_mb"], keys["accounting_group"]) == (8000, "group_mine")
    assert keys["user_data_options"] == {"queue": "mine", "proxy": "p"}


@pytest.mark.parametrize(
    ("shares", "expected"),
    [((3, "1"), [6.0, 2.0]), ((0, 0), [0.0, 0.0]), (("x", 2), [0.0, 8.0]), ((-1, 1e300), [0.0, 0.0])],
)
def test_shares_count_within_the_pipe(shares: tuple[Any, Any], expected: list[float]) -> None:
    found = expand(vac3({**PROD, "target_share": shares[0]}, {**DEV, "target_share": shares[1]}), target_share=8)
    assert [keys["target_share"] for keys in found.machinetypes.values()] == expected
    for name, keys in found.machinetypes.items():
        # A share of 0 is off, and said to be.
        assert ("max_machines" in keys) is (keys["target_share"] == 0)
        assert keys.get("max_machines", 0) == 0
        assert any(note.startswith(f"{name}: target_share: 0 or none") for note in found.notes) is (
            keys["target_share"] == 0
        )
    assert all("target_share" not in keys for keys in expand(vac3(PROD)).machinetypes.values())


@pytest.mark.parametrize(
    ("offers", "site", "off"),
    [
        ([{"target_share": 0}, {"target_share": 1}], {}, [True, False]),
        ([{}, {"target_share": 1}], {}, [True, False]),
        ([{"target_share": 0}, {}], {}, [True, False]),
        ([{}, {}], {}, [False, False]),
        ([{}, {}], {"target_share": 3}, [True, True]),
        ([{"target_share": 1}, {"target_share": 1}], {"target_share": 0}, [True, True]),
        ([{"target_share": 1}, {}], {"target_share": 2, "max_machines": 5, "max_idle": 3}, [False, True]),
    ],
)
def test_a_share_of_0_or_none_means_no_vm(offers: list[dict[str, Any]], site: dict[str, Any], off: list[bool]) -> None:
    bare = [{key: value for key, value in offer.items() if key != "target_share"} for offer in (PROD, DEV)]
    found = expand(vac3(*({**one, **offer} for one, offer in zip(bare, offers))), **site)
    assert [keys.get("max_machines") == 0 for keys in found.machinetypes.values()] == off
    assert not found.left_out


@pytest.mark.parametrize(
    ("of_pipe", "local", "section", "expected"),
    [
        (0, {}, {"target_share": 2.0}, (2.0, None)),
        (0, {"max_machines": 4}, {"target_share": 2.0}, (2.0, 4)),
        (0, {"max_machines": 0}, {"target_share": 2.0}, (2.0, None)),
        (0, {"max_machines": 4}, {"target_share": 2.0, "max_machines": 7}, (2.0, 7)),
        (1, {"max_machines": 4}, {"target_share": 0}, (0, 0)),
        (1, {"max_machines": 4}, {"target_share": None}, (None, 4)),
        (0, {"max_machines": 4}, {}, (0, 0)),
    ],
)
def test_the_sites_word_on_one_machinetype_switches_it_on_and_off(
    of_pipe: float, local: dict[str, Any], section: dict[str, Any], expected: tuple[float | None, int | None]
) -> None:
    offers = pipe.parse(vac3({**PROD, "target_share": of_pipe}, DEV), "test")
    found = pipe.expand(offers, "gridpp", {"target_share": 1, **local}, {"gridpp-prod": section})
    keys = found.machinetypes["gridpp-prod"]
    assert (keys.get("target_share"), keys.get("max_machines")) == expected


@pytest.mark.parametrize(
    ("change", "key", "why"),
    [
        ({"owner": "root"}, "owner", "a pipe cannot set it"),
        ({"submit_file": "/etc/passwd"}, "submit_file", "a pipe cannot set it"),
        ({"vacuum_pipe_url": "https://x/"}, "vacuum_pipe_url", "a pipe cannot set it"),
        ({"user_data": "/etc/passwd"}, "user_data", "must be an https URL, or a file name"),
        ({"user_data": "../../etc/passwd"}, "user_data", "not the name of a file"),
        ({"user_data": "x/../../etc/passwd"}, "user_data", "must have no .."),
        ({"user_data": "file:///etc/passwd"}, "user_data", "must be an https URL"),
        ({"root_image": "/dev/sda"}, "root_image", "must be an https URL"),
        ({"root_image": "https://vo.example/../../x"}, "root_image", "must have no .."),
        ({"root_image": "docker://x/y"}, "root_image", "must be an https URL"),
        ({"user_data_file_k": "/etc/shadow"}, "user_data_file_k", "must be a file name without /"),
        ({"user_data_file_k": "../x"}, "user_data_file_k", "not the name of a file"),
        ({"user_data_file_k": ".ssh"}, "user_data_file_k", "not the name of a file"),
        ({"heartbeat_file": "a/b"}, "heartbeat_file", "must be a file name without /"),
        ({"user_data": "a\nb"}, "user_data", "not the name of a file"),
        ({"user_data_option_x": {"a": 1}}, "user_data_option_x", "neither text nor a number"),
        ({"user_data_option_x": "y" * 70000}, "user_data_option_x", "neither text nor a number"),
        ({"backoff_seconds": "soon"}, "backoff_seconds", "is not a whole number"),
        ({"\x1b[2Jx": 1}, "\\x1b[2Jx", "a pipe cannot set it"),
    ],
)
def test_what_a_pipe_may_not_set_is_ignored_and_reported(change: dict[str, Any], key: str, why: str) -> None:
    offer = {name: value for name, value in PROD.items() if name not in change}
    found = expand(vac3({**offer, **change}))
    recorded = [note for note in found.notes if note.startswith(f"gridpp-prod: {key}: ")]
    assert len(recorded) == 1
    assert why in recorded[0]
    assert recorded[0].isprintable()
    if "gridpp-prod" in found.machinetypes:
        assert set(found.machinetypes["gridpp-prod"]) <= set(expand(vac3(PROD)).machinetypes["gridpp-prod"])
    else:
        # Without a template or an image it could not be deployed.
        assert found.left_out == {"gridpp-prod": f"{'user_data' if key == 'user_data' else 'image'}: missing; add it"}
        assert key in {"user_data", "root_image"}
    assert "passwd" not in json.dumps(found.machinetypes)


@pytest.mark.parametrize("suffix", ["../x", "A", "", None, 5.5, True, -0.0, "a" * 70, "a.b", ["x"]])
def test_a_machinetype_without_a_name_is_left_out(suffix: Any) -> None:
    found = expand(vac3({**PROD, "suffix": suffix}, DEV))
    assert list(found.machinetypes) == ["gridpp-dev"]
    assert "no name" in found.notes[0]


@pytest.mark.parametrize(("suffix", "name"), [(5, "gridpp-5"), (0, "gridpp-0"), ("8-core", "gridpp-8-core")])
def test_a_suffix_may_be_a_number(suffix: Any, name: str) -> None:
    assert list(expand(vac3({**PROD, "suffix": suffix})).machinetypes) == [name]


def test_names_are_given_once() -> None:
    found = expand(vac3(PROD, {**PROD, "backoff_seconds": 1}))
    assert found.machinetypes["gridpp-prod"]["backoff_seconds"] == 600
    assert "second machinetype" in " ".join(found.notes)


@pytest.mark.parametrize("entry", [3, None, "x", [], [DEV]])
def test_an_entry_that_is_no_object_costs_only_itself(entry: Any) -> None:
    found = pipe.expand(pipe.parse(json.dumps({"machinetypes": [entry, DEV]}).encode(), "test"), "gridpp", {})
    assert list(found.machinetypes) == ["gridpp-dev"]
    assert found.ignored == ["a machinetype that is no JSON object is left out"]


@pytest.mark.parametrize(
    ("entry", "local"),
    [
        ({"max_processors": 1024}, {"memory_mb_per_processor": 20000}),
        ({"max_processors": 1024}, {"disk_gb_per_processor": 2000}),
        ({"max_processors": 5000}, {"memory_mb_per_processor": 3000}),
        ({"user_data_file_a": "x", "heartbeat_file": "shutdown_message"}, {"max_machines": 3}),
    ],
)
def test_an_entry_is_not_the_sites_fault(entry: dict[str, Any], local: dict[str, Any]) -> None:
    found = expand(vac3({**PROD, **entry}, DEV), **local)
    assert (list(found.machinetypes), list(found.left_out)) == (["gridpp-dev"], ["gridpp-prod"])


@pytest.mark.parametrize(
    "local", [{"max_machine": 3}, {"max_machines": 3, "max_idle": 4}, {"defaults": {"memory_mb": 1}}, {"vnc": "maybe"}]
)
def test_a_setting_that_no_machinetype_can_have_is_the_sites_fault(local: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="it is one of the site's own settings"):
        expand(vac3({**PROD, "backoff_seconds": 600}, DEV), **local)


def test_settings_may_be_a_pipes_entry_of_the_inventory() -> None:
    assert expand(vac3(DEV), url="https://vo.example/p", last_good_seconds=60).left_out == {}


def test_a_file_of_the_site_that_is_needed_is_noted() -> None:
    notes = expand(vac3(PROD, DEV), files="gpp").notes
    assert "gridpp-prod: user_data_files.hostkey: needs the site's file gpp/hostkey.pem" in notes
    assert "gridpp-dev: user_data: needs the site's file gpp/dev.user_data" in notes


@pytest.mark.parametrize("model", ["docker", "singularity", "cernvm9", ""])
def test_what_is_not_a_vm_is_left_out(model: str) -> None:
    found = expand(vac3({**PROD, "machine_model": model}, DEV))
    assert list(found.machinetypes) == ["gridpp-dev"]
    assert list(found.left_out) == ["gridpp-prod"]
    assert "machinetype is left out" in " ".join(found.notes)


def test_http_becomes_https() -> None:
    found = expand(vac3({**PROD, "user_data": "http://vo.example/u"}))
    assert found.machinetypes["gridpp-prod"]["user_data"] == "https://vo.example/u"
    assert "using https instead" in " ".join(found.notes)


@pytest.mark.parametrize("seconds", [-5, 0, "x", None, 1e9, {}])
def test_cache_seconds_are_bounded(seconds: Any) -> None:
    assert 60 <= expand(vac3(PROD, cache_seconds=seconds)).cache_seconds <= 7 * 86400


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"[]",
        b"3",
        b"{}",
        b'{"machinetypes": {}}',
        b'{"machinetypes": []}',
        b'{"machinetypes": [3]}',
        b'{"machinetypes": null}',
        b'{"x": 1}',
        b'{"machinetypes": [' + b",".join([b"{}"] * 65) + b"]}",
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_not_a_pipe_is_refused(data: bytes) -> None:
    with pytest.raises(VacError):
        pipe.parse(data, "test")


@pytest.mark.parametrize("prefix", ["", "A", "../x", "a" * 65, "a b"])
def test_a_prefix_is_a_name(prefix: str) -> None:
    with pytest.raises(UsageError, match="prefix"):
        expand(vac3(PROD), prefix)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(pipe.ACCEPTED)) | st.text(), inner),
    )
)
def test_no_pipe_breaks_the_reader(value: Any) -> None:
    try:
        found = expand(json.dumps({"machinetypes": [value], "cache_seconds": value}).encode())
    except VacError:
        return
    assert all(note.isprintable() for note in found.notes)


HOSTILE: dict[str, Route] = {
    "404": reply(b"", "404 Not Found"),
    "500": reply(b"", "500 Oops"),
    "loop": redirect("/pipe"),
    "file": redirect("file:///etc/passwd"),
    "bomb": reply(gzip.compress(b" " * 20_000_000), Content_Encoding="gzip"),
    "huge": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n{"),
    "html": reply(b"<html>maintenance</html>"),
    "cut": raw(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"machinetypes": [{'),
    "other": reply(b'{"machinetypes": "none"}'),
}


@pytest.mark.parametrize("fault", sorted(HOSTILE))
def test_a_server_that_fails_leaves_the_last_good_copy(web: WebServer, tmp_path: Path, fault: str) -> None:
    cache = str(tmp_path / "gridpp.pipe")
    web.routes["/pipe"] = reply(vac3(PROD, cache_seconds=60))
    good = pipe.read(f"{web.url}/pipe", "gridpp", {}, cache)
    assert (good.age, good.problem) == (0.0, None)
    web.routes["/pipe"] = reply(vac3(DEV))
    assert list(pipe.read(f"{web.url}/pipe", "gridpp", {}, cache).machinetypes) == ["gridpp-prod"], "it is fresh"
    origin = json.loads(Path(cache + ".origin").read_text())
    Path(cache + ".origin").write_text(json.dumps({**origin, "checked": origin["checked"] - 100}))
    web.routes["/pipe"] = HOSTILE[fault]
    later = pipe.read(f"{web.url}/pipe", "gridpp", {}, cache)
    assert later.machinetypes == good.machinetypes
    assert later.problem is not None
    assert later.age is not None
    assert later.age >= 100
    with pytest.raises(VacError):
        pipe.read(f"{web.url}/pipe", "gridpp", {}, cache, keep_seconds=10)
    with pytest.raises(VacError):
        pipe.read(f"{web.url}/pipe", "gridpp", {})


def test_a_slow_server_is_left(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "LIMITS", Limits(bytes=1000, seconds=0.3))
    web.routes["/pipe"] = web.drip(b"HTTP/1.1 200 OK\r\n\r\n{")
    with pytest.raises(VacError, match="not complete within"):
        pipe.read(f"{web.url}/pipe", "gridpp", {})


def test_the_command_shows_what_the_site_would_get(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, local = tmp_path / "p.json", tmp_path / "local.json"
    source.write_bytes(vac3(PROD, {**DEV, "owner": "root"}))
    local.write_text('{"memory_mb": 1234}')
    assert dispatch.main(["pipe", str(source), "--prefix", "vo", "--local", str(local), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["machinetypes"]["vo-prod"]["memory_mb"] == 1234
    assert any(note.startswith("vo-dev: owner: ignored") for note in shown["notes"])
    assert dispatch.main(["pipe", str(source), "--prefix", "vo"]) == 0
    assert "2 machinetypes; to be read again after 1800 s" in capsys.readouterr().out
    assert dispatch.main(["pipe", "http://example.org/pipe"]) == 2
    assert dispatch.main(["pipe", str(source), "--local", str(source) + "x"]) == 2
