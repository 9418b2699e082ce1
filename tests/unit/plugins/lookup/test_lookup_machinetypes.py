# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup machinetypes: pipes and inventory together, and never fewer machinetypes than there should be."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleLookupError
from ansible_collections.vacuum.htcondor.plugins.lookup import machinetypes

from tests.unit.forward_proxy import forward_proxy
from tests.unit.webserver import reply, web_server

OFFER = {
    "suffix": "prod",
    "root_image": "https://vo.example/i.iso",
    "user_data": "https://vo.example/u",
    "backoff_seconds": 900,
    "target_share": 1,
    "user_data_option_queue": "q",
}
PIPE = json.dumps({"machinetypes": [OFFER]}).encode()


def look(tmp_path: Path, pipes: Any, **options: Any) -> dict[str, dict[str, Any]]:
    (found,) = machinetypes.LookupModule().run([pipes], {}, cache=str(tmp_path / "cache"), **options)
    return dict(found)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(machinetypes.display, "warning", found.append)
    return found


def test_without_pipes_the_inventory_is_what_there_is(tmp_path: Path) -> None:
    own = {"atlas": {"image": "a.iso"}}
    assert look(tmp_path, {}, machinetypes=own) == own


def test_the_inventory_wins_over_the_pipes_settings_and_these_over_the_pipe(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(PIPE)
    pipes = {"vo": {"url": str(tmp_path / "p"), "target_share": 3, "backoff_seconds": 1200, "max_machines": 4}}
    own = {"vo-prod": {"max_machines": 9, "user_data_options": {"proxy": "p"}}, "atlas": {"image": "a.iso"}}
    found = look(tmp_path, pipes, machinetypes=own)
    assert list(found) == ["vo-prod", "atlas"]
    keys = found["vo-prod"]
    assert (keys["backoff_seconds"], keys["max_machines"], keys["target_share"]) == (1200, 9, 3.0)
    assert keys["user_data_options"] == {"queue": "q", "proxy": "p"}


def test_a_pipe_that_cannot_be_read_never_looks_like_one_that_is_empty(tmp_path: Path) -> None:
    with web_server() as web:
        pipes = {"vo": {"url": f"{web.url}/p"}}
        with pytest.raises(AnsibleLookupError, match=r"vacuum_pipes\.vo: .*404"):
            look(tmp_path, pipes)
        with pytest.raises(AnsibleLookupError, match=r"vacuum_pipes\.vo: .*404"):
            look(tmp_path, pipes, unread="fail")
        web.routes["/p"] = reply(PIPE)
        assert list(look(tmp_path, pipes)) == ["vo-prod"]
    assert list(look(tmp_path, pipes)) == ["vo-prod"], "the copy"


@pytest.mark.parametrize(
    ("pipes", "message"),
    [
        ([], "must be a mapping"),
        ({"vo": {}}, "vacuum_pipes.vo.url: missing"),
        ({"vo": "https://x"}, "vacuum_pipes.vo.url: missing"),
        ({"../vo": {"url": "FILE"}}, "prefix '../vo'"),
        ({"vo": {"url": "http://vo.example/p"}}, "use https"),
    ],
)
def test_what_is_not_a_pipe_is_named(tmp_path: Path, pipes: Any, message: str) -> None:
    (tmp_path / "p").write_bytes(PIPE)
    text = json.dumps(pipes).replace("FILE", str(tmp_path / "p"))
    with pytest.raises(AnsibleLookupError) as caught:
        look(tmp_path, json.loads(text))
    assert message in str(caught.value)


def test_of_two_pipes_with_one_name_the_first_has_it(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "p").write_bytes(PIPE)
    (tmp_path / "q").write_bytes(json.dumps({key: value for key, value in OFFER.items() if key != "suffix"}).encode())
    pipes = {"vo": {"url": str(tmp_path / "p")}, "vo-prod": {"url": str(tmp_path / "q")}}
    assert look(tmp_path, pipes) == look(tmp_path, {"vo": pipes["vo"]})
    assert warnings == ["vacuum_pipes.vo-prod: vo-prod is left out: another pipe has it already"]


@pytest.mark.parametrize("own", ["atlas", ["atlas"], 3])
def test_machinetypes_that_are_not_a_mapping_are_named(tmp_path: Path, own: object) -> None:
    with pytest.raises(AnsibleLookupError, match="vacuum_machinetypes: must be a mapping"):
        look(tmp_path, {}, machinetypes=own)


def test_a_setting_of_the_site_that_is_wrong_stops_the_play_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(PIPE)
    wrong: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"max_machine": 3}, {}, r"vacuum_pipes\.vo\.max_machine: unknown key"),
        ({"memory_mb": "lots"}, {}, r"vacuum_pipes\.vo\.memory_mb: "),
        ({"defaults": {"memory": 1}}, {}, r"vacuum_pipes\.vo\.defaults\.memory: unknown key"),
        ({"defaults": [1]}, {}, r"vacuum_pipes\.vo\.defaults: must be a mapping"),
        ({}, {"vo-prod": {"max_machine": 3}}, r"vacuum_machinetypes\.vo-prod\.max_machine: unknown key"),
        (
            {"max_machines": 3, "max_idle": 5},
            {},
            r"vo-prod: max_idle: 5 is above max_machines 3.*the site's own settings",
        ),
        ({}, {"vo-prod": {"memory_mb": 1}}, r"vo-prod: memory_mb: must be.*the site's own settings"),
    ]
    for of_pipe, own, message in wrong:
        with pytest.raises(AnsibleLookupError, match=message):
            look(tmp_path, {"vo": {"url": str(tmp_path / "p"), **of_pipe}}, machinetypes=own)


