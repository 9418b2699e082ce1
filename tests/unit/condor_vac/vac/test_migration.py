# SPDX-License-Identifier: GPL-3.0-or-later
"""What sites move in with: settings of Vac and a pipe, from the files to the machinetypes that the programs read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.vacuum.htcondor.plugins.lookup import machinetypes as lookup
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import image_files
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import machinetypes as inventory

from condor_vac.cli import dispatch
from condor_vac.model.machinetype import Machinetype

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow

WHERE = "https://vo.example.org"
ONE: dict[str, Any] = {
    "suffix": "one",
    "machine_model": "cernvm4",
    "root_image": f"{WHERE}/node.iso",
    "user_data": f"{WHERE}/ud",
    "target_share": 1,
    "user_data_option_queue": "of-the-pipe",
}
EIGHT: dict[str, Any] = {
    **ONE,
    "suffix": "eight",
    "machine_model": "vm-raw",
    "root_image": f"{WHERE}/node8.qcow2",
    "min_processors": 8,
    "max_processors": 8,
}
SECTION = "[vacuum_pipe vo]\nvacuum_pipe_url = https://vo.example.org/p\ntarget_share = 1\n"

Site = Callable[..., dict[str, Machinetype]]


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings of a play."""
    found: list[str] = []
    monkeypatch.setattr(lookup.display, "warning", found.append)
    return found


@pytest.fixture
def play(tmp_path: Path, capsys: pytest.CaptureFixture[str], warnings: list[str]) -> Site:
    """What the play deploys of Vac's configuration (a text) with a pipe's entries."""

    def run(text: str, *offers: dict[str, Any], import_code: int = 0) -> dict[str, Machinetype]:
        (tmp_path / "vac.conf").write_text(text)
        (tmp_path / "p").write_text(json.dumps({"machinetypes": list(offers)}))
        assert dispatch.main(["import", "--json", str(tmp_path / "vac.conf")]) == import_code
        data = json.loads(capsys.readouterr().out)
        for pipe in data["pipes"].values():
            pipe["url"] = str(tmp_path / "p")
        (found,) = lookup.LookupModule().run(
            [data["pipes"]], {}, cache=str(tmp_path / "cache"), machinetypes=data["machinetypes"]
        )
        checked = inventory.checked(found)
        images = image_files.names(checked)
        return {
            name: Machinetype.from_mapping(
                inventory.document(keys, name, "/d", f"/i/{images[name]}", {"owner": "vac"}), name
            )
            for name, keys in checked.items()
        }

    assert warnings == []
    return run


def settings(**options: Any) -> str:
    return "".join(f"{line}\n" for line in ("[settings]", *(f"{key} = {value}" for key, value in options.items())))


@pytest.mark.parametrize(
    ("option", "key", "value"),
    [
        ("max_wallclock_seconds = 50000", "max_wallclock_seconds", 50000),
        ("fizzle_seconds = 900", "fizzle_seconds", 900),
        ("max_processors = 4", "processors", 4),
        ("heartbeat_file = hb", "heartbeat_file", "hb"),
        ("machine_model = cernvm3", "kind", "cernvm"),
        ("user_data = /site/ud", "user_data", "/d/vo-eight.user_data"),
        ("accounting_fqan = /other/x", "accounting_group", "group_other"),
    ],
)
def test_a_section_changes_what_it_says_and_nothing_else(play: Site, option: str, key: str, value: Any) -> None:
    before = play(settings() + SECTION, ONE, EIGHT)
    after = play(f"{settings()}{SECTION}[machinetype vo-eight]\n{option}\n", ONE, EIGHT)
    changed = {
        name for name in Machinetype._fields if getattr(before["vo-eight"], name) != getattr(after["vo-eight"], name)
    }
    follows = {
        "processors": {"memory_mb", "scratch_gb"},
        "kind": {"cvmfs_cache_gb", "scratch_gb"},
        "user_data": {"pipe_urls"},
        "accounting_group": {"accounting_fqan"},
    }
    assert getattr(after["vo-eight"], key) == value
    assert changed == {key} | follows.get(key, set())
    assert after["vo-one"] == before["vo-one"]
    assert (before["vo-eight"].processors, before["vo-eight"].memory_mb) == (8, 16384)


