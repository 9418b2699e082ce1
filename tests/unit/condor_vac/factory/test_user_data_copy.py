# SPDX-License-Identifier: GPL-3.0-or-later
"""The factory's copy of a template that a pipe named: from public hosts, and from those that the site names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import VacError
from condor_vac.factory import user_data_copy
from condor_vac.model.machinetype import Machinetype
from tests.unit.webserver import redirect, reply, web_server


def made(url: str, **keys: Any) -> Machinetype:
    found = {"name": "vo-prod", "kind": "cernvm", "image": "/i/vm.iso", "user_data": url, "owner": "vac", **keys}
    return Machinetype.from_mapping(found, "test")


def test_a_template_of_a_pipe_is_not_fetched_from_inside_the_site(tmp_path: Path) -> None:
    with web_server() as web:
        web.routes["/u"] = reply(b"#!/bin/sh\n")
        web.routes["/away"] = redirect(f"http://127.0.0.2:{web.port}/u")
        for path, hosts in (("/u", ""), ("/u", "10.0.0.0/8"), ("/away", "127.0.0.1")):
            with pytest.raises(VacError, match=r"^user_data: .*not public, and a pipe may name no host"):
                user_data_copy.refresh(made(f"{web.url}{path}", pipe_urls={"user_data": hosts}), str(tmp_path))
        assert [request.split()[1] for request in web.requests] == ["/away"]
        assert list(tmp_path.iterdir()) == []
        for keys in ({}, {"pipe_urls": {"image": ""}}, {"pipe_urls": {"user_data": "127.0.0.1"}}):
            assert user_data_copy.refresh(made(f"{web.url}/u", **keys), str(tmp_path)) == []
        assert (tmp_path / "user_data").read_bytes() == b"#!/bin/sh\n"
