# SPDX-License-Identifier: GPL-3.0-or-later
"""User data: every placeholder of the platform, and not one other byte."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condor_vac.base.errors import UsageError, VacError
from condor_vac.cli import dispatch
from condor_vac.cli.render_user_data import parse_settings
from condor_vac.model import user_data
from condor_vac.model.user_data import ALIASES, NAMES, Values, render


def _all_values() -> dict[str, bytes]:
    return {name: f"<{name} {number}>".encode() for number, name in enumerate(NAMES)}


SPELLINGS = {
    "space": ["space"],
    "site": ["site"],
    "url": ["url"],
    "machinetype": ["machinetype", "vmtype"],
    "machine_hostname": ["machine_hostname", "vm_hostname"],
    "manager_version": ["manager_version", "vmlm_version"],
    "manager_hostname": ["manager_hostname", "vmlm_hostname"],
    "uuid": ["uuid"],
    "machinefeatures_url": ["machinefeatures_url", "manager_machinefeatures_url"],
    "jobfeatures_url": ["jobfeatures_url", "manager_jobfeatures_url"],
    "joboutputs_url": ["joboutputs_url", "manager_joboutputs_url"],
    "root_image_url": ["root_image_url"],
    "heartbeat_machines_url": ["heartbeat_machines_url"],
}


@pytest.mark.parametrize(("key", "name"), [(key, name) for key, names in SPELLINGS.items() for name in names])
def test_every_name_in_every_spelling_is_replaced(key: str, name: str) -> None:
    values = _all_values()
    template = b"a##user_data_%s##b" % name.encode()
    rendered = render(template, Values(values))
    assert rendered.data == b"a" + values[key] + b"b"
    assert rendered.used == (name,)
    assert render(template, Values()) == user_data.Rendered(b"ab", (), (), (name,))


def test_a_file_fills_the_option_of_its_name_unless_the_option_is_set() -> None:
    template = b"##user_data_option_key##|##user_data_file_key##|##user_data_option_x509_proxy##"
    files = Values(files={"key": b"FILE\n"}, options={"x509_proxy": b"PEM"})
    assert render(template, files).data == b"FILE\n|FILE\n|PEM"
    both = Values(files={"key": b"FILE"}, options={"key": b"OPTION"})
    assert render(template, both).data == b"OPTION|FILE|"


def test_values_are_inserted_verbatim_and_never_scanned_again() -> None:
    hostile = rb"\1 \g<0> $1 ##user_data_uuid## & ##user_data_option_b##"
    template = b"##user_data_option_a##-##user_data_uuid##"
    rendered = render(template, Values({"uuid": b"U"}, {"a": hostile, "b": b"B"}))
    assert rendered.data == hostile + b"-U"


def test_values_do_not_make_placeholders_with_what_stands_beside_them() -> None:
    template = b"##user_##user_data_option_a##uuid##"
    assert render(template, Values({"uuid": b"U"}, {"a": b"data_"})).data == b"##user_data_uuid##"


def test_a_placeholder_with_a_value_wins_over_one_to_be_blanked_that_shares_its_marks() -> None:
    rendered = render(b"##user_data_nothing##user_data_uuid##", Values({"uuid": b"U"}))
    assert rendered.data == b"##user_data_nothingU"
    assert rendered.used == ("uuid",)


def test_leftovers_are_blanked_and_other_marks_survive() -> None:
    template = b"## ##FOO## ###user_data_nothing### ##user_data_a,b## ##user_data_##"
    rendered = render(template + b" ##user_data_no-name## ####\r\n", Values())
    assert rendered.data == b"## ##FOO## ##   ##user_data_no-name## ####\r\n"
    assert rendered.unknown == ("nothing", "a,b", "")


def test_placeholders_are_listed_once_in_order() -> None:
    template = b"##user_data_option_b## ##user_data_zz## ##user_data_uuid## ##user_data_site## ##user_data_zz##"
    rendered = render(template + template, Values({"uuid": b""}))
    assert rendered.used == ("uuid",)
    assert rendered.unset == ("option_b", "site")
    assert rendered.unknown == ("zz",)


def test_mime_multipart_keeps_its_bytes() -> None:
    template = (
        b"From nobody Mon Jan  1 00:00:00 2018\r\n"
        b"Content-Type: multipart/mixed; boundary=\"==##=1==\"\r\n\r\n--==##=1==\r\n"
        b"Content-Type: text/cloud-config\r\n\r\n#cloud-config\n# \xff\xfe\x00 ##user_data_space##\n"
        b"--==##=1==\r\nContent-Type: text/ucernvm\r\n\r\n[ucernvm-begin]\ncvmfs_http_proxy="
        b"'##user_data_option_cvmfs_proxy##'\n[ucernvm-end]\r\n--==##=1==--\r\n"
    )  # fmt: skip
    values = Values({"space": b"vac.example.org"}, {"cvmfs_proxy": b"http://a:3128|http://b:3128;DIRECT"})
    expected = template.replace(b"##user_data_space##", b"vac.example.org").replace(
        b"##user_data_option_cvmfs_proxy##", b"http://a:3128|http://b:3128;DIRECT"
    )
    assert render(template, values).data == expected


LITERAL = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"#", b"##", b"###", b"\r\n", b"##user_data", b"##user-data_a##", b"##FOO##", b"user_data_"]),
)
NAME = st.sampled_from([*NAMES, *ALIASES, "option_a", "file_a", "option_missing", "nothing", ""])


@given(st.lists(st.tuples(LITERAL, NAME), max_size=12), LITERAL, st.binary(max_size=30))
def test_no_other_byte_changes(pieces: list[tuple[bytes, str]], end: bytes, value: bytes) -> None:
    values = Values({**_all_values(), "uuid": value}, {"a": value}, {"a": b"contents"})
    by_name = {name.encode(): text for name, text in values.by_placeholder().items()}
    # A literal may not complete a placeholder by chance; what is left is then literal by definition.
    template = b"".join(_closed(literal) + b"##user_data_%s##" % name.encode() for literal, name in pieces)
    expected = b"".join(_closed(literal) + by_name.get(name.encode(), b"") for literal, name in pieces)
    assert render(template + _closed(end), values).data == expected + _closed(end)


def _closed(literal: bytes) -> bytes:
    """The literal without anything that is, or could become with its neighbours, part of a placeholder."""
    return re.sub(rb"##user_data_[A-Za-z0-9_,]*(##|#?\Z)", b"", literal) + b"\n"


@given(st.binary(max_size=300).filter(lambda template: b"##user_data_" not in template))
def test_a_template_without_placeholders_is_returned_as_it_is(template: bytes) -> None:
    assert render(template, Values(_all_values(), {"a": b"x"}, {"b": b"y"})).data == template


PARTS = [b"##", b"user_data_", b"uuid", b"nothing", b"#", b"##user_data_uuid##"]


@given(st.lists(st.sampled_from(PARTS), max_size=14))
def test_marks_that_overlap_are_read_as_vac_reads_them(parts: list[bytes]) -> None:
    template = b"".join(parts)
    replaced = template.replace(b"##user_data_uuid##", b"\x00")
    expected = re.sub(rb"##user_data_[A-Za-z0-9_,]*##", b"", replaced)
    assert render(template, Values({"uuid": b"\x00"})).data == expected


def test_a_result_that_grows_without_end_is_refused() -> None:
    values = Values(options={"a": b"x" * 100_000})
    with pytest.raises(VacError, match="over 16777216 bytes"):
        render(b"##user_data_option_a##" * 1000, values)


def test_an_unknown_platform_value_is_refused() -> None:
    with pytest.raises(UsageError, match="'uid': unknown name"):
        render(b"", Values({"uid": b"1"}))


def test_command_prints_the_bytes(capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.write_bytes(b"\xff##user_data_uuid##\r\n##user_data_file_hostkey####user_data_vmtype##")
    (tmp_path / "key").write_bytes(b"KEY\x00\n")
    argv = ["render-user-data", str(template), "--set", "uuid=a=b", "--set", f"file_hostkey=@{tmp_path}/key"]
    assert dispatch.main([*argv, "--set", "machinetype=atlas"]) == 0
    assert capfdbinary.readouterr().out == b"\xffa=b\r\nKEY\x00\natlas"


def test_command_lists_placeholders(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    template = tmp_path / "template"
    template.write_bytes(b"##user_data_uuid## ##user_data_site## ##user_data_other##")
    argv = ["render-user-data", str(template), "--set", "uuid=1"]
    assert dispatch.main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"used": ["uuid"], "unset": ["site"], "unknown": ["other"]}
    assert dispatch.main([*argv, "--list"]) == 0
    assert capsys.readouterr().out.split() == ["used", "uuid", "unset", "site", "unknown", "other"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("uuid", "write NAME=VALUE"),
        ("uid=1", "--set uid: unknown"),
        ("option_=1", "--set option_: unknown"),
        ("file_key=text", "write file_key=@PATH"),
        ("file_key=@/nowhere", "/nowhere: cannot read"),
    ],
)
def test_command_refuses_wrong_settings(
    setting: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "template").touch()
    assert dispatch.main(["render-user-data", str(tmp_path / "template"), "--set", setting]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_settings_take_old_spellings() -> None:
    values = parse_settings(["vmtype=t", "manager_joboutputs_url=http://x", "option_a=", "uuid=\udcff"])
    assert values.platform == {"machinetype": b"t", "joboutputs_url": b"http://x", "uuid": b"\xff"}
    assert values.options == {"a": b""}


@pytest.mark.parametrize("template", ["", "\n", " \t\r\n"])
def test_an_empty_template_is_refused_by_every_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], template: str
) -> None:
    """The preview, the check before a deployment and the factory's copy of a URL judge alike."""
    path, kind = tmp_path / "template", tmp_path / "x.json"
    path.write_text(template)
    keys = {"name": "x", "kind": "cernvm", "image": "/i/vm.iso", "owner": "vac", "user_data": str(path)}
    kind.write_text(json.dumps(keys))
    for words in (["render-user-data", str(path)], ["machinetype", str(kind)]):
        assert dispatch.main(words) == 2
        assert "the template is empty" in capsys.readouterr().err
    path.write_text("#!/bin/sh\n")
    for words in (["render-user-data", str(path)], ["machinetype", str(kind)]):
        assert dispatch.main(words) == 0