@pytest.mark.parametrize(
    ("option", "of_the_pipe", "sizes"),
    [
        ({}, {}, ("38 GiB", "299 GiB")),
        ({"disk_gb_per_processor": 60}, {}, ("56 GiB", "448 GiB")),
        ({"disk_gb_per_cpu": "60.0"}, {}, ("56 GiB", "448 GiB")),
        ({"disk_gb_per_processor": 0}, {}, ("38 GiB", "299 GiB")),
        ({"disk_gb_per_processor": 60}, {"disk_gb_per_processor": "80"}, ("75 GiB", "597 GiB")),
        ({}, {"disk_gb_per_processor": 80.5}, ("75 GiB", "600 GiB")),
    ],
)
def test_disks_for_each_processor(
    play: Site, option: dict[str, Any], of_the_pipe: dict[str, Any], sizes: tuple[str, str]
) -> None:
    found = play(settings(**option) + SECTION, {**ONE, **of_the_pipe}, {**EIGHT, **of_the_pipe})
    one, eight = found["vo-one"], found["vo-eight"]
    assert (f"{one.cvmfs_cache_gb} GiB", f"{eight.scratch_gb} GiB") == sizes
    assert (one.scratch_gb, eight.cvmfs_cache_gb) == (0, 0)


def test_sites_sizes_reach_every_machinetype_of_a_pipe(play: Site) -> None:
    found = play(settings(hs06_per_processor="11.5", mb_per_processor=2500) + SECTION, ONE, EIGHT)
    assert [(one.hs06, one.memory_mb) for one in (found["vo-one"], found["vo-eight"])] == [(11.5, 2500), (92.0, 20000)]


@pytest.mark.parametrize(
    ("of_settings", "of_pipe", "of_section", "of_machinetype", "wins"),
    [
        ("s", "p", "v", "m", "m"),
        ("s", "p", "v", None, "v"),
        ("s", "p", None, None, "p"),
        ("s", None, None, None, "s"),
        (None, "p", None, "m", "m"),
        ("s", None, "v", None, "v"),
        ("s", "p", None, '""', ""),
        (None, None, None, None, None),
    ],
)
def test_the_order_of_options(
    play: Site, of_settings: str | None, of_pipe: str | None, of_section: str | None, of_machinetype: str | None,
    wins: str | None,
) -> None:  # fmt: skip
    option = "user_data_option_queue"
    text = settings(**({option: of_settings} if of_settings else {})) + SECTION
    text += f"{option} = {of_section}\n" if of_section else ""
    text += f"[machinetype vo-one]\n{option} = {of_machinetype}\n" if of_machinetype else ""
    offer = {key: value for key, value in ONE.items() if key != option}
    found = play(text, {**offer, **({option: of_pipe} if of_pipe else {})})
    assert found["vo-one"].user_data_options.get("queue") == wins


@pytest.mark.parametrize(
    ("share", "of_pipe", "machines"),
    [("target_share = 1", 1, 1000), ("target_share = 0", 1, 0), ("", 1, 0), ("target_share = 1", 0, 0)],
)
def test_a_share_of_0_or_none_is_off_in_a_pipe(play: Site, share: str, of_pipe: int, machines: int) -> None:
    text = f"[vacuum_pipe vo]\nvacuum_pipe_url = https://vo.example.org/p\n{share}\n"
    assert play(settings() + text, {**ONE, "target_share": of_pipe})["vo-one"].max_machines == machines


@pytest.mark.parametrize(
    ("share", "machines"), [("target_share = 0.5", 1000), ("target_share = 0", 0), ("target_share = 0.0", 0), ("", 0)]
)
def test_a_share_of_0_or_none_is_off_in_a_section(play: Site, share: str, machines: int) -> None:
    text = f"[machinetype own]\nroot_image = {WHERE}/i.iso\nuser_data = {WHERE}/u\n{share}\n"
    assert play(settings() + text)["own"].max_machines == machines


def test_a_machinetype_of_a_pipe_that_is_off_can_be_on(play: Site) -> None:
    text = "[vacuum_pipe vo]\nvacuum_pipe_url = https://vo.example.org/p\n[machinetype vo-eight]\ntarget_share = 2\n"
    found = play(settings() + text, ONE, EIGHT)
    assert (found["vo-one"].max_machines, found["vo-eight"].max_machines) == (0, 1000)


