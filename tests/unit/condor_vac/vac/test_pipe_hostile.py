# SPDX-License-Identifier: GPL-3.0-or-later
"""Pipes that are damaged, huge or hostile: one entry costs itself, and what a pipe wrote is printed as plain lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base import json_text
from condor_vac.base.errors import UsageError, VacError
from condor_vac.cli import dispatch
from condor_vac.vac import pipe
from tests.unit.damage import MADE, UNREADABLE, unreadable, wrong_types
from tests.unit.webserver import redirect, reply, web_server

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow

GOOD: dict[str, Any] = {
    "suffix": "good",
    "user_data": "https://vo.example/u",
    "root_image": "https://vo.example/i.iso",
    "target_share": 1,
    "user_data_option_queue": "q",
}
ESCAPE = "\x1b]0;owned\x07\x1b[2J\r\n\x9b31m"


def document(*offers: Any) -> bytes:
    return json.dumps({"machinetypes": list(offers)}).encode()


def read(data: bytes, **local: Any) -> pipe.Pipe:
    return pipe.expand(pipe.parse(data, "test"), "vo", local)


def raw_entry(text: str) -> bytes:
    """A pipe whose second entry has this text for a value."""
    return document(GOOD, {**GOOD, "suffix": "bad", "fizzle_seconds": "HERE"}).replace(b'"HERE"', text.encode())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9" * 5000, "fizzle_seconds: not converted: 'inf' is not a whole number"),
        ("-" + "9" * 400, "fizzle_seconds: not converted"),
        ("1e999", "fizzle_seconds: not converted"),
        ("NaN", "fizzle_seconds: not converted"),
        ("[" * 45 + "]" * 45, "fizzle_seconds: ignored: neither text nor a number"),
        ('"\\ud800"', "fizzle_seconds: ignored: neither text nor a number"),
        ('"\\u0000"', "fizzle_seconds: not converted"),
        (f'"{"x" * 100_000}"', "fizzle_seconds: ignored: neither text nor a number"),
    ],
)
def test_a_value_that_is_none_costs_itself(text: str, said: str) -> None:
    found = read(raw_entry(text))
    assert list(found.machinetypes) == ["vo-good", "vo-bad"]
    assert "fizzle_seconds" not in found.machinetypes["vo-bad"]
    assert [sentence for sentence in found.ignored if said in sentence] == found.ignored
    assert len(found.ignored) == 1


@pytest.mark.parametrize(("name", "text"), list(wrong_types({**GOOD, "suffix": "bad"})))
def test_an_entry_with_a_value_of_another_type_costs_itself(name: str, text: str) -> None:
    found = read(document(GOOD, json.loads(text)))
    assert found.machinetypes["vo-good"]["user_data_options"] == {"queue": "q"}
    assert set(found.machinetypes) <= {"vo-good", "vo-bad", "vo--1"}
    if (
        name.partition("=")[0] not in {"target_share", "user_data_option_queue"}
        and len(found.machinetypes) < 2
        and "vo-bad" not in found.machinetypes
    ):
        assert sum("bad" in note or "left out" in note for note in found.notes) >= 1, found.notes
    json.dumps(found.machinetypes).encode("ascii")


def test_what_a_pipe_wrote_is_printed_as_printable_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Keys, values, suffixes: every place at which a pipe has a say, one after the other and all together."""
    hostile = {key: f"{value}{ESCAPE}" for key, value in GOOD.items()}
    extra = {
        "accounting_fqan": f"/vo.x/{ESCAPE}", "machine_model": f"docker{ESCAPE}", "fizzle_seconds": ESCAPE,
        "root_device": ESCAPE, "min_processors": ESCAPE, "user_data_option_x" + ESCAPE: "y", ESCAPE: 1,
    }  # fmt: skip
    offers = [{**GOOD, "suffix": f"n{number}", key: value} for number, (key, value) in enumerate(extra.items())]
    offers += [{**GOOD, "suffix": f"m{number}", key: value} for number, (key, value) in enumerate(hostile.items())]
    (tmp_path / "pipe").write_bytes(document(GOOD, hostile, {**hostile, **extra, "suffix": "all"}, *offers))
    found = pipe.read(str(tmp_path / "pipe"), "vo", {})
    assert "vo-good" in found.machinetypes
    sentences = [*found.notes, *found.ignored, *found.left_out.values()]
    assert len(sentences) > 20
    assert [text for text in sentences if not text.isprintable()] == []
    dispatch.main(["pipe", str(tmp_path / "pipe"), "--prefix", "vo"])
    out, err = capsys.readouterr()
    assert "vo-good:" in out.splitlines()
    assert all(line.isprintable() for line in (out + err).splitlines())
    assert "\x1b" not in out + err


def test_a_servers_words_are_printed_as_printable_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with web_server() as web:
        cache = str(tmp_path / "copy")
        web.routes["/p"] = reply(document(GOOD))
        dispatch.main(["pipe", f"{web.url}/p", "--cache", cache])
        (tmp_path / "copy").touch()
        for route in (reply(b"", f"500 {ESCAPE[:8]}"), redirect("http://x/\x1b[2J"), reply(ESCAPE.encode("latin-1"))):
            web.routes["/p"] = route
            origin = json.loads((tmp_path / "copy.origin").read_text())
            (tmp_path / "copy.origin").write_text(json.dumps({**origin, "checked": origin["checked"] - 7200}))
            assert dispatch.main(["pipe", f"{web.url}/p", "--cache", cache]) == 0
            out, err = capsys.readouterr()
            assert "showing a copy of " in out
            assert all(line.isprintable() for line in (out + err).splitlines())


