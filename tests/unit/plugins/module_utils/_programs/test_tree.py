# SPDX-License-Identifier: GPL-3.0-or-later
"""Program trees as values: the same tree has the same digest and archive everywhere."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import FileError
from ansible_collections.vacuum.htcondor.plugins.module_utils._programs import tree as program_tree
from hypothesis import given
from hypothesis import strategies as st

FILES = {"condor_vac/__init__.py": b"", "condor_vac/programs/exit_hook.py": b"x = 1\n", "condor_vac/a.json": b"{}\n"}
names = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}){0,2}\.py", fullmatch=True)


@given(st.dictionaries(names, st.binary(max_size=200), min_size=1, max_size=8))
def test_pack_and_unpack_agree_whatever_the_order(files: dict[str, bytes]) -> None:
    reverse = dict(reversed(list(files.items())))
    assert program_tree.pack(files) == program_tree.pack(reverse)
    manifest = program_tree.manifest_of(reverse)
    assert program_tree.digest_of(manifest) == program_tree.digest_of(program_tree.manifest_of(files))
    assert program_tree.unpack(program_tree.pack(files), manifest) == files


def test_the_digest_follows_names_and_contents() -> None:
    digests = {
        program_tree.digest_of(program_tree.manifest_of(files))
        for files in (FILES, {**FILES, "condor_vac/a.json": b"[]\n"}, {**FILES, "condor_vac/b.py": b""})
    }
    assert len(digests) == 3


def test_caches_hidden_and_compiled_files_are_not_programs(tmp_path: Path) -> None:
    program_tree.write_files(str(tmp_path), FILES)
    for name in ("condor_vac/__pycache__/a.cpython-311.pyc", "condor_vac/old.pyc", "condor_vac/.swp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert program_tree.read_files(str(tmp_path)) == FILES


def test_a_link_among_the_programs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.py").symlink_to("/etc/shadow")
    with pytest.raises(FileError, match=r"secret\.py is not a regular file"):
        program_tree.read_files(str(tmp_path))


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds no program files"):
        program_tree.read_files(str(tmp_path))


@pytest.mark.parametrize("name", ["../outside.py", "/etc/cron.d/x", "condor_vac/../../x.py"])
def test_an_archive_cannot_name_a_path_outside(name: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(FileError, match="outside its tree"):
        program_tree.unpack(buffer.getvalue(), program_tree.manifest_of({name: b"x"}))


def test_audit_distinguishes_content_extra_and_attributes(tmp_path: Path) -> None:
    program_tree.write_files(str(tmp_path), FILES)
    program_tree.repair_attributes(str(tmp_path), os.geteuid())
    manifest = program_tree.manifest_of(FILES)
    assert not program_tree.audit(str(tmp_path), manifest, os.geteuid())
    (tmp_path / "condor_vac/a.json").unlink()
    (tmp_path / "condor_vac/__init__.py").write_bytes(b"changed")
    (tmp_path / "condor_vac/link.py").symlink_to("programs/exit_hook.py")
    (tmp_path / "condor_vac/programs").chmod(0o777)
    drift = program_tree.audit(str(tmp_path), manifest, os.geteuid())
    assert drift.content == ("condor_vac/__init__.py", "condor_vac/a.json")
    assert drift.extra == ("condor_vac/link.py",)
    assert drift.attributes == ("condor_vac/programs",)