# -- What Vac accepts and a machinetype here cannot have as it stands --------------------------------------


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ({"heartbeat_seconds": 600}, "heartbeat_seconds", 0),
        ({"backoff_seconds": 0}, "backoff_seconds", 1),
        ({"max_wallclock_seconds": 300}, "fizzle_seconds", 299),
        ({"max_wallclock_seconds": 600, "fizzle_seconds": 600}, "fizzle_seconds", 599),
        ({"root_image": f"{WHERE}/latest"}, "image_format", "iso"),
        ({"root_image": f"{WHERE}/latest", "machine_model": "vm-raw"}, "image_format", "raw"),
        ({"root_image": f"{WHERE}/v1.2"}, "image_format", "iso"),
        ({"root_image": f"{WHERE}/get?name=n.iso"}, "image_format", "iso"),
        ({"root_image": f"{WHERE}/n.iso?version=3"}, "image_format", "iso"),
        ({"root_image": f"{WHERE}/a%20b.iso"}, "image_format", "iso"),
        ({"max_processors": 8.0}, "processors", 8),
        ({"max_processors": "8"}, "processors", 8),
        ({"min_processors": 4}, "processors", 4),
        ({"max_wallclock_seconds": "172800.0"}, "max_wallclock_seconds", 172800),
        ({"suffix": 8}, "processors", 1),
    ],
)
def test_what_vac_accepts_works_and_disturbs_nothing(
    play: Site, warnings: list[str], change: dict[str, Any], key: str, value: Any
) -> None:
    found = play(settings() + SECTION, {**ONE, "suffix": "odd", **change}, EIGHT)
    (odd,) = set(found) - {"vo-eight"}
    assert getattr(found[odd], key) == value
    assert not [warning for warning in warnings if "left out" in warning]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"max_wallclock_seconds": 30}, "max_wallclock_seconds: must be"),
        ({"machine_model": "docker"}, "docker is a container"),
        ({"root_image": "https://user:secret@vo.example.org/n.iso"}, "image: a URL with a user or password"),
        ({"root_image": "docker://vo/image"}, "image: missing"),
        ({"user_data": "/etc/passwd"}, "user_data: missing"),
        ({"user_data": "of_the_site"}, "user_data: no file"),
        ({"user_data_file_key": "key.pem"}, "user_data_files.key: no file"),
        ({"heartbeat_file": "shutdown_message"}, "heartbeat_file: must not be shutdown_message"),
        ({"heartbeat_file": "a b"}, "heartbeat_file: must be a file name"),
        ({"user_data_proxy": True}, "user_data_proxy: needs user_data_proxy_cert"),
        ({"max_processors": 5000}, "processors: must be"),
        ({"image_signing_dn": "/CN=cvm(sign"}, "image_signing_dn: not a regular expression"),
        ({"backoff_seconds": 10**9}, "backoff_seconds: must be"),
    ],
)
def test_what_cannot_work_is_left_out_alone_with_its_reason(
    play: Site,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    warnings: list[str],
    change: dict[str, Any],
    reason: str,
) -> None:
    found = play(settings() + SECTION, ONE, {**ONE, "suffix": "bad", **change}, EIGHT)
    assert sorted(found) == ["vo-eight", "vo-one"]
    (warning,) = [warning for warning in warnings if "left out" in warning]
    assert warning.startswith("vacuum_pipes.vo: vo-bad is left out: ")
    assert reason in warning
    if "no file" not in reason:
        assert dispatch.main(["pipe", str(tmp_path / "p"), "--prefix", "vo"]) == 1
        shown = capsys.readouterr().out
        assert f"vo-bad: left out: {warning.partition('left out: ')[2]}" in shown
        assert "2 machinetypes, 1 left out" in shown


def test_what_is_ignored_of_a_pipe_is_a_warning(play: Site, warnings: list[str]) -> None:
    play(settings() + SECTION, {**ONE, "root_device": "sda", "colour": "red", "accounting_fqan": "/vo/x"})
    (warning,) = warnings
    assert warning.startswith("vacuum_pipes.vo: ignored: ")
    assert "vo-one: root_device: not converted" in warning
    assert "vo-one: colour: ignored" in warning
    assert "accounting_fqan" not in warning, "it is not lost"


# -- Files ------------------------------------------------------------------------------------------------


LEFT_OUT = """[settings]
vac_space = vac.example.org
[machinetype boxes]
machine_model = singularity
root_image = /cvmfs/images.example.org/el9
[machinetype oldvm]
machine_model = cernvm2
root_image = /srv/images/node.hdd
"""


@pytest.mark.parametrize(("more", "code"), [("", 1), ("[machinetype good]\nroot_image = i.iso\nuser_data = u\n", 0)])
def test_what_cannot_be_converted_is_a_comment_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, code: int
) -> None:
    (tmp_path / "vac.conf").write_text(LEFT_OUT + more)
    assert dispatch.main(["import", str(tmp_path / "vac.conf")]) == code
    printed = capsys.readouterr().out
    assert "# boxes: machine_model: singularity is a container" in printed
    assert "# oldvm: machine_model: cernvm2 is not known" in printed
    loaded = yaml.safe_load(printed) or {}
    assert list(loaded.get("vacuum_machinetypes", {})) == (["good"] if more else [])


