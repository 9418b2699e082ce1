# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab machine runs what a zip holds, whether it was compiled now or before."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[2] / "lab/rootfs/usr/lib/python3/dist-packages"
PROGRAM = """
import sys, zipimport
sys.path.insert(0, sys.argv[1])
import lab_modules
lab_modules.CACHE = sys.argv[2]
lab_modules.os.geteuid = lambda: 0
compiled = []
real = lab_modules.compile_source
lab_modules.compile_source = lambda path, source: compiled.append(path) or real(path, source)
sys.path.insert(0, sys.argv[3])
import shared.part
print(shared.part.VALUE, len(compiled))
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "payload.zip"


def pack(archive: Path, text: str) -> None:
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("shared/__init__.py", "")
        stream.writestr("shared/part.py", text)


def run(archive: Path) -> subprocess.CompletedProcess[str]:
    words = [str(PACKAGES), str(archive.parent / "cache"), str(archive)]
    return subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False)


def test_a_source_is_compiled_once_and_another_of_its_name_again(archive: Path) -> None:
    pack(archive, "VALUE = 'one'\n")
    assert run(archive).stdout == "one 2\n"
    assert run(archive).stdout == "one 0\n"
    pack(archive, "VALUE = 'two'\n")
    assert run(archive).stdout == "two 1\n"
    pack(archive, "VALUE = 'one'\n")
    assert run(archive).stdout == "one 0\n"


def test_what_does_not_compile_is_an_error_each_time(archive: Path) -> None:
    pack(archive, "VALUE = = 1\n")
    for _ in range(2):
        assert "SyntaxError" in run(archive).stderr


def test_it_makes_no_start_of_python_longer_by_an_import() -> None:
    program = "import sys; before = set(sys.modules); import lab_modules; print(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(PACKAGES)}
    )
    assert done.stdout.split() == ["lab_modules"]


def test_it_is_loaded_by_every_python_of_a_machine() -> None:
    lines = (PACKAGES / "lab_modules.pth").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["import lab_modules"]
