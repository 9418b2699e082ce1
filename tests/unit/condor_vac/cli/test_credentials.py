# SPDX-License-Identifier: GPL-3.0-or-later
"""When certificates end, those of images' CAs and of VMs' proxies among them, by real certificates."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from condor_vac.base import tools
from condor_vac.image.store import Record
from condor_vac.worker.checks import credentials
from condor_vac.worker.checks.credentials import Credential
from condor_vac.worker.checks.node import Node
from tests.unit.condor_vac.standins import machinetype
from tests.unit.grid import Authority

DAY = 86400
IMAGES = "/var/lib/condor_vac/images"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "grid")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """An access point and worker node without tokens."""
    for name in ("etc/condor_vac/machinetypes", "etc/grid", f"{IMAGES[1:]}/.versions"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/condor_vac/worker.json").write_text("{}")
    run = tools.run
    monkeypatch.setattr(tools, "run", lambda argv, **words: "" if "condor" in argv[0] else run(argv, **words))
    return Node(str(tmp_path))


def image(node: Node, authority: Authority, ca: str) -> None:
    record = Record("cernvm.iso", "http://x/cernvm.iso", "0" * 64, 1, 5, signing_dn="cern", ca=ca)
    versions = Path(node.path(IMAGES)) / ".versions"
    (versions / "cernvm.iso.json").write_text(json.dumps(record._asdict()))
    (versions / record.version).write_bytes(authority.sign(b"image"))


@pytest.mark.parametrize("hashed", [False, True])
def test_the_ca_of_an_images_signer(node: Node, authority: Authority, hashed: bool) -> None:
    place = Path(node.path("/etc/grid"))
    path = f"/etc/grid/{next(iter(Path(authority.directory()).iterdir())).name}" if hashed else "/etc/grid/ca.pem"
    Path(node.path(path)).write_bytes(authority.ca.read_bytes())
    (place / "notes.txt").write_text("no certificate")
    image(node, authority, "/etc/grid" if hashed else path)
    found, unknown = credentials.of_machine(node)
    assert ([(one.kind, one.path, one.fault) for one in found], unknown) == ([("signing_ca", path, None)], [])
    assert found[0].ends == pytest.approx(time.time() + 3650 * DAY, abs=DAY)
    Path(node.path(path)).write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    (wrong,) = credentials.signing_cas(node)
    assert "the CA of cernvm.iso's signer cannot be read" in wrong.what


def test_an_image_store_that_cannot_be_read_costs_no_other_credential(node: Node, authority: Authority) -> None:
    versions = Path(node.path(IMAGES)) / ".versions"
    versions.rmdir()
    versions.write_text("in its place")
    certificate, _key = authority.issue("site", "/DC=org/CN=site", days=100)
    Path(node.path("/etc/grid/site.pem")).write_bytes(certificate.read_bytes())
    keys = {"user_data_proxy": True, "user_data_proxy_cert": "/etc/grid/site.pem", "user_data_proxy_key": "/k.pem"}
    Path(node.path("/etc/condor_vac/machinetypes/atlas.json")).write_text(
        json.dumps(machinetype(name="atlas", **keys).to_mapping())
    )
    found, (unknown,) = credentials.of_machine(node)
    assert [one.path for one in found] == ["/etc/grid/site.pem"]
    assert unknown.endswith(f"{IMAGES}/.versions: cannot be read: Not a directory; check its disk and its owner")


@pytest.mark.parametrize(("days", "text", "later"), [
    (100, None, False), (20, "expires in 20 days", True), (-1, "has expired", False),
])  # fmt: skip
def test_the_certificate_of_vms_proxies(
    node: Node, authority: Authority, days: int, text: str | None, later: bool
) -> None:
    certificate, _key = authority.issue("site", "/DC=org/CN=site", days=days)
    Path(node.path("/etc/grid/site.pem")).write_bytes(certificate.read_bytes())
    keys = {"user_data_proxy": True, "user_data_proxy_cert": "/etc/grid/site.pem", "user_data_proxy_key": "/k.pem"}
    for name in ("atlas", "lhcb"):
        m = machinetype(name=name, **keys)
        Path(node.path(f"/etc/condor_vac/machinetypes/{name}.json")).write_text(json.dumps(m.to_mapping()))
    Path(node.path("/etc/condor_vac/machinetypes/wrong.json")).write_text("{")
    found = credentials.proxy_certificates(node)
    assert [one.later for one in found] == ([later] if text else [])
    for one in found:
        assert text is not None
        assert f"the certificate for VMs' proxies /etc/grid/site.pem {text}" in one.what
        assert "atlas, lhcb" in one.remedy


def test_thirty_days_are_soon() -> None:
    now = time.time()
    cases = [Credential("token", "/t", now + days * DAY, None, "renew") for days in (31, 29)]
    (found,) = credentials.findings([*cases, Credential("token", "/t", None, None, "renew")])
    assert "expires in 29 days" in found.what
