# SPDX-License-Identifier: GPL-3.0-or-later
"""Machinetypes: every key is checked, and every error is one line with source, key and remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.base.errors import UsageError
from condor_vac.cli.dispatch import main
from condor_vac.model.machinetype import Machinetype, load
from condor_vac.model.machinetype_keys import CHECKS

MINIMAL: dict[str, Any] = {
    "name": "atlas",
    "owner": "vac",
    "kind": "cernvm",
    "image": "/var/lib/condor_vac/images/ucernvm.iso",
    "user_data": "/etc/condor_vac/atlas/user_data",
}
FULL: dict[str, Any] = {
    "name": "lhcb-prod-2",
    "owner": "lhcb_user",
    "kind": "cloud-init",
    "sharing": "both",
    "image": "/images/debian-13.qcow2",
    "image_format": "qcow2",
    "processors": 8,
    "memory_mb": 16384,
    "cvmfs_cache_gb": 0,
    "scratch_gb": 0,
    "user_data": "/etc/vac/lhcb.template",
    "user_data_options": {"cvmfs_proxy": "http://squid:3128;DIRECT", "text": "two\nlines"},
    "user_data_files": {"hostkey": "/etc/vac/hostkey.pem"},
    "user_data_last_good_seconds": 86400,
    "user_data_proxy": True,
    "user_data_proxy_cert": "/etc/vac/hostcert.pem",
    "user_data_proxy_key": "/etc/vac/hostkey.pem",
    "root_public_key": "/etc/vac/root.pub",
    "space": "vac.example.org",
    "max_machines": 500,
    "max_idle": 40,
    "max_starting": 20,
    "probe_machines": 1,
    "first_machines": 3,
    "fizzle_seconds": 900,
    "backoff_seconds": 3600,
    "max_wallclock_seconds": 172800,
    "heartbeat_file": "heartbeat",
    "heartbeat_seconds": 600,
    "heartbeat_is_evidence": True,
    "max_starts_per_minute": 20,
    "min_wallclock_seconds": 3600,
    "cycle_seconds": 30,
    "evidence_seconds": 0,
    "evidence_cpu_fraction": 0.05,
    "accounting_group": "group_lhcb.prod",
    "requirements": 'Machine =!= "bad.example.org"',
    "rank": "Memory",
    "pipe_urls": {"user_data": "10.0.0.0/8,.vo.example"},
    "machinefeatures": {"site_rack": "r12"},
    "jobfeatures": {"mem_limit_MB": "17000"},
    "hs06": 88.5,
    "accounting_fqan": "/lhcb/mc/Role=production/Capability=NULL",
    "keep_failed": 5,
    "gocdb_sitename": "UKI-EXAMPLE-1",
    "hepscore23_per_processor": 12.25,
    "memory_mb_per_processor": 3000,
    "disk_gb_per_processor": 40.5,
    "hs06_per_processor": 11.5,
    "job_lease_duration": 600,
    "vnc": True,
    "submit_file": "/etc/vac/lhcb.sub",
}


def make(**changes: Any) -> Machinetype:
    """A machinetype from the minimal data with some keys changed."""
    return Machinetype.from_mapping({**MINIMAL, **changes}, "test.json")


def test_every_key_can_be_given() -> None:
    assert set(Machinetype._fields) == set(CHECKS) == set(FULL)


def test_everything_given_survives_a_round_trip_through_json() -> None:
    machinetype = Machinetype.from_mapping(FULL, "x")
    assert machinetype.to_mapping() == FULL
    again = Machinetype.from_mapping(json.loads(json.dumps(machinetype.to_mapping())), "x")
    assert again == machinetype


@pytest.mark.parametrize(
    ("changes", "max_idle", "probes"),
    [
        ({}, 50, 2),
        ({"max_machines": 200}, 10, 2),
        ({"max_machines": 399}, 19, 2),
        ({"max_machines": 20_000}, 1000, 2),
        ({"max_machines": 4}, 4, 2),
        ({"max_machines": 1}, 1, 1),
        ({"max_machines": 0}, 0, 1),
        ({"max_machines": 100}, 10, 2),
        ({"max_machines": 100, "max_idle": 50}, 50, 2),
        ({"max_machines": 100, "max_idle": 5}, 5, 2),
    ],
)
def test_defaults_follow_max_machines(changes: dict[str, int], max_idle: int, probes: int) -> None:
    machinetype = make(**changes)
    assert (machinetype.max_idle, machinetype.probe_machines) == (max_idle, probes)


@pytest.mark.parametrize("changes", [{}, {"max_machines": 500, "max_idle": 50}, {"max_starting": None}])
def test_the_numbers_of_vms_that_start_have_no_limit_by_default(changes: dict[str, Any]) -> None:
    machinetype = make(**changes)
    assert (machinetype.max_starting, machinetype.first_machines) == (None, None)
    limited = make(**{**changes, "max_starting": 4, "first_machines": 2})
    assert (limited.max_starting, limited.first_machines) == (4, 2)


@pytest.mark.parametrize(
    ("image", "image_format"),
    [
        ("/i/a.iso", "iso"),
        ("/i/A.ISO", "iso"),
        ("/i/a.qcow2", "qcow2"),
        ("/i/a.img", "raw"),
        ("/i/a.hdd", "raw"),
    ],
)
def test_the_image_format_follows_the_suffix(image: str, image_format: str) -> None:
    assert make(image=image).image_format == image_format
    assert make(image=image, image_format="raw").image_format == "raw"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"nmae": "x"}, "'nmae': unknown key"),  # codespell:ignore
    ({"name": "Atlas"}, "name: must be"),
    ({"name": ""}, "name: must be"),
    ({"name": "a" * 65}, "name: must be"),
    ({"name": "a\n"}, "name: must be"),
    ({"name": "../x"}, "name: must be"),
    ({"owner": "root"}, "owner: must not be root"),
    ({"owner": "a b"}, "owner: must be"),
    ({"kind": "vmware"}, "kind: must be one of cernvm, cloud-init"),
    ({"kind": ["cernvm"]}, "kind: must be one of"),
    ({"sharing": "afs"}, "sharing: must be one of"),
    ({"image": "image.iso"}, "image: must be an absolute path"),
    ({"image": "/a/../b.iso"}, "image: must be a path without"),
    ({"image": "/a,b.iso"}, "image: must be an absolute path"),
    ({"image": "/a:b.iso"}, "image: must be an absolute path"),
    ({"image": "/a b.iso"}, "image: must be an absolute path"),
    ({"image": "/a.iso\n"}, "image: must be an absolute path"),
    ({"image": "/a/$(x).iso"}, "image: must be an absolute path"),
    ({"image": "/a/image"}, "image_format: cannot be derived"),
    ({"image_format": "vmdk"}, "image_format: must be one of"),
    ({"processors": 0}, "processors: must be a whole number from 1"),
    ({"processors": True}, "processors: must be a whole number"),
    ({"processors": 1.0}, "processors: must be a whole number"),
    ({"processors": "1"}, "processors: must be a whole number"),
    ({"processors": None}, "processors: must be a whole number"),
    ({"memory_mb": 63}, "memory_mb: must be"),
    ({"memory_mb": -1}, "memory_mb: must be"),
    ({"scratch_gb": -1}, "scratch_gb: must be"),
    ({"user_data": "http://example.org/x"}, "user_data: 'http://example.org/x': http is not safe"),
    ({"user_data": "x/y"}, "user_data: must be an absolute path"),
    ({"user_data_options": []}, "user_data_options: must be an object"),
    ({"user_data_options": {"a/b": "x"}}, "user_data_options: entry 'a/b': the name must be"),
    ({"user_data_options": {"a-b": "x"}}, "user_data_options: entry 'a-b': the name must be"),
    ({"user_data_options": {"a": None}}, "user_data_options: entry 'a': must be text"),
    ({"user_data_options": {"a": "x\0"}}, "user_data_options: entry 'a': must be text"),
    ({"user_data_options": {"a": "x" * 70000}}, "user_data_options: entry 'a': must be text"),
    ({"user_data_files": {"../a": "/x"}}, "user_data_files: entry '../a': the name must be"),
    ({"user_data_files": {"a": "x"}}, "user_data_files: entry 'a': must be an absolute path"),
    ({"root_public_key": 3}, "root_public_key: must be an absolute path"),
    ({"space": 'a"b'}, "space: must be"),
    ({"max_machines": -1}, "max_machines: must be"),
    ({"max_machines": 10, "max_idle": 11}, "max_idle: 11 is above max_machines 10; lower it"),
    ({"max_machines": 0, "max_idle": 1}, "max_idle: 1 is above max_machines 0"),
    ({"max_machines": 10, "max_starting": 11}, "max_starting: 11 is above max_machines 10"),
    ({"first_machines": -1}, "first_machines: must be a whole number from 0"),
    ({"max_machines": 10, "probe_machines": 11}, "probe_machines: 11 is above max_machines 10"),
    ({"probe_machines": 0}, "probe_machines: must be"),
    ({"fizzle_seconds": 86400}, "fizzle_seconds: 86400 is not below max_wallclock_seconds 86400"),
    ({"max_wallclock_seconds": 600}, "fizzle_seconds: 600 is not below max_wallclock_seconds 600"),
    ({"heartbeat_file": "a/b"}, "heartbeat_file: must be a file name"),
    ({"heartbeat_file": ".."}, "heartbeat_file: must be a file name"),
    ({"heartbeat_file": "shutdown_message"}, "heartbeat_file: must not be shutdown_message"),
    ({"heartbeat_seconds": 600}, "heartbeat_seconds: needs heartbeat_file"),
    ({"heartbeat_is_evidence": True}, "heartbeat_is_evidence: needs heartbeat_seconds"),
    ({"heartbeat_file": "beat", "heartbeat_is_evidence": True}, "heartbeat_is_evidence: needs heartbeat_seconds"),
    ({"heartbeat_is_evidence": 1}, "heartbeat_is_evidence: must be true or false"),
    ({"max_starts_per_minute": 0}, "max_starts_per_minute: must be"),
    ({"max_starts_per_minute": 1.5}, "max_starts_per_minute: must be"),
    ({"min_wallclock_seconds": 86401}, "min_wallclock_seconds: 86401 is above max_wallclock_seconds 86400; lower it"),
    ({"min_wallclock_seconds": -1}, "min_wallclock_seconds: must be"),
    ({"evidence_cpu_fraction": 1.5}, "evidence_cpu_fraction: must be a number from 0 to 1"),
    ({"evidence_cpu_fraction": -0.1}, "evidence_cpu_fraction: must be a number from 0 to 1"),
    ({"accounting_group": "a b"}, "accounting_group: must be a group name"),
    ({"accounting_group": ".a"}, "accounting_group: must be a group name"),
    ({"requirements": "true\nqueue 1000"}, "requirements: must be one line"),
    ({"requirements": "true\rqueue"}, "requirements: must be one line"),
    ({"requirements": "true\u2028queue"}, "requirements: must be one line"),
    ({"requirements": " "}, "requirements: must be one line"),
    ({"rank": "Memory\n+Owner=1"}, "rank: must be one line"),
    ({"machinefeatures": {"a-b": "1"}}, "machinefeatures: entry 'a-b': the name must be"),
    ({"jobfeatures": {"a": "1\n2"}}, "jobfeatures: entry 'a': must be one line"),
    ({"jobfeatures": {"a": ""}}, "jobfeatures: entry 'a': must be one line"),
    ({"hs06": 0}, "hs06: must be a number"),
    ({"hepscore23_per_processor": 0}, "hepscore23_per_processor: must be a number"),
    ({"accounting_fqan": "atlas"}, "accounting_fqan: must be a VOMS name"),
    ({"accounting_fqan": "/"}, "accounting_fqan: must be a VOMS name"),
    ({"accounting_fqan": "/atlas/Role=a b"}, "accounting_fqan: must be a VOMS name"),
    ({"accounting_fqan": "/atlas,/cms"}, "accounting_fqan: must be a VOMS name"),
    ({"accounting_fqan": "/atlas\n"}, "accounting_fqan: must be a VOMS name"),
    ({"accounting_fqan": f"/{'a' * 200}"}, "accounting_fqan: must be a VOMS name"),
    ({"gocdb_sitename": "A site"}, "gocdb_sitename: must be the site's name in GOCDB"),
    ({"gocdb_sitename": "A,B"}, "gocdb_sitename: must be the site's name in GOCDB"),
    ({"hs06": float("nan")}, "hs06: must be a number"),
    ({"hs06": "10"}, "hs06: must be a number"),
    ({"job_lease_duration": 19}, "job_lease_duration: must be"),
    ({"vnc": "yes"}, "vnc: must be true or false"),
    ({"vnc": 1}, "vnc: must be true or false"),
    ({"submit_file": "x.sub"}, "submit_file: must be an absolute path"),
    (
        {"root_public_key": "/other/user_data"},
        "root_public_key: the file name user_data is already that of user_data",
    ),
    (
        {"user_data_files": {"a": "/x/atlas.json"}},
        "user_data_files.a: the file name atlas.json is already that of",
    ),
    ({"user_data": "/x/joboutputs"}, "user_data: the file name joboutputs is reserved"),
    ({"user_data": "/x/.job.ad"}, "user_data: the file name .job.ad is reserved"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message[:50] for _, message in WRONG])
def test_a_wrong_value_is_refused_with_its_key_and_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error_info:
        make(**changes)
    error = str(error_info.value)
    assert error.startswith(f"test.json: {message}")
    assert "\n" not in error


@pytest.mark.parametrize("key", sorted(MINIMAL))
def test_a_missing_key_is_named(key: str) -> None:
    data = {name: value for name, value in MINIMAL.items() if name != key}
    with pytest.raises(UsageError, match=rf"^test\.json: {key}: missing; add it$"):
        Machinetype.from_mapping(data, "test.json")


@pytest.mark.parametrize("data", [None, [], "x", 1])
def test_only_an_object_is_a_machinetype(data: object) -> None:
    with pytest.raises(UsageError, match=r"^test\.json: must hold one JSON object"):
        Machinetype.from_mapping(data, "test.json")


JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(CHECKS)), JSON_VALUE, max_size=5))
def test_no_value_passes_unchecked_or_breaks_the_checks(changes: dict[str, Any]) -> None:
    try:
        machinetype = make(**changes)
    except UsageError as error:
        message = str(error)
        assert message.startswith("test.json: ")
        assert message.isprintable()
    else:
        assert Machinetype.from_mapping(machinetype.to_mapping(), "x") == machinetype


def test_the_same_file_may_be_used_twice() -> None:
    machinetype = make(user_data_files={"a": "/x/key", "b": "/x/key"})
    assert machinetype.input_files() == {
        "user_data": MINIMAL["user_data"],
        "user_data_files.a": "/x/key",
        "user_data_files.b": "/x/key",
    }


def test_load_reads_the_file_and_names_it_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "atlas.json"
    path.write_text(json.dumps(FULL))
    assert load(str(path)).to_mapping() == FULL
    for text, message in [
        ("{", "not valid JSON"),
        ('{"name": "a", "name": "b"}', "key 'name' is given twice"),
        ('{"hs06": NaN}', "NaN is not a number"),
        ("\udcff", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("1" * (1 << 21), "larger than"),
        ('{"name": "UPPER"}', "kind: missing"),
    ]:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(UsageError) as error_info:
            load(str(path))
        assert str(error_info.value).startswith(f"{path}: ")
        assert message in str(error_info.value)
    with pytest.raises(UsageError, match=r"absent\.json: cannot read"):
        load(str(tmp_path / "absent.json"))


def test_command_reports_what_is_wrong_with_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(MINIMAL))
    bad.write_text(json.dumps({**MINIMAL, "max_idel": 3}))
    assert main(["machinetype", str(good)]) == 0
    assert "atlas is good" in capsys.readouterr().out
    assert main(["machinetype", "--json", str(good)]) == 0
    assert json.loads(capsys.readouterr().out)[0]["image_format"] == "iso"
    assert main(["machinetype", str(good), str(bad)]) == 2
    captured = capsys.readouterr()
    assert "max_idel" in captured.err
    assert "good" not in captured.out


def test_command_shows_every_fault_of_every_file_and_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "good": {},
        "keys": {"max_idel": 3, "cycle_seconds": 0, "vnc": "yes", "user_data_options": {"bad name": "sesame"}},
        "together": {"max_idle": 9, "max_machines": 3},
        "described": {"requirements": "$(X)"},
    }
    paths = {name: tmp_path / f"{name}.json" for name in changes}
    for name, path in paths.items():
        path.write_text(json.dumps({**MINIMAL, **changes[name]}))
    (tmp_path / "broken.json").write_text("{")
    assert main(["machinetype", "--faults", *map(str, paths.values()), str(tmp_path / "broken.json")]) == 0
    output = capsys.readouterr().out
    assert "sesame" not in output
    found = {Path(path).stem: [line.partition(": ")[0] for line in lines] for path, lines in json.loads(output).items()}
    assert found == {
        "good": [],
        "keys": ["'max_idel'", "cycle_seconds", "vnc", "user_data_options"],
        "together": ["max_idle"],
        "described": ["requirements"],
        "broken": ["not valid JSON"],
    }
