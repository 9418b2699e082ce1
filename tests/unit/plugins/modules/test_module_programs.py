# SPDX-License-Identifier: GPL-3.0-or-later
"""The module programs: versioned trees, the switch, rollback, repair, and what it refuses."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.module_utils._programs import tree as program_tree
from ansible_collections.vacuum.htcondor.plugins.module_utils._programs.entry_points import DOCUMENTS, SETS
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import LIBVIRT_HOOK
from ansible_collections.vacuum.htcondor.plugins.modules import programs

from tests.unit.plugins.harness import Answer, Plugin, Tools, four_calls, run

LEASE = "/usr/local/libexec/vac_lease"
CLI = "/usr/local/bin/condor_vac"


def package(version: str, **extra: str) -> dict[str, bytes]:
    """A package that has every module an entry point needs; *extra* are further module texts."""
    files = {"condor_vac/__init__.py": f'__version__ = "{version}"\n'}
    for table in SETS.values():
        for module in table.values():
            files[module.replace(".", "/") + ".py"] = f"def main(*words):\n    print({module!r}, words)\n"
    for links in DOCUMENTS.values():
        files.update({f"condor_vac/{source}": f"{source} of {version}\n" for source in links.values()})
    files.update({f"condor_vac/{name}.py": text for name, text in extra.items()})
    return {name: text.encode() for name, text in files.items()}


def arguments(version: str = "1.2.0", archive: bool = True, **extra: str) -> dict[str, Any]:
    """What the action plugin passes on for *version*."""
    files = package(version, **extra)
    program: dict[str, Any] = {"version": version, "manifest": program_tree.manifest_of(files)}
    if archive:
        program["archive"] = base64.b64encode(program_tree.pack(files)).decode()
    return {"program": program, "entry_points": ["worker", "cli"]}


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A root directory to install in, owned by the user that runs the tests."""
    tmp_path.chmod(0o755)
    return tmp_path


