# SPDX-License-Identifier: GPL-3.0-or-later
"""node_files: files, directories and units in one go, their record, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.vacuum.htcondor.plugins.modules import node_files

from tests.unit.plugins.harness import Answer, Plugin, Tools, four_calls, run

SETTINGS = "/etc/condor_vac/worker.json"
TIMER = "/etc/systemd/system/vac_watch.timer"
FRAGMENT = "/etc/condor/config.d/50-vm.config"
ARGUMENTS: dict[str, Any] = {
    "directories": ["/var/lib/images"],
    "files": {SETTINGS: '{"network": "vac"}', TIMER: "[Timer]\nOnBootSec=7\n"},
    "elsewhere": {FRAGMENT: "VM_TYPE = kvm"},
    "units": ["vac_watch.timer"],
}


class Manager(Tools):
    """systemctl with a memory: what was enabled and started stays so."""

    def __init__(self, load: str = "loaded", active: str = "inactive", enabled: str = "disabled") -> None:
        super().__init__(self.systemctl)
        self.state = {"LoadState": load, "ActiveState": active, "UnitFileState": enabled}

    def systemctl(self, argv: list[str], _stdin: str | None) -> Answer:
        if argv[1] == "enable":
            self.state["UnitFileState"] = "enabled"
        if argv[1] == "restart":
            self.state["ActiveState"] = "active"
        if argv[1] == "disable":
            self.state.update(ActiveState="inactive", UnitFileState="disabled")
        return 0, "".join(f"{key}={value}\n" for key, value in self.state.items()), ""

    def verbs(self) -> list[str]:
        return [words[1] for words in self.calls if words[1] != "show"]


@pytest.fixture
def node(tmp_path: Path) -> Path:
    return tmp_path


def at(node: Path) -> Plugin:
    return Plugin(node_files, root=str(node), owner=None)


def call(node: Path, tools: Tools, check: bool = False, **changes: Any) -> dict[str, Any]:
    # The record's default is below the real /etc; the module puts its root before it.
    return run(at(node), {**ARGUMENTS, **changes}, check=check, tools=tools)


def test_four_calls_write_start_and_then_change_nothing(node: Path) -> None:
    tools = Manager()
    results = four_calls(at(node), ARGUMENTS, tools)
    assert results[1]["files"] == [SETTINGS, TIMER, "/etc/condor_vac/files.json"]
    assert tools.verbs() == ["daemon-reload", "enable", "restart"]
    assert (node / SETTINGS[1:]).read_text() == '{"network": "vac"}\n'
    assert stat.S_IMODE((node / TIMER[1:]).stat().st_mode) == 0o644
    assert (node / "var/lib/images").is_dir()


def test_a_file_that_must_not_be_there_is_removed_and_leaves_the_record(node: Path) -> None:
    path = "/etc/tmpfiles.d/vac.conf"
    files = {SETTINGS: "{}", path: "f /dev/x 0666 root root"}
    tools = Manager()
    call(node, tools, files=files, units=[])
    tools.calls.clear()
    arguments = {"files": {SETTINGS: "{}"}, "absent": [path], "units": [], "directories": []}
    results = four_calls(at(node), {**ARGUMENTS, **arguments}, tools)
    assert results[1]["files"] == [path, "/etc/condor_vac/files.json"]
    assert {"before_header": path, "after_header": path, "before": "f /dev/x 0666 root root\n", "after": ""} in [
        {key: value.replace(str(node), "") for key, value in entry.items()} for entry in results[0]["diff"]
    ]
    assert not (node / path[1:]).exists()
    assert path not in json.loads((node / "etc/condor_vac/files.json").read_text())
    assert tools.calls == [], "nothing is made again"


def test_a_path_that_must_be_absent_is_absolute(node: Path) -> None:
    assert "is not an absolute path" in call(node, Manager(), absent=["etc/x"])["msg"]


def test_a_packages_directory_gets_its_mode_and_keeps_its_owner(node: Path) -> None:
    made = node / "var/lib/libvirt/qemu"
    modes = {"/var/lib/libvirt/qemu": "0751"}
    assert "chmod" not in str(call(node, Manager(), check=True, modes=modes)["actions"])
    assert "install the package" in call(node, Manager(), modes=modes)["msg"]
    made.mkdir(parents=True, mode=0o750)
    assert "chmod 0751" in str(call(node, Manager(), check=True, modes=modes)["actions"])
    assert stat.S_IMODE(made.stat().st_mode) == 0o750
    assert "chmod 0751" in str(call(node, Manager(), modes=modes)["actions"])
    assert stat.S_IMODE(made.stat().st_mode) == 0o751
    assert "chmod" not in str(call(node, Manager(), modes=modes)["actions"])


@pytest.mark.parametrize("mode", ["751x", 751, "0999", "u=rwx", "", "07777"])
def test_a_mode_is_octal_words(node: Path, mode: Any) -> None:
    assert 'write it like "0751"' in call(node, Manager(), modes={"/var": mode})["msg"]


def test_the_record_holds_what_it_wrote_and_what_others_write(node: Path) -> None:
    call(node, Manager())
    table = json.loads((node / "etc/condor_vac/files.json").read_text())
    assert table == {
        SETTINGS: hashlib.sha256((node / SETTINGS[1:]).read_bytes()).hexdigest(),
        TIMER: hashlib.sha256((node / TIMER[1:]).read_bytes()).hexdigest(),
        FRAGMENT: hashlib.sha256(b"VM_TYPE = kvm\n").hexdigest(),
    }
    assert not (node / FRAGMENT[1:]).exists()


def test_a_private_file_is_roots_alone_and_shown_nowhere(node: Path) -> None:
    path = "/etc/condor_vac/http_proxy.json"
    arguments = {**ARGUMENTS, "private_files": {path: '{"http_proxy": "http://vac:sesame@squid:1"}'}}
    results = four_calls(at(node), arguments, Manager())
    file = node / path[1:]
    assert results[1]["files"][0] == path
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "sesame" in file.read_text()
    assert path not in json.loads((node / "etc/condor_vac/files.json").read_text())
    file.chmod(0o644)
    arguments["private_files"] = {path: '{"http_proxy": "http://vac:sesame2@squid:1"}'}
    changed = run(at(node), arguments, tools=Manager(active="active", enabled="enabled"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "sesame" not in json.dumps([results, changed])
    assert "(hidden, changed)" in json.dumps(changed["diff"])


def test_each_fault_is_fixed_and_nothing_else_is_changed(node: Path) -> None:
    tools = Manager()
    call(node, tools)
    tools.calls.clear()
    (node / SETTINGS[1:]).write_text("{}")
    result = call(node, tools)
    assert (result["files"], result["actions"], tools.verbs()) == ([SETTINGS], [], [])
    (node / TIMER[1:]).chmod(0o666)
    assert call(node, tools)["actions"] == ["daemon-reload"]
    tools.state["ActiveState"] = "failed"
    result = call(node, tools)
    assert (result["files"], result["actions"]) == ([], ["start vac_watch.timer"])
    (node / "var/lib/images").chmod(0o777)
    assert call(node, tools)["actions"] == [f"chmod 0755 {node}/var/lib/images"]
    assert stat.S_IMODE((node / "var/lib/images").stat().st_mode) == 0o755


def test_a_unit_that_others_start_is_only_enabled(node: Path) -> None:
    tools = Manager()
    assert call(node, tools, units=[], enabled_units=["vac_watch.service"])["actions"][-1] == "enable vac_watch.service"
    assert not call(node, tools, units=[], enabled_units=["vac_watch.service"])["changed"]
    assert "restart" not in tools.verbs()


def test_units_are_enabled_in_one_go_and_one_that_another_has_started_is_left_alone(node: Path) -> None:
    tools = Manager()
    result = call(node, tools, units=["libvirtd.service", "libvirtd.socket"], enabled_units=["vac_watch.service"])
    assert result["actions"][-2:] == [
        "enable libvirtd.service libvirtd.socket vac_watch.service",
        "start libvirtd.service",
    ]
    assert tools.verbs() == ["daemon-reload", "enable", "restart"]


def test_what_tmpfiles_describe_is_made_before_the_next_file_is_tried(node: Path) -> None:
    tools = Manager()
    files = {"/etc/tmpfiles.d/vac.conf": "d /run/vac", "/etc/vac/nginx.conf": "events {}"}
    arguments: dict[str, Any] = {
        "files": files,
        "validate": {"/etc/vac/nginx.conf": ["nginx", "-t", "-c", "%s"]},
        "units": [],
    }
    call(node, tools, **arguments)
    assert [words[0].rsplit("/", 1)[-1] for words in tools.calls] == ["systemd-tmpfiles", "nginx"]
    assert "%s" not in tools.calls[1]
    tools.calls.clear()
    assert not call(node, tools, **arguments)["changed"]
    assert tools.calls == []


def test_a_content_that_its_reader_refuses_replaces_nothing(node: Path) -> None:
    validate = {SETTINGS: ["nginx", "-t", "-c", "%s"]}
    call(node, Manager())
    tools = Tools(lambda argv, _: (1, "", f"unknown directive in {argv[-1]}:3"))
    result = call(node, tools, files={SETTINGS: "x"}, validate=validate, units=[])
    assert result["failed"]
    assert f"unknown directive in {SETTINGS}:3" in result["msg"]
    assert (node / SETTINGS[1:]).read_text() == '{"network": "vac"}\n'


def test_a_unit_is_restarted_when_one_of_its_files_changed(node: Path) -> None:
    tools = Manager()
    restart = {"vac_watch.timer": [TIMER]}
    call(node, tools, restart=restart)
    (node / SETTINGS[1:]).write_text("{}")
    assert call(node, tools, restart=restart)["actions"] == []
    (node / TIMER[1:]).write_text("")
    assert call(node, tools, restart=restart)["actions"] == ["daemon-reload", "restart vac_watch.timer"]


@pytest.mark.parametrize(
    ("seconds_before", "expected"), [(3600, ["restart vac_watch.timer"]), (-0.001, [])], ids=["before", "after"]
)
def test_a_unit_that_runs_since_before_a_file_was_written_is_restarted(
    node: Path, seconds_before: float, expected: list[str]
) -> None:
    """As after a run that wrote the file and stopped before it came to the unit."""
    tools = Manager()
    call(node, tools)
    hook = "/etc/libvirt/hooks/qemu.d/condor_vac"
    (node / hook[1:]).parent.mkdir(parents=True)
    (node / hook[1:]).write_text("#!/bin/sh\n")
    started = time.monotonic() - seconds_before
    tools.state["InactiveExitTimestampMonotonic"] = f"{max(1, started * 1e6):.0f}"
    restart = {"vac_watch.timer": [hook, "/etc/libvirt/hooks/other"]}
    assert call(node, tools, check=True, restart=restart)["actions"] == expected
    assert call(node, tools, restart=restart)["actions"] == expected


def test_a_unit_that_must_not_run_is_stopped_once(node: Path) -> None:
    tools = Manager(active="active", enabled="enabled")
    assert (
        call(node, tools, units=[], stopped_units=["nginx.service"])["actions"][-1] == "stop and disable nginx.service"
    )
    tools.state = {"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"}
    assert not call(node, tools, units=[], stopped_units=["nginx.service"])["changed"]
    tools.state = {"LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": ""}
    assert not call(node, tools, units=[], stopped_units=["nginx.service"])["changed"]


def test_a_unit_whose_file_goes_is_stopped_while_systemd_can_disable_it(node: Path) -> None:
    tools = Manager()
    call(node, tools)
    seen: list[bool] = []

    def systemctl(argv: list[str], stdin: str | None) -> Answer:
        if argv[1] == "disable":
            seen.append((node / TIMER[1:]).exists())
        return tools.systemctl(argv, stdin)

    watching = Tools(systemctl)
    wanted: dict[str, Any] = {
        "files": {SETTINGS: "{}"},
        "units": [],
        "stopped_units": ["vac_watch.timer"],
        "absent": [TIMER],
    }
    assert call(node, watching, **wanted)["actions"] == ["stop and disable vac_watch.timer", "daemon-reload"]
    assert seen == [True]
    assert not (node / TIMER[1:]).exists()
    assert not call(node, watching, **wanted)["changed"]


def test_check_mode_leaves_nothing_behind_and_does_not_need_the_unit(node: Path) -> None:
    tools = Manager(load="not-found", enabled="")
    result = call(node, tools, check=True)
    assert result["actions"][1:] == ["daemon-reload", "enable vac_watch.timer", "start vac_watch.timer"]
    assert list(node.iterdir()) == []
    assert tools.verbs() == []


@pytest.mark.parametrize(
    ("load", "remedy"),
    [
        ("masked", "systemctl unmask"),
        ("not-found", "install its package"),
        ("bad-setting", "correct its file or drop-ins (systemctl cat vac_watch.timer)"),
    ],
)
def test_a_unit_that_cannot_run_fails_with_a_remedy(node: Path, load: str, remedy: str) -> None:
    result = call(node, Manager(load=load))
    assert result["failed"]
    assert remedy in result["msg"]


@pytest.mark.parametrize("path", ["etc/x", "/etc/../etc/x", "/etc//x", ""])
def test_a_path_that_is_not_absolute_and_plain_is_refused(node: Path, path: str) -> None:
    result = call(node, Manager(), files={path: "x"})
    assert "is not an absolute path" in result["msg"]
    assert list(node.iterdir()) == []


def test_a_file_in_the_place_of_a_directory_is_refused(node: Path) -> None:
    (node / "var/lib").mkdir(parents=True)
    (node / "var/lib/images").write_text("")
    assert "is not a directory" in call(node, Manager())["msg"]
