# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxies for VMs: what openssl reports about them, and what is refused."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.cli import dispatch
from condor_vac.factory import proxy, submit_description
from condor_vac.model.machinetype import PROXY_NAME, Machinetype
from condor_vac.worker.vm import user_proxy
from tests.unit.grid import Authority, openssl

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow

HOST = "/DC=org/DC=site/OU=hosts/CN=vac01.site.example"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "grid")


@pytest.fixture(scope="module")
def host(authority: Authority) -> tuple[str, str]:
    """Certificate and key files of a site, for 30 days."""
    certificate, key = authority.issue("host", HOST)
    key.chmod(0o640)
    return str(certificate), str(key)


@pytest.fixture
def own_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def kind(host: tuple[str, str], **keys: Any) -> Machinetype:
    described = {
        "name": "atlas",
        "owner": "vac",
        "kind": "cernvm",
        "image": "/i/vm.iso",
        "user_data": "/u/data",
        "user_data_proxy": True,
        "user_data_proxy_cert": host[0],
        "user_data_proxy_key": host[1],
        **keys,
    }
    return Machinetype.from_mapping(described, "test")


def verify(authority: Authority, pem: Path, *options: str) -> str:
    """What openssl reports about the chain in a proxy file, whose first certificate it checks."""
    chain = ["-CAfile", str(authority.ca), "-untrusted", str(pem)]
    return openssl("verify", "-allow_proxy_certs", *options, *chain, str(pem)).decode()


def text(pem: Path) -> str:
    return openssl("x509", "-in", str(pem), "-noout", "-text").decode()


def test_openssl_takes_it_for_a_limited_proxy(tmp_path: Path, authority: Authority, host: tuple[str, str]) -> None:
    now = time.time()
    made = proxy.make(proxy.load(*host), now, now + 86400)
    file = tmp_path / "p.pem"
    file.write_bytes(made.pem)
    assert verify(authority, file).strip().endswith("OK")
    shown = text(file)
    assert re.search(r"Proxy Certificate Information: critical\s+Path Length Constraint: infinite", shown)
    assert "Policy Language: 1.3.6.1.4.1.3536.1.1.1.9" in shown
    assert re.search(r"X509v3 Key Usage: critical\s+Digital Signature, Key Encipherment\n", shown)
    assert "Public-Key: (2048 bit)" in shown
    assert "sha256WithRSAEncryption" in shown
    assert "CA:" not in shown
    subject = openssl("x509", "-in", str(file), "-noout", "-subject", "-nameopt", "compat").decode()
    assert re.search(re.escape(HOST) + r"/CN=[0-9]+$", subject.strip())
    issuer = openssl("x509", "-in", str(file), "-noout", "-issuer", "-nameopt", "compat").decode().strip()
    assert issuer.endswith(HOST)
    assert made.subject == subject.strip().partition("=")[2].strip()


def test_its_key_fits_and_its_parts_are_in_the_order_of_proxies(tmp_path: Path, host: tuple[str, str]) -> None:
    now = time.time()
    made = proxy.make(proxy.load(*host), now, now + 600)
    kinds = re.findall(r"-----BEGIN ([A-Z ]+)-----", made.pem.decode())
    assert kinds == ["CERTIFICATE", "RSA PRIVATE KEY", "CERTIFICATE"]
    file = tmp_path / "p.pem"
    file.write_bytes(made.pem)
    public = openssl("x509", "-in", str(file), "-noout", "-pubkey")
    assert openssl("pkey", "-in", str(file), "-pubout") == public
    assert Path(host[1]).read_bytes().splitlines()[1] not in made.pem, "the site's key stays at home"


def test_two_proxies_have_two_keys_and_two_names(host: tuple[str, str]) -> None:
    now = time.time()
    one, two = (proxy.make(proxy.load(*host), now, now + 600) for _ in range(2))
    assert one.subject != two.subject
    assert not set(one.pem.split(b"RSA PRIVATE KEY-----")[1].splitlines()[1:]) & set(two.pem.splitlines()[3:20])


