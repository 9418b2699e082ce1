# SPDX-License-Identifier: GPL-3.0-or-later
"""``libvirt_cernvm_script`` prints one whole line of XML and exits with 0, whatever happens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._programs.entry_points import SETS, EntryPoint
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import XML_SCRIPT

from condor_vac.worker.lease.store import Lease
from condor_vac.worker.programs import xml_script
from condor_vac.worker.vm import domain_xml
from tests.unit.condor_vac.worker.vm.domain import AD, described


def refused(line: str) -> str:
    """The reason in a domain that libvirt cannot create."""
    root = ET.fromstring(line)
    assert root.findtext("name") == "condor_vac-refused"
    reason = root.findtext("os/type")
    assert reason is not None
    return reason.removeprefix("condor_vac: ")


def test_a_good_ad_gives_the_vms_domain(
    lease: Lease, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ET.fromstring(described(AD.encode(), monkeypatch, capsys))
    assert (root.findtext("name"), root.findtext("uuid")) == (lease.domain, lease.uuid)
    assert root.find("devices/interface/filterref") is not None


def _raise(error: BaseException) -> Callable[..., NoReturn]:
    def work(*_: object) -> NoReturn:
        raise error

    return work


ENDS: dict[str, tuple[Callable[..., Any], str]] = {
    "an error nobody thought of": (_raise(KeyError("x")), "KeyError: 'x'; this is an error in condor_vac"),
    "an interrupt": (_raise(KeyboardInterrupt()), "its process ended and gave no answer"),
    "a signal": (lambda *_: os.kill(os.getpid(), signal.SIGKILL), "its process was ended by signal 9"),
    "no memory": (lambda *_: "x" * (2 << 30), "MemoryError"),
    "no end": (lambda *_: time.sleep(600), "not ready within 0.5 s"),
    "two lines": (lambda *_: domain_xml.printed(ET.fromstring("<domain><name>a\nb</name></domain>")), "has a line end"),
}


@pytest.mark.parametrize("kind", ENDS)
def test_whatever_ends_it_the_answer_is_a_refusal(
    lease: Lease, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    work, words = ENDS[kind]
    monkeypatch.setattr(domain_xml, "build", work)
    monkeypatch.setattr(xml_script, "SECONDS", 0.5 if kind == "no end" else 60.0)
    assert words in refused(described(AD.encode(), monkeypatch, capsys))


def test_the_answer_is_ascii_whatever_the_locale(
    lease: Lease, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ad = AD.replace('"user_data"', '"caf\u00e9"')
    line = described(ad.encode(), monkeypatch, capsys)
    assert line.isascii()
    assert "UserData: must be a file name" in refused(line)


@pytest.mark.parametrize("damage", ["no module", "not Python", "an exit", "an error", None])
def test_the_installed_script_answers_when_the_program_cannot_even_start(tmp_path: Path, damage: str | None) -> None:
    module = SETS["worker"][XML_SCRIPT]
    program = tmp_path.joinpath("current", *module.split(".")).with_suffix(".py")
    program.parent.mkdir(parents=True)
    texts = {"not Python": "(", "an error": "1/0", None: "def main():\n    print('<domain/>')\n    return 0\n"}
    if damage != "no module":
        program.write_text(texts.get(damage, "import ctypes_of_nobody"))
    script = tmp_path / "script"
    script.write_text(EntryPoint("script", module).script(sys.executable, str(tmp_path / "current")))
    script.chmod(0o755)
    done = subprocess.run([script], input=AD, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("\n"), done.stdout[-1:]) == (0, 1, "\n")
    if damage is None:
        assert done.stdout == "<domain/>\n"
    else:
        assert refused(done.stdout) == "its programs do not run on this node; condor_vac doctor checks them"