def python(argv: list[str], _stdin: str | None) -> Answer:
    """The real interpreter: compiling is what finds a broken program."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def at(node: Path) -> Plugin:
    return Plugin(programs, root=str(node), owner=os.geteuid())


def install(node: Path, version: str = "1.2.0", check: bool = False, **extra: Any) -> dict[str, Any]:
    return run(at(node), arguments(version, **extra), check=check, tools=Tools(python))


def store(node: Path) -> Path:
    return node / "usr/local/lib/condor_vac"


def test_four_calls_install_switch_and_then_change_nothing(node: Path) -> None:
    results = four_calls(at(node), arguments(), Tools(python))
    tree = results[1]["tree"]
    assert tree == f"1.2.0-{results[1]['digest'][:12]}"
    assert os.readlink(store(node) / "current") == tree
    assert set(results[1]["changed_entry_points"]) == {*SETS["worker"], *SETS["cli"]}
    assert not (node / "usr/local/libexec/vac_factory").exists()
    assert results[3]["changed_entry_points"] == []


def test_the_record_of_entry_points_grows_with_each_set_and_survives_damage(node: Path) -> None:
    record = store(node) / "entry_points.json"
    install(node)
    assert set(json.loads(record.read_text())) == {*SETS["worker"], *SETS["cli"]}
    run(at(node), {**arguments(), "entry_points": ["factory"]}, tools=Tools(python))
    table = json.loads(record.read_text())
    assert set(table) == {path for names in SETS.values() for path in names}
    for path, digest in table.items():
        assert hashlib.sha256((node / path[1:]).read_bytes()).hexdigest() == digest
    record.write_text("{")
    assert install(node)["changed"]
    assert set(json.loads(record.read_text())) == {*SETS["worker"], *SETS["cli"]}


def test_man_page_and_completion_are_those_of_the_tree_in_use(node: Path) -> None:
    links = {node / path[1:]: source for path, source in DOCUMENTS["cli"].items()}
    assert {path.name for path in links} == {"condor_vac.8", "condor_vac"}

    def shown() -> set[str]:
        return {path.read_text() for path in links}

    run(at(node), {**arguments("1.0"), "entry_points": ["worker"]}, tools=Tools(python))
    assert not any(path.exists() for path in links)
    install(node, "1.0")
    assert shown() == {f"{source} of 1.0\n" for source in links.values()}
    assert all(path.is_symlink() for path in links)
    install(node, "1.1")
    assert shown() == {f"{source} of 1.1\n" for source in links.values()}
    assert not install(node, "1.1")["changed"]
    run(at(node), {"state": "rollback"}, tools=Tools(python))
    assert shown() == {f"{source} of 1.0\n" for source in links.values()}
    # What another put there, or led elsewhere, is repaired.
    page, script = links
    page.unlink()
    page.write_text("mine")
    script.unlink()
    script.symlink_to("/nowhere")
    results = four_calls(at(node), {"state": "rollback"}, Tools(python))
    assert {entry["after_header"] for entry in results[1]["diff"]} == {str(page), str(script)}
    assert shown() == {f"{source} of 1.0\n" for source in links.values()}
    # doctor takes what the record names for programs.
    assert not set(DOCUMENTS["cli"]) & set(json.loads((store(node) / "entry_points.json").read_text()))


def test_a_tree_of_an_earlier_version_has_no_documents_and_no_links(node: Path) -> None:
    install(node)
    older = package("1.1")
    for source in DOCUMENTS["cli"].values():
        del older[f"condor_vac/{source}"]
    program = {"version": "1.1", "manifest": program_tree.manifest_of(older)}
    program["archive"] = base64.b64encode(program_tree.pack(older)).decode()
    assert run(at(node), {"program": program, "entry_points": ["cli"]}, tools=Tools(python))["changed"]
    assert not any(os.path.lexists(node / path[1:]) for path in DOCUMENTS["cli"])


def test_check_mode_leaves_nothing_behind(node: Path) -> None:
    assert install(node, check=True)["changed"]
    assert list(node.iterdir()) == []


def test_entry_points_run_isolated_and_from_the_resolved_tree(node: Path) -> None:
    install(node)
    path = node / LEASE[1:]
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    (node / "condor_vac.py").write_text("raise SystemExit('the working directory was imported')\n")
    done = subprocess.run(
        [path, "acquire"], cwd=node, env={"PYTHONPATH": str(node)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "condor_vac.worker.programs.lease_helper ()\n"
    command = subprocess.run([node / CLI[1:], "doctor"], capture_output=True, text=True, check=True)
    assert command.stdout == "condor_vac.cli.dispatch (['doctor'],)\n"


def test_without_archive_it_asks_for_one_and_touches_nothing(node: Path) -> None:
    result = run(at(node), arguments(archive=False))
    assert result["archive_needed"]
    assert not result["changed"]
    assert list(node.iterdir()) == []


def test_an_installed_tree_needs_no_archive(node: Path) -> None:
    install(node)
    result = run(at(node), arguments(archive=False))
    assert not result["changed"]
    assert not result["archive_needed"]


def test_a_hook_that_has_another_mode_is_installed_again(node: Path) -> None:
    install(node)
    (node / LIBVIRT_HOOK[1:]).chmod(0o700)
    assert install(node)["changed_entry_points"] == [LIBVIRT_HOOK]


def test_an_upgrade_keeps_the_previous_tree_and_prunes_older_ones(node: Path) -> None:
    first, second = install(node, "1.0")["tree"], install(node, "1.1")["tree"]
    third = install(node, "1.2")
    assert third["previous"] == second
    assert third["pruned"] == [first]
    assert sorted(os.listdir(store(node))) == sorted(
        ["current", "entry_points.json", "previous", second, third["tree"]]
    )
    assert os.readlink(store(node) / "previous") == second


def test_rollback_returns_to_the_previous_tree_and_stays_there(node: Path) -> None:
    old, new = install(node, "1.0")["tree"], install(node, "1.1")["tree"]
    results = four_calls(at(node), {"state": "rollback"}, Tools(python))
    assert results[1]["tree"] == old
    assert results[1]["version"] == "1.0"
    assert os.readlink(store(node) / "current") == old
    assert (store(node) / new).is_dir()
    forward = run(at(node), arguments("1.1", archive=False), tools=Tools(python))
    assert forward["changed"]
    assert os.readlink(store(node) / "current") == new
    assert os.readlink(store(node) / "previous") == old


def test_rollback_without_a_previous_tree_fails_with_a_remedy(node: Path) -> None:
    install(node)
    result = run(at(node), {"state": "rollback"})
    assert result["failed"]
    assert "there is no previous version" in result["msg"]
    assert "state=present" in result["remedy"]


def test_rollback_refuses_a_tree_changed_on_the_node(node: Path) -> None:
    old = install(node, "1.0")["tree"]
    install(node, "1.1")
    (store(node) / old / "condor_vac/worker/programs/lease_helper.py").write_text("evil = True\n")
    result = run(at(node), {"state": "rollback"})
    assert result["failed"]
    assert "condor_vac/worker/programs/lease_helper.py" in result["msg"]


@pytest.mark.parametrize(
    "name",
    ["condor_vac/worker/programs/lease_helper.py", "condor_vac/worker/programs/prepare_hook.py", "manifest.json"],
)
def test_a_file_changed_on_the_node_is_repaired(node: Path, name: str) -> None:
    tree = install(node)["tree"]
    path = store(node) / tree / name
    before = path.read_bytes()
    path.write_bytes(b"# edited\n" + before)
    assert run(at(node), arguments(archive=False))["archive_needed"]
    result = install(node)
    assert result["changed"]
    assert result["repaired"] == [name]
    assert path.read_bytes() == before
    assert not install(node)["changed"]


def test_a_foreign_file_and_a_bad_mode_are_repaired_without_an_archive(node: Path) -> None:
    tree = install(node)["tree"]
    hooks = store(node) / tree / "condor_vac/worker/programs"
    (hooks / "extra.py").write_text("x = 1\n")
    (hooks / "exit_hook.py").chmod(0o666)
    (node / LEASE[1:]).chmod(0o777)
    result = run(at(node), arguments(archive=False), tools=Tools(python))
    assert result["repaired"] == ["condor_vac/worker/programs/exit_hook.py", "condor_vac/worker/programs/extra.py"]
    assert result["changed_entry_points"] == [LEASE]
    assert not (hooks / "extra.py").exists()
    assert stat.S_IMODE((hooks / "exit_hook.py").stat().st_mode) == 0o644
    assert stat.S_IMODE((node / LEASE[1:]).stat().st_mode) == 0o755
    assert not run(at(node), arguments(archive=False))["changed"]


@pytest.mark.parametrize("root_umask", [0, 0o077])
def test_every_user_may_read_and_only_root_may_write(node: Path, root_umask: int) -> None:
    mask = os.umask(root_umask)
    try:
        install(node)
    finally:
        os.umask(mask)
    paths = [path for path in node.rglob("*") if not path.is_symlink()]
    assert [path for path in paths if path.stat().st_mode & 0o022] == []
    assert [path for path in paths if not path.stat().st_mode & 0o004] == []
    assert list(store(node).rglob("*.pyc")) != []


@pytest.mark.parametrize(
    ("directory", "mode"), [("usr/local/libexec", 0o777), ("usr/local/libexec", 0o1777), ("usr", 0o777)]
)
def test_a_world_writable_parent_is_refused_by_name(node: Path, directory: str, mode: int) -> None:
    (node / directory).mkdir(parents=True)
    (node / directory).chmod(mode)
    result = install(node)
    assert result["failed"]
    assert f"{node / directory} is world-writable" in result["msg"]
    assert result["remedy"] == f"chmod o-w {node / directory}"
    assert not store(node).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a directory away")
def test_a_parent_of_another_user_is_refused(node: Path) -> None:
    (node / "etc/libvirt").mkdir(parents=True)
    os.chown(node / "etc/libvirt", 65534, -1)
    result = install(node)
    assert f"{node}/etc/libvirt belongs to uid 65534" in result["msg"]


def test_a_program_that_does_not_compile_is_never_switched_to(node: Path) -> None:
    old = install(node, "1.0")["tree"]
    result = install(node, "1.1", broken="def main(:\n")
    assert result["failed"]
    assert os.readlink(store(node) / "current") == old
    assert sorted(os.listdir(store(node))) == sorted(["current", "entry_points.json", old])


def test_a_tree_without_a_needed_module_is_refused(node: Path) -> None:
    given = arguments()
    del given["program"]["manifest"]["condor_vac/worker/programs/watch.py"]
    result = run(at(node), given)
    assert result["failed"]
    assert "vac_watch runs condor_vac.worker.programs.watch" in result["msg"]


def test_an_archive_other_than_announced_is_refused(node: Path) -> None:
    given = arguments("1.0")
    given["program"]["archive"] = arguments("1.1")["program"]["archive"]
    result = run(at(node), given)
    assert result["failed"]
    assert "not what the controller announced" in result["msg"]
    given["program"]["archive"] = "@@@"
    assert "damaged" in run(at(node), given)["msg"]


@pytest.mark.parametrize("version", ["../../etc", "1.0/..", "", "1 0"])
def test_a_version_cannot_leave_the_store(node: Path, version: str) -> None:
    given = arguments()
    given["program"]["version"] = version
    assert "is not a valid version" in run(at(node), given, tools=Tools(python))["msg"]


def test_called_without_the_action_plugin_it_fails_with_the_remedy(node: Path) -> None:
    result = run(at(node), {"entry_points": ["cli"]})
    assert "vacuum.htcondor.programs" in result["remedy"]


def test_absent_removes_trees_and_all_entry_points(node: Path) -> None:
    install(node)
    results = four_calls(at(node), {"state": "absent"})
    assert results[1]["tree"] is None
    assert LEASE in results[1]["changed_entry_points"]
    assert [path for path in node.rglob("*") if not path.is_dir()] == []