@pytest.mark.parametrize("options", [300, 20_000])
def test_what_is_said_of_a_pipe_is_bounded(options: int) -> None:
    many = {f"{'long' * 30}{number}": number for number in range(options)}
    found = read(document(*({**many, **GOOD, "suffix": f"s{number}"} for number in range(3)), GOOD))
    assert "vo-good" in found.machinetypes
    assert len(found.notes) <= pipe.MOST_SENTENCES + 1
    assert "more of the kind" in found.notes[-1]
    assert max(map(len, found.notes)) <= pipe.SENTENCE_LIMIT
    assert any("of 3" in note or "of 2" in note for note in found.notes)


@pytest.mark.parametrize("depth", [json_text.DEPTH + 1, 5000, 400_000])
@pytest.mark.parametrize("pattern", ['{"a":', "[", '[{"a":'])
def test_deep_nesting_is_named_in_one_line(depth: int, pattern: str) -> None:
    data = (pattern * depth).encode()
    with pytest.raises(VacError, match=f"^test: not JSON: nests more than {json_text.DEPTH} levels deep; report it"):
        pipe.parse(data[: pipe.LIMITS.bytes], "test")


def test_brackets_in_text_are_no_nesting() -> None:
    found = read(document({**GOOD, "user_data_option_queue": '[{"\\' * 5000}))
    assert found.machinetypes["vo-good"]["user_data_options"]["queue"].startswith('[{"')


INSIDE = ["https://127.0.0.1/x.iso", "https://localhost/x.iso", "https://[::1]/x.iso", "https://10.1.2.3/x.iso",
          "https://169.254.169.254/x.iso", "http://192.168.86.1/x.iso"]  # fmt: skip


@pytest.mark.parametrize("key", ["root_image", "user_data"])
@pytest.mark.parametrize("url", INSIDE)
def test_an_entry_that_names_a_host_inside_the_site_is_left_out_alone(key: str, url: str) -> None:
    found = read(document(GOOD, {**GOOD, "suffix": "bad", key: url}))
    assert list(found.machinetypes) == ["vo-good"]
    ours = "image" if key == "root_image" else key
    assert found.left_out["vo-bad"].startswith(f"{ours}: {url.replace('http:', 'https:')}: ")
    assert "name it in private_hosts of the pipe" in found.left_out["vo-bad"]
    allowed = read(document({**GOOD, "suffix": "bad", key: url}), private_hosts=["localhost", "0.0.0.0/0", "::1"])
    assert allowed.machinetypes["vo-bad"]["pipe_urls"][ours] == "localhost,0.0.0.0/0,::1"


def test_what_the_site_writes_itself_is_free() -> None:
    url = "https://10.1.2.3/x.iso"
    keys = read(document(GOOD), image=url).machinetypes["vo-good"]
    assert (keys["image"], keys["pipe_urls"]) == (url, {"user_data": ""})
    section = {"vo-good": {"user_data": "https://127.0.0.1/u"}}
    found = pipe.expand(pipe.parse(document(GOOD), "test"), "vo", {"image": url}, section)
    assert "pipe_urls" not in found.machinetypes["vo-good"]
    files = read(document({**GOOD, "user_data": "u", "root_image": "i.iso"})).machinetypes["vo-good"]
    assert "pipe_urls" not in files, "files of the site"


def test_a_pipes_own_host_is_the_sites_choice(tmp_path: Path) -> None:
    with web_server() as web:
        offer = {**GOOD, "root_image": f"https://127.0.0.1:{web.port}/i.iso"}
        web.routes["/p"] = reply(
            document(offer, {**offer, "suffix": "bad", "root_image": "https://127.0.0.1:22/i.iso"})
        )
        found = pipe.read(f"{web.url}/p", "vo", {"private_hosts": ["squid.site"]})
        assert found.machinetypes["vo-good"]["pipe_urls"]["image"] == f"squid.site,127.0.0.1:{web.port}"
        assert list(found.left_out) == ["vo-bad"]
    (tmp_path / "p").write_bytes(document(offer))
    assert list(pipe.read(str(tmp_path / "p"), "vo", {}).left_out) == ["vo-good"], "a file has no host"


@pytest.mark.parametrize("wrong", ["http://x/", ["a b/c"], {"a": 1}])
def test_hosts_that_the_site_writes_wrong_are_the_sites_fault(wrong: object) -> None:
    with pytest.raises(UsageError, match="private_hosts: "):
        read(document(GOOD), private_hosts=wrong)


def test_a_pipe_cannot_allow_itself_anything() -> None:
    offer = {**GOOD, "root_image": INSIDE[0], "private_hosts": "*", "pipe_urls": "x"}
    found = read(document(GOOD, {**offer, "suffix": "bad"}))
    assert list(found.left_out) == ["vo-bad"]
    assert [note for note in found.ignored if note.endswith("a pipe cannot set it")] == found.ignored
    assert len(found.ignored) == 2


def damaged(make: Callable[[Path], None], path: Path) -> None:
    path.write_bytes(document(GOOD))
    make(path)


@pytest.mark.parametrize("kind", [*MADE, *UNREADABLE])
def test_a_file_of_any_damage_is_one_line_or_a_pipe(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pipe"
    damaged(MADE.get(kind, lambda _: None), path)
    if kind in UNREADABLE:
        unreadable(monkeypatch, path, kind)
    status = dispatch.main(["pipe", str(path), "--json"])
    out, err = capsys.readouterr()
    if kind == "from the future":
        assert (status, err) == (0, "")
        return
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert str(path) in err
    assert err[:-1].isprintable()
