# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates in the forms that experiments use, rendered; what must come out is in a file beside each."""

from __future__ import annotations

import email
from pathlib import Path

import pytest

from condor_vac.cli import dispatch
from condor_vac.model.user_data import Values, render
from tests.unit.webserver import reply, web_server

HERE = Path(__file__).with_name("user_data")
FORMS = sorted(path.stem for path in HERE.glob("*.template"))
KEY = b"-----BEGIN PRIVATE KEY-----\nMIIB+/=\n-----END PRIVATE KEY-----\n"
VALUES = Values(
    {
        "space": b"vac.example.org",
        "machinetype": b"lhcb",
        "machine_hostname": b"vm-02.vac.internal",
        "manager_version": b"condor_vac-0.1.0",
        "manager_hostname": b"wn7.example.org",
        "uuid": b"0f8fad5b-d9cb-469f-a165-70867728950e",
        "machinefeatures_url": b"http://169.254.169.253/machinefeatures",
        "jobfeatures_url": b"http://169.254.169.253/jobfeatures",
        "joboutputs_url": b"http://169.254.169.253/joboutputs",
    },
    {"cvmfs_proxy": b"http://squid1.example.org:3128|http://squid2.example.org:3128;DIRECT"},
    {"hostkey": KEY, "x509_proxy": KEY},
)


def test_all_forms_are_there() -> None:
    assert FORMS == ["amiconfig", "cloud_config", "mime"]


@pytest.mark.parametrize("form", FORMS)
def test_a_template_gives_exactly_this(form: str) -> None:
    rendered = render(HERE.joinpath(f"{form}.template").read_bytes(), VALUES)
    assert rendered.data == HERE.joinpath(f"{form}.golden").read_bytes()


def test_the_parts_of_a_multipart_template_stay_what_they_are() -> None:
    rendered = render(HERE.joinpath("mime.template").read_bytes(), VALUES).data
    message = email.message_from_bytes(rendered)
    parts = [part.get_content_type() for part in message.walk()][1:]
    assert parts == ["text/cloud-config", "text/ucernvm", "text/x-shellscript"]
    script = str(message.get_payload(2).get_payload())  # type: ignore[union-attr]
    assert "## not a placeholder ##  ##OTHER_TOKEN##" in script
    assert "JOB_ID='vac.example.org:0f8fad5b-d9cb-469f-a165-70867728950e'" in script
    assert "[ -n '' ] || echo ''" in script


def test_the_command_takes_a_template_from_the_web(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with web_server() as web:
        web.routes["/t"] = reply(b"##user_data_url## ##user_data_uuid##")
        assert dispatch.main(["render-user-data", f"{web.url}/t", "--set", "uuid=1"]) == 0
        assert capfdbinary.readouterr().out == f"{web.url}/t 1".encode()
        assert dispatch.main(["render-user-data", f"{web.url}/gone"]) == 2
        assert b"404" in capfdbinary.readouterr().err
