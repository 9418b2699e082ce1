# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup machinetypes: pipes and inventory together, and never fewer machinetypes than there should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleLookupError
from ansible_collections.vacuum.htcondor.plugins.lookup import machinetypes

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


def test_two_pipes_cannot_offer_one_name(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(PIPE)
    (tmp_path / "q").write_bytes(json.dumps({key: value for key, value in OFFER.items() if key != "suffix"}).encode())
    pipes = {"vo": {"url": str(tmp_path / "p")}, "vo-prod": {"url": str(tmp_path / "q")}}
    with pytest.raises(AnsibleLookupError, match="vo-prod is another pipe's"):
        look(tmp_path, pipes)


@pytest.mark.parametrize("own", ["atlas", ["atlas"], 3])
def test_machinetypes_that_are_not_a_mapping_are_named(tmp_path: Path, own: object) -> None:
    with pytest.raises(AnsibleLookupError, match="vacuum_machinetypes: must be a mapping"):
        look(tmp_path, {}, machinetypes=own)
