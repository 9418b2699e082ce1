# SPDX-License-Identifier: GPL-3.0-or-later
"""Macros of submit files, by HTCondor's own parser and without it."""

from __future__ import annotations

import importlib.util

import pytest

from condor_vac.base.errors import UsageError
from condor_vac.condor import submit_macros

BINDINGS = importlib.util.find_spec("htcondor2") is not None or importlib.util.find_spec("htcondor") is not None
needs_bindings = pytest.mark.skipif(not BINDINGS, reason="HTCondor's Python bindings are not installed")


@pytest.fixture(params=[pytest.param(True, marks=needs_bindings), False], ids=["htcondor", "alone"], autouse=True)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDOR_CONFIG", "/dev/null")
    if not request.param:
        monkeypatch.setattr(submit_macros, "_by_htcondor", lambda _text: None)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("base = /srv\nvm_disk = $(base)/n.iso:hda\n", "vm_disk", "/srv/n.iso:hda"),
        ("Base = /srv\nvm_disk = $(BASE)/n.iso\n", "vm_disk", "/srv/n.iso"),
        ("a = $(b)1\nb = $(c)2\nc = 3\n", "a", "321"),
        ("vm_memory = $(mem:2000)\n", "vm_memory", "2000"),
        ("mem = 3000\nvm_memory = $(mem:2000)\n", "vm_memory", "3000"),
        ("a = 1\na = 2\nb = $(a)\n", "b", "2"),
        ("rank = $$(Memory)\n", "rank", "$$(Memory)"),
        ("x = $(nowhere)\n", "x", "$(nowhere)"),
        ("a = $(b)\nb = 1\nc = $(nowhere)$(b)\n", "c", "$(nowhere)1"),
        ('+UserData = "ud"\n', "+userdata", '"ud"'),
        ('MY.UserData = "ud"\n', "+userdata", '"ud"'),
    ],
)
def test_macros_are_expanded_as_far_as_the_file_defines_them(text: str, key: str, value: str) -> None:
    assert submit_macros.read("x.sub", f"{text}queue\n").values[key] == value


@pytest.mark.slow
def test_a_macro_that_names_itself_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    # HTCondor's parser does not end; then the macros are expanded without it.
    monkeypatch.setattr(submit_macros, "_TIMEOUT_SECONDS", 2)
    assert "universe" in submit_macros.read("x.sub", "a = $(b)\nb = $(a)\nuniverse = vm\nqueue\n").values


def test_macros_and_commands_of_single_jobs_are_known() -> None:
    read = submit_macros.read(
        "x.sub", "base = /srv\na = $(base)\nb = ud-$(Process)\nc = $(ClusterId)\nd = 1\nqueue 3\n"
    )
    assert read.macros == {"base"}
    assert read.of_a_job == {"b", "c"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("include : /etc/passwd\nqueue\n", ":1: 'include"),
        ("include command : /bin/true\nqueue\n", ":1: 'include"),
        ("use feature : x\nqueue\n", ":1: 'use"),
        ("a = 1\nqueue\nb = 2\nqueue\n", ":3: 'b = 2' follows queue"),
        ("what is this\nqueue\n", ":1: 'what is this'"),
    ],
)
def test_what_is_not_one_job_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"x.sub{message}"):
        submit_macros.read("x.sub", text)


@needs_bindings
def test_htcondors_parser_reads_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("CONDOR_CONFIG", "/dev/null")
    text = "big = true\nif $(big)\n vm_vcpus = 8\nelse\n vm_vcpus = 1\nendif\nqueue\n"
    assert submit_macros.read("x.sub", text).values["vm_vcpus"] == "8"
