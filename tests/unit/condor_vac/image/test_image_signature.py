# SPDX-License-Identifier: GPL-3.0-or-later
"""CernVM signatures, made with openssl by the steps of cernvm-micro's sign.sh."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from condor_vac.base.errors import UsageError, VacError
from condor_vac.cli import dispatch
from condor_vac.image import fetch as image_fetch
from condor_vac.image import signature
from condor_vac.image.signature import BLOCK_BYTES, SignatureError
from tests.unit.grid import Authority, openssl

# Many cases, or cases that wait: too much for `make check`.
pytestmark = pytest.mark.slow

DN = "/DC=ch/DC=cern/OU=computers/CN=cvm-sign01.cern.ch"
PATTERN = r"/CN=cvm-sign01\.cern\.ch$"


def image(seed: int, size: int = 100_000) -> bytes:
    return random.Random(seed).randbytes(size)


def verify(path: Path, data: bytes, pattern: str, ca: str) -> str:
    path.write_bytes(data)
    block, digest = image_fetch.signed_parts(str(path))
    return signature.verify(block, digest, pattern, ca)


@pytest.mark.parametrize("broken", [False, True], ids=["JSON", "JSON that lacks commas"])
@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, (1 << 20) + 17])
def test_a_signed_image_is_accepted(tmp_path: Path, authority: Authority, size: int, broken: bool) -> None:
    signed = authority.sign(image(size, size), broken=broken)
    assert verify(tmp_path / "i", signed, PATTERN, authority.directory()) == DN
    assert verify(tmp_path / "i", signed, "", str(authority.ca)) == DN


@pytest.mark.parametrize("place", [0, 50_000, 99_999])
def test_a_changed_byte_is_noticed(tmp_path: Path, authority: Authority, place: int) -> None:
    signed = bytearray(authority.sign(image(2)))
    signed[place] ^= 1
    with pytest.raises(SignatureError, match="does not fit its contents"):
        verify(tmp_path / "i", bytes(signed), PATTERN, authority.directory())


def test_an_appended_or_lost_byte_is_noticed(tmp_path: Path, authority: Authority) -> None:
    signed = authority.sign(image(3))
    for other in (b"x" + signed, signed[1:], signed[:50_000] + signed[50_001:]):
        with pytest.raises(SignatureError, match="does not fit"):
            verify(tmp_path / "i", other, PATTERN, authority.directory())


@pytest.mark.parametrize(
    "data",
    [b"", b"short", image(4), image(5) + b"\0" * BLOCK_BYTES],
    ids=["empty", "short", "image", "empty block"],
)
def test_an_unsigned_image_is_refused(tmp_path: Path, authority: Authority, data: bytes) -> None:
    with pytest.raises(SignatureError, match="not signed"):
        verify(tmp_path / "i", data, PATTERN, authority.directory())


def test_two_certificates_are_none(tmp_path: Path, authority: Authority) -> None:
    signed = authority.sign(image(6))
    body, block = signed[:-BLOCK_BYTES], signed[-BLOCK_BYTES:].rstrip(b"\0")
    with pytest.raises(SignatureError, match="hold 2 certificate"):
        verify(tmp_path / "i", body + (block + block).ljust(BLOCK_BYTES, b"\0"), PATTERN, authority.directory())


def test_another_signer_is_refused(tmp_path: Path, authority: Authority) -> None:
    other = authority.issue("mallory", "/DC=ch/DC=cern/OU=computers/CN=mallory.cern.ch")
    with pytest.raises(SignatureError, match=r"mallory\.cern\.ch, which does not match"):
        verify(tmp_path / "i", authority.sign(image(7), *other), PATTERN, authority.directory())


def test_a_slash_in_a_name_makes_no_attribute(tmp_path: Path, authority: Authority) -> None:
    other = authority.issue("slash", r"/DC=org/CN=x\/CN=cvm-sign01.cern.ch")
    with pytest.raises(SignatureError, match="does not match"):
        verify(tmp_path / "i", authority.sign(image(8), *other), PATTERN, authority.directory())


def test_a_ca_of_somebody_else_is_refused(tmp_path: Path, authority: Authority) -> None:
    foreign = Authority(tmp_path / "foreign")
    with pytest.raises(SignatureError, match="is not trusted by"):
        verify(tmp_path / "i", foreign.sign(image(9)), PATTERN, authority.directory())


def test_the_systems_cas_do_not_count(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(SignatureError, match="not trusted"):
        verify(tmp_path / "i", authority.sign(image(9)), PATTERN, str(tmp_path / "none"))
    with pytest.raises(VacError, match="no such CA"):
        verify(tmp_path / "i", authority.sign(image(9)), PATTERN, str(tmp_path / "missing"))


def test_a_short_key_is_refused(tmp_path: Path, authority: Authority) -> None:
    weak = authority.issue("weak", DN, bits=1024)
    with pytest.raises(SignatureError, match="2048"):
        verify(tmp_path / "i", authority.sign(image(10), *weak), PATTERN, authority.directory())


def test_a_key_of_another_certificate_is_refused(tmp_path: Path, authority: Authority) -> None:
    _, key = authority.issue("other", DN)
    with pytest.raises(SignatureError, match="does not fit"):
        verify(tmp_path / "i", authority.sign(image(11), authority.certificate, key), PATTERN, authority.directory())


def test_a_certificate_under_no_ca_is_refused(tmp_path: Path, authority: Authority) -> None:
    """One that an end entity issued: it is no CA."""
    key, certificate = tmp_path / "k", tmp_path / "c"
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", DN, "-keyout", str(key), "-out", str(tmp_path / "r"))
    openssl("x509", "-req", "-in", str(tmp_path / "r"), "-CA", str(authority.certificate), "-CAkey", str(authority.key),
            "-CAcreateserial", "-days", "3", "-out", str(certificate))  # fmt: skip
    with pytest.raises(SignatureError, match="not trusted"):
        verify(tmp_path / "i", authority.sign(image(12), certificate, key), PATTERN, authority.directory())


def test_a_pattern_that_is_none(authority: Authority) -> None:
    with pytest.raises(UsageError, match="not a regular expression"):
        signature.check_pattern("CN=(")


def test_the_command(tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cernvm4.iso"
    file.write_bytes(authority.sign(image(13)))
    words = ["image", "verify", "--ca", authority.directory(), str(file)]
    assert dispatch.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"signed_by": DN}
    assert dispatch.main([*words, "--signing-dn", "CN=another"]) == 1
    assert "does not match" in capsys.readouterr().err
    assert dispatch.main(["image", "verify", str(tmp_path / "nothing")]) == 2