def test_values_of_templates_get_their_type(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(PIPE)
    pipe = {"url": str(tmp_path / "p"), "max_machines": "7", "vnc": "yes", "memory_mb_per_processor": "3000"}
    keys = look(tmp_path, {"vo": pipe}, machinetypes={"vo-prod": {"processors": "8"}})["vo-prod"]
    assert (keys["max_machines"], keys["vnc"], keys["processors"], keys["memory_mb"]) == (7, True, 8, 24000)


def test_a_change_of_a_machinetype_that_no_pipe_has_is_left_out(tmp_path: Path, warnings: list[str]) -> None:
    (tmp_path / "p").write_bytes(PIPE)
    own = {"vo-gone": {"max_machines": 4}, "vo-own": {"kind": "cernvm", "image": "i.iso", "user_data": "u"}}
    assert list(look(tmp_path, {"vo": {"url": str(tmp_path / "p")}}, machinetypes=own)) == ["vo-prod", "vo-own"]
    assert warnings == ["vacuum_machinetypes.vo-gone: changes a machinetype that no pipe offers now; left out"]


def test_null_takes_what_a_pipe_sets_away(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(PIPE)
    keys = look(tmp_path, {"vo": {"url": str(tmp_path / "p")}}, machinetypes={"vo-prod": {"backoff_seconds": None}})
    assert "backoff_seconds" not in keys["vo-prod"]


def test_a_file_that_only_the_pipe_names_has_to_be_there(tmp_path: Path, warnings: list[str]) -> None:
    offers = [{**OFFER, "user_data_file_key": "key.pem"}, {**OFFER, "suffix": "dev"}]
    (tmp_path / "p").write_text(json.dumps({"machinetypes": offers}))
    pipes = {"vo": {"url": str(tmp_path / "p"), "files": str(tmp_path / "files")}}
    assert list(look(tmp_path, pipes)) == ["vo-dev"]
    assert warnings[0].startswith("vacuum_pipes.vo: vo-prod is left out: user_data_files.key: no file")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "key.pem").write_text("k")
    assert sorted(look(tmp_path, pipes)) == ["vo-dev", "vo-prod"]


def test_pipes_are_read_through_the_sites_proxy(tmp_path: Path) -> None:
    with web_server() as web, forward_proxy(user="vac:sesame") as proxy:
        web.routes["/p"] = reply(PIPE)
        pipes = {"vo": {"url": f"{web.url}/p"}}
        variables: dict[str, Any] = {"vacuum_http_proxy": proxy.with_user("vac:sesame")}
        lookup = machinetypes.LookupModule()
        lookup.run([pipes], variables, cache=str(tmp_path / "a"))
        assert proxy.requests == [f"GET {web.url}/p HTTP/1.1"]
        lookup.run([pipes], {**variables, "vacuum_no_proxy": ["127.0.0.1"]}, cache=str(tmp_path / "b"))
        lookup.run([pipes], variables, cache=str(tmp_path / "c"), http_proxy="")
        assert (len(proxy.requests), len(web.requests)) == (1, 3)
        with pytest.raises(AnsibleLookupError, match=r"vacuum_pipes\.vo: .*407") as caught:
            lookup.run([pipes], {"vacuum_http_proxy": proxy.with_user("vac:sesam")}, cache=str(tmp_path / "d"))
        assert "\n" not in str(caught.value)


def test_a_template_of_the_inventory_is_resolved(tmp_path: Path) -> None:
    templar = SimpleNamespace(template=lambda value: "http://sesame@squid" if value == "{{ proxy }}" else value)
    lookup = machinetypes.LookupModule(templar=templar)
    with pytest.raises(AnsibleLookupError, match=r"^vacuum_http_proxy: '\.\.\.@squid': must be http://"):
        lookup.run([{"vo": {}}], {"vacuum_http_proxy": "{{ proxy }}"}, cache=str(tmp_path))


def test_wrong_exceptions_are_named(tmp_path: Path) -> None:
    with pytest.raises(AnsibleLookupError, match=r"^vacuum_no_proxy: 'a/b': must be"):
        machinetypes.LookupModule().run([{"vo": {}}], {"vacuum_no_proxy": ["a/b"]}, cache=str(tmp_path))
    assert machinetypes.LookupModule().run([{}], {"vacuum_no_proxy": ["a/b"]}) == [{}], "nothing is fetched"
