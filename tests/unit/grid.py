# SPDX-License-Identifier: GPL-3.0-or-later
"""A grid CA with its signer, all made by openssl, and CernVM's signature block as its own tools make it."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 32 * 1024


def openssl(*words: str, stdin: bytes = b"") -> bytes:
    """What an openssl command prints."""
    done = subprocess.run(["openssl", *words], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@dataclass
class Authority:
    """A grid CA with one certificate, as files below ``base``."""

    base: Path
    ca: Path = field(init=False)
    certificate: Path = field(init=False)
    key: Path = field(init=False)

    def __post_init__(self) -> None:
        self.base.mkdir(parents=True)
        ca_key, self.ca = self.base / "ca.key", self.base / "ca.pem"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/DC=org/CN=Lab CA",
                "-keyout", str(ca_key), "-out", str(self.ca))  # fmt: skip
        self.certificate, self.key = self.issue("signer", "/DC=ch/DC=cern/OU=computers/CN=cvm-sign01.cern.ch")

    def issue(self, name: str, subject: str, *, days: int = 30, bits: int = 2048, extensions: str = "") -> Any:
        """(certificate, key) files of a new subject; ``days`` below zero: it has ended already."""
        key, request, certificate = (self.base / f"{name}.{suffix}" for suffix in ("key", "csr", "pem"))
        extfile = self.base / f"{name}.ext"
        extfile.write_text(extensions or "keyUsage=critical,digitalSignature,keyEncipherment\n")
        openssl("req", "-newkey", f"rsa:{bits}", "-nodes", "-subj", subject, "-keyout", str(key), "-out", str(request))
        openssl("x509", "-req", "-in", str(request), "-CA", str(self.ca), "-CAkey", str(self.base / "ca.key"),
                "-CAcreateserial", "-days", str(days), "-extfile", str(extfile), "-out", str(certificate))  # fmt: skip
        return certificate, key

    def directory(self) -> str:
        """The CA in a hashed directory, as in /etc/grid-security/certificates."""
        place = self.base / "certificates"
        place.mkdir(exist_ok=True)
        digest = openssl("x509", "-in", str(self.ca), "-noout", "-subject_hash").decode().strip()
        (place / f"{digest}.0").write_bytes(self.ca.read_bytes())
        return str(place)

    def sign(
        self, image: bytes, certificate: Path | None = None, key: Path | None = None, *, broken: bool = False
    ) -> bytes:
        """The image with a signature block, by the steps of cernvm-micro's sign.sh.

        ``broken``: without the commas that released images lack.
        """
        source = self.base / "unsigned"
        source.write_bytes(image)
        signature = openssl("dgst", "-sha256", "-sign", str(key or self.key), str(source))
        pem = (certificate or self.certificate).read_bytes()
        text = (
            f'{{\n  "certificate": "{base64.b64encode(pem).decode()}",\n'
            f'  "signature": "{base64.b64encode(signature).decode()}",\n  "howto-verify": [\n'
            f'    "base64 -d <certificate>"{"" if broken else ","}\n    "base64 -d <signature>"\n  ]\n}}\n'
        )
        return image + text.encode().ljust(BLOCK, b"\0")