@pytest.mark.parametrize("seconds", [60, 86400, 29 * 86400])
def test_it_lasts_as_long_as_was_asked(
    tmp_path: Path, authority: Authority, host: tuple[str, str], seconds: int
) -> None:
    now = time.time()
    file = tmp_path / "p.pem"
    file.write_bytes(proxy.make(proxy.load(*host), now, now + seconds).pem)
    inside, outside = int(now + seconds - 2), int(now + seconds + 2)
    assert verify(authority, file, "-attime", str(inside)).strip().endswith("OK")
    with pytest.raises(AssertionError, match="expired"):
        verify(authority, file, "-attime", str(outside))


def test_a_certificate_that_ends_earlier_gives_none(host: tuple[str, str]) -> None:
    credential = proxy.load(*host)
    now = time.time()
    with pytest.raises(VacError, match=r"ends 20.*before a proxy of it may.*; renew it"):
        proxy.make(credential, now, credential.ends + 1)
    proxy.make(credential, now, credential.ends)


def test_a_proxy_of_a_proxy(tmp_path: Path, authority: Authority, host: tuple[str, str]) -> None:
    now = time.time()
    parent, child = tmp_path / "parent.pem", tmp_path / "child.pem"
    parent.write_bytes(proxy.make(proxy.load(*host), now, now + 7200).pem)
    parent.chmod(0o600)
    credential = proxy.load(str(parent), str(parent))
    child.write_bytes(proxy.make(credential, now, now + 3600).pem)
    assert child.read_text().count("BEGIN CERTIFICATE") == 3
    assert verify(authority, child).strip().endswith("OK")
    with pytest.raises(VacError, match="renew it"):
        proxy.make(credential, now, now + 7300)


def test_a_proxy_that_allows_no_other(tmp_path: Path, authority: Authority, host: tuple[str, str]) -> None:
    extension = "proxyCertInfo=critical,language:1.3.6.1.4.1.3536.1.1.1.9,pathlen:%d\n"
    for length in (0, 1):
        request, pem = tmp_path / f"{length}.csr", tmp_path / f"{length}.pem"
        (tmp_path / "ext").write_text("keyUsage=critical,digitalSignature\n" + extension % length)
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"{HOST}/CN={length}", "-out", str(request),
                "-keyout", f"{pem}.key")  # fmt: skip
        openssl("x509", "-req", "-in", str(request), "-CA", host[0], "-CAkey", host[1], "-CAcreateserial",
                "-days", "2", "-extfile", str(tmp_path / "ext"), "-out", str(pem))  # fmt: skip
        pem.write_bytes(pem.read_bytes() + Path(host[0]).read_bytes())
        if length:
            made = proxy.make(proxy.load(str(pem), f"{pem}.key"), time.time(), time.time() + 600)
            (tmp_path / "child").write_bytes(made.pem)
            assert verify(authority, tmp_path / "child").strip().endswith("OK")
        else:
            with pytest.raises(VacError, match="allows no further"):
                proxy.load(str(pem), f"{pem}.key")


def test_what_is_not_a_credential(tmp_path: Path, authority: Authority, host: tuple[str, str]) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "broken").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (tmp_path / "broken.key").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    locked = tmp_path / "locked.key"
    openssl("rsa", "-aes128", "-passout", "pass:secret", "-in", host[1], "-out", str(locked))
    nosign = authority.issue("nosign", "/CN=x", extensions="keyUsage=critical,keyEncipherment\n")
    for made in (
        tmp_path / "broken.key",
        tmp_path / "empty",
        locked,
        nosign[1],
        authority.base / "ca.key",
        authority.key,
    ):
        made.chmod(0o600)
    wrong = {
        "holds no certificate": (tmp_path / "empty", host[1]),
        "cannot be read": (tmp_path / "broken", host[1]),
        "without a passphrase": (host[0], locked),
        "holds no private key": (host[0], tmp_path / "broken.key"),
        "is not the key of": (host[0], authority.key),
        "is a CA": (authority.ca, authority.base / "ca.key"),
        "no signatures": nosign,
        "No such file": (host[0], tmp_path / "missing"),
    }
    for printed, (certificate, key) in wrong.items():
        with pytest.raises(VacError, match=printed) as caught:
            proxy.load(str(certificate), str(key))
        assert "\n" not in str(caught.value)
        assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize(("mode", "good"), [(0o600, True), (0o640, True), (0o644, False), (0o604, False)])