OLD = """[settings]
vac_space = vac.example.org
overload_per_cpu = 1.5
cpu_per_machine = 8
mb_per_cpu = 3000
hs06_per_cpu = 9.5
[targetshares]
old = 2
[vmtype old]
vm_model = cernvm3
root_image = https://vo.example.org/n.iso
user_data = https://vo.example.org/ud
root_public_key = /root/.ssh/ops.pub
user_data_proxy_cert = /etc/site/cert.pem
user_data_proxy_key = /etc/site/key.pem
cernvm_signing_dn = /CN=cvm
machineoutputs_days = 7
user_data_option_extra = ""
user_data_option_quoted = "x"
"""


def test_spellings_of_vac_1_and_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], play: Site) -> None:
    old = play(OLD)["old"]
    assert (old.kind, old.memory_mb, old.hs06, old.max_machines) == ("cernvm", 3000, 9.5, 1000)
    assert old.user_data_options == {"extra": "", "quoted": '"x"'}
    assert (old.user_data_proxy, old.user_data_proxy_cert, old.user_data_proxy_key) == (
        True, "/etc/site/cert.pem", "/etc/site/key.pem",
    )  # fmt: skip
    assert old.root_public_key is not None
    assert dispatch.main(["import", str(tmp_path / "vac.conf")]) == 0
    printed = capsys.readouterr().out
    assert "no such option" not in printed
    assert "no such section" not in printed
    assert "# overload_per_cpu: HTCondor's START expression decides" in printed
    assert "# cpu_per_machine: not needed" in printed
    assert "# machines_dir_days: not needed" in printed


@pytest.mark.parametrize("nothing", ["", "\n \n", "# nothing yet\n; nor here\n\n"])
def test_a_file_among_several_that_sets_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], nothing: str
) -> None:
    (tmp_path / "00.conf").write_text(nothing)
    (tmp_path / "vac.conf").write_text("[machinetype x]\nuser_data = u\nroot_image = i.iso\n")
    assert dispatch.main(["import", *(str(tmp_path / name) for name in ("00.conf", "vac.conf"))]) == 0
    printed = capsys.readouterr().out
    assert "# 00.conf: nothing is set in it" in printed
    assert list(yaml.safe_load(printed)["vacuum_machinetypes"]) == ["x"]
    assert dispatch.main(["import", str(tmp_path / "00.conf")]) == 1


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("max_wallclock_seconds = 30", "max_wallclock_seconds: must be a whole number from 60"),
        ("user_data = http://user:secret@vo.example.org/u", "user_data: a URL with a user or password"),
        ("heartbeat_file = a b", "heartbeat_file: must be a file name"),
        ("image_signing_dn = (", "image_signing_dn: not a regular expression"),
        ("root_image = /srv/images/a.iso", ""),
    ],
)
def test_what_the_role_would_refuse_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, reason: str
) -> None:
    given = {"root_image": f"{WHERE}/i.iso", "user_data": f"{WHERE}/u", "target_share": "1"}
    key, _equals, value = option.partition(" = ")
    lines = "".join(f"{name} = {text}\n" for name, text in {**given, key: value}.items())
    (tmp_path / "vac.conf").write_text(f"[machinetype x]\n{lines}")
    assert dispatch.main(["import", str(tmp_path / "vac.conf")]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "the role refuses it" in line]
    assert [reason in note for note in notes] == [True] * (1 if reason else 0)


def test_options_of_settings_that_cannot_be_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "vac.conf").write_text(f"{settings(**{'user_data_option_a.b': 1, 'mb_per_processor': 'lots'})}")
    assert dispatch.main(["import", str(tmp_path / "vac.conf")]) == 1
    printed = capsys.readouterr().out
    assert "# user_data_option_a.b: not converted: its name must be" in printed
    assert "# mb_per_processor: not converted: 'lots' is not a number" in printed


@pytest.mark.parametrize("change", [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n")])
def test_files_as_other_editors_write_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[str], str]
) -> None:
    outputs = []
    for text in (OLD, change(OLD)):
        (tmp_path / "vac.conf").write_bytes(text.encode())
        assert dispatch.main(["import", str(tmp_path / "vac.conf")]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
