# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged ads of our own jobs, one by one beside good ones: at the prepare hook, and at the XML script.

A damaged ad is refused with a verdict and a reason and leaves nothing; the good job beside it gets its VM.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from condor_vac.worker.lease.store import Lease
from condor_vac.worker.programs import prepare_hook
from tests.unit import damage
from tests.unit.condor_vac.worker.vm.domain import AD, described

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow

READ = sorted({line.split(" = ")[0] for line in AD.splitlines()} - {"Cmd", "RequiresVac"})
# What stands in the place of a value; the last four are of no ClassAd.
VALUES = {
    "nothing": "",
    "a number": "-1",
    "a large number": "1" * 400,
    "a real": "1e300",
    "a truth": "maybe",
    "a text": '"\x1b[31m\u202e"',
    "a long text": '"' + "x" * 100_000 + '"',
    "a half character": 'substr("\u00e9", 0, 1)',
    "a list": "{1, {2}}",
    "an ad": "[a = [b = 1]]",
    "a reference": "TARGET.Memory",
    "a circle": "Owner",
    "deep nesting": "(" * 100_000,
    "an open text": '"x',
    "another encoding": "\udcff\udcfe",
    "a null byte": "\0",
}


def changed(name: str, value: str) -> bytes:
    """The ad with another value of one attribute; a value may hold bytes that are no text."""
    lines = [f"{name} = {value}" if line.startswith(f"{name} = ") else line for line in AD.splitlines()]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def verdict(data: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[int, dict[str, str]]:
    """The prepare hook's exit code and what it prints, for an ad; a good one is not prepared."""
    monkeypatch.setattr(prepare_hook, "prepare", lambda job, *_: job)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = prepare_hook.main()
    return code, dict(line.split(" = ", 1) for line in out.getvalue().splitlines())


def held(code: int, printed: dict[str, str]) -> str:
    """The reason with which the job is held."""
    assert (code, sorted(printed), printed["HookStatusCode"]) == (1, ["HookStatusCode", "HookStatusMessage"], "2")
    reason = json.loads(printed["HookStatusMessage"])
    assert reason.isprintable()
    return str(reason)


@pytest.mark.parametrize("kind", VALUES)
def test_a_wrong_value_of_each_attribute_is_refused_by_both_programs(
    lease: Lease, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    for name in READ:
        data = changed(name, VALUES[kind])
        if name == "JobUniverse":
            # A number of another universe, or none: not a VM for the hook.
            code, printed = verdict(data, monkeypatch)
            assert (code, printed) == (0, {}) or held(code, printed)
            continue
        reason = held(*verdict(data, monkeypatch))
        assert f"job ad: {name}: " in reason or "is not one attribute" in reason, (name, reason)
        root = ET.fromstring(described(data, monkeypatch, capsys))
        assert root.findtext("name") == "condor_vac-refused", (name, kind)
        assert verdict(AD.encode(), monkeypatch)[0] == 0
    root = ET.fromstring(described(AD.encode(), monkeypatch, capsys))
    assert root.findtext("name") == lease.domain


@pytest.mark.parametrize(
    "kind", [name for name in damage.MADE if name not in {"a directory", "a dangling link", "a link to itself"}]
)
def test_a_damaged_ad_is_refused_whole(
    lease: Lease, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str
) -> None:
    """Ads come by a pipe: what a file can be besides its contents, they cannot."""
    path = tmp_path / "ad"
    path.write_text(AD)
    damage.MADE[kind](path)
    with path.open("rb") as stream:
        data = stream.read((1 << 20) + 1)
    root = ET.fromstring(described(data, monkeypatch, capsys))
    if kind == "from the future":
        assert root.findtext("name") == lease.domain
        return
    assert root.findtext("name") == "condor_vac-refused"
    code, printed = verdict(data, monkeypatch)
    # Without a universe that can be read it is nobody's.
    assert (code, printed) == (0, {}) or held(code, printed)


NAMES = st.sampled_from([*READ, "VM_WORKING_DIR", "VMPARAM_VM_NAME", "VacSpace", "PublicKey", "JobVM_VCPUS", "X"])
EXPRESSION = st.one_of(
    st.integers().map(str),
    st.sampled_from(list(VALUES.values())),
    st.text(max_size=40),
    st.text(max_size=40).map('"{}"'.format),
    st.recursive(
        st.sampled_from(["A", '"x"', "1"]), lambda inner: st.tuples(inner, inner).map("strcat({0[0]}, {0[1]})".format)
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(NAMES, EXPRESSION), max_size=6), st.integers(0, 20), st.binary(max_size=20))
def test_whatever_the_ad_there_is_one_verdict(
    monkeypatch: pytest.MonkeyPatch, more: list[tuple[str, str]], place: int, rubbish: bytes
) -> None:
    lines = AD.splitlines()
    lines[place:place] = [f"{name} = {value}" for name, value in more]
    data = "\n".join(lines).encode("utf-8", "surrogateescape") + rubbish
    code, printed = verdict(data, monkeypatch)
    assert (code, sorted(printed)) in [(0, []), (0, ["VMPARAM_vm_Disk"])] or held(code, printed)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(NAMES, EXPRESSION), max_size=6), st.binary(max_size=20))
def test_whatever_the_ad_there_is_one_line_of_xml(
    lease: Lease,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[tuple[str, str]],
    rubbish: bytes,
) -> None:
    text = AD + "".join(f"{name} = {value}\n" for name, value in more)
    root = ET.fromstring(described(text.encode("utf-8", "surrogateescape") + rubbish, monkeypatch, capsys))
    assert root.findtext("name") in {"condor_vac-refused", lease.domain}


@pytest.mark.parametrize("error", [RecursionError("deep"), ValueError("a\nb"), KeyError("x"), UnicodeError("no")])
def test_an_error_that_nobody_thought_of_holds_the_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    code = _prepared(monkeypatch, fail)
    printed = dict(line.split(" = ", 1) for line in capsys.readouterr().out.splitlines())
    assert f"vac_prepare_hook: {type(error).__name__}: " in held(code, printed)


def test_a_node_without_memory_gives_the_job_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    assert _prepared(monkeypatch, fail) == 1
    assert "HookStatusCode = 300" in capsys.readouterr().out


def _prepared(monkeypatch: pytest.MonkeyPatch, work: Callable[..., Any]) -> int:
    monkeypatch.setattr(prepare_hook, "prepare", work)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(AD.encode())))
    return prepare_hook.main()