def test_a_key_that_everybody_can_read_is_refused(tmp_path: Path, host: tuple[str, str], mode: int, good: bool) -> None:
    key = tmp_path / "key"
    key.write_bytes(Path(host[1]).read_bytes())
    key.chmod(mode)
    if good:
        proxy.load(host[0], str(key))
    else:
        with pytest.raises(VacError, match="every user of this machine can read the key; chmod o-r"):
            proxy.load(host[0], str(key))


@pytest.mark.usefixtures("own_umask")
def test_a_waiting_vms_proxy_is_renewed_in_time(tmp_path: Path, authority: Authority, host: tuple[str, str]) -> None:
    m = kind(host, max_wallclock_seconds=7200)
    credential = proxy.of_machinetype(m)
    assert credential is not None
    now = time.time()
    file = tmp_path / PROXY_NAME
    assert proxy.renew(credential, str(tmp_path), m, now)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    first = file.read_bytes()
    assert not proxy.renew(credential, str(tmp_path), m, now + proxy.SPARE_SECONDS / 2 - 60)
    later = now + proxy.SPARE_SECONDS / 2 + 60
    user_proxy.check_lifetime(first, m, later)
    assert proxy.renew(credential, str(tmp_path), m, later)
    assert file.read_bytes() != first
    user_proxy.check_lifetime(file.read_bytes(), m, later + proxy.SPARE_SECONDS / 2)
    with pytest.raises(VacError, match="before this VM may"):
        user_proxy.check_lifetime(first, m, now + proxy.SPARE_SECONDS + 10)
    assert verify(authority, file, "-attime", str(int(later))).strip().endswith("OK")
    proxy.remove(str(tmp_path))
    proxy.remove(str(tmp_path))
    assert not file.exists()


@pytest.mark.parametrize("pem", [b"", b"x" * 100, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_came_with_a_job_may_be_no_proxy(host: tuple[str, str], pem: bytes) -> None:
    with pytest.raises(VacError, match="holds no certificate"):
        user_proxy.check_lifetime(pem, kind(host), time.time())


def test_keys_that_belong_together(host: tuple[str, str]) -> None:
    for keys, printed in (
        ({"user_data_proxy_key": None}, "user_data_proxy: needs user_data_proxy_cert and"),
        ({"user_data": f"/u/{PROXY_NAME}"}, "reserved"),
        ({"user_data_proxy": "limited"}, "user_data_proxy: must be true or false"),
    ):
        with pytest.raises(UsageError, match=printed):
            kind(host, **keys)


def test_the_job_transfers_it_encrypted_and_does_not_show_it(tmp_path: Path, host: tuple[str, str]) -> None:
    commands = submit_description.describe(kind(host))
    assert commands["transfer_input_files"].split(",")[-1] == PROXY_NAME
    assert commands["encrypt_input_files"] == PROXY_NAME
    assert not any(
        "proxy" in value
        for key, value in commands.items()
        if key not in {"transfer_input_files", "encrypt_input_files"}
    )
    own = tmp_path / "own.sub"
    own.write_text("universe = vm\nexecutable = x\ntransfer_input_files = a, /b\n")
    own_files = submit_description.describe(kind(host, submit_file=str(own)))["transfer_input_files"]
    assert own_files == f"{tmp_path}/a,/b,{PROXY_NAME}"
    assert "encrypt_input_files" not in submit_description.describe(kind(host, user_data_proxy=False))


def test_the_command(
    tmp_path: Path, authority: Authority, host: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "atlas.json", tmp_path / "out.pem"
    file.write_text(json.dumps(kind(host, max_wallclock_seconds=5000).to_mapping()))
    assert dispatch.main(["proxy", str(file), "--json", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    shown = json.loads(printed)
    assert shown["subject"].startswith(HOST)
    assert shown["bits"] == 2048
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert verify(authority, out).strip().endswith("OK")
    assert "KEY" not in printed
    file.write_text(json.dumps(kind(host, max_wallclock_seconds=40 * 86400).to_mapping()))
    assert dispatch.main(["proxy", str(file)]) == 1
    assert "renew it" in capsys.readouterr().err
    file.write_text(json.dumps(kind(host, user_data_proxy=False).to_mapping()))
    assert dispatch.main(["proxy", str(file)]) == 2
