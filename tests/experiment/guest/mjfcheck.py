# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m tests.experiment.guest.mjfcheck DIRECTORY``: mjf-check in forms that a VM gets as a file of user data.

mjf_check.b64 is ``condor_vac mjf-check`` itself, a zip that Python runs, in base64. mjf_check.sh says the same of
keys, types and severities in shell, made from the same table, for guests without Python. Both take the places of
machinefeatures and jobfeatures, and exit with 1 if there is an error.
"""

from __future__ import annotations

import base64
import io
import sys
import zipfile
from pathlib import Path

from condor_vac.model import machine_job_features as mjf

SOURCE = Path(mjf.__file__).parents[1]
MODULES = (
    "__init__", "base/__init__", "base/atomic", "base/errors", "base/shared", "cli/__init__", "cli/mjf_check",
    "model/__init__", "model/machine_job_features",
)  # fmt: skip
MAIN = """\
import argparse, sys
from condor_vac.base import errors
from condor_vac.cli import mjf_check
parser = argparse.ArgumentParser(prog="mjf-check")
mjf_check.add_arguments(parser)
try:
    sys.exit(mjf_check.run(parser.parse_args()))
except errors.VacError as error:
    sys.exit(f"mjf-check: {error}")
"""
PATTERNS = {
    "count": "[1-9][0-9]*",
    "limit": "[1-9][0-9]*",
    "seconds": "[0-9]+",
    "swap": "[0-9]+",
    "moment": "[1-3][0-9]{9}",
    "bytes": "(0|[1-9][0-9]{6,17})",
    "rating": "[0-9]+([.][0-9]+)?",
    "id": "[!-~]+",
}
SHELL = """\
#!/bin/sh
# mjf-check MACHINEFEATURES JOBFEATURES
errors=0
warnings=0

read_key() {
    case "$1" in
        http://*) wget -q -T 10 -O - "$1/$2" 2> /dev/null ;;
        *) cat "$1/$2" 2> /dev/null ;;
    esac
}

say() {
    echo "$*"
    case "$1" in
        ERROR) errors=$((errors + 1)) ;;
        WARNING) warnings=$((warnings + 1)) ;;
    esac
}

# check PLACE WHERE KEY SEVERITY PATTERN
check() {
    if ! value=$(read_key "$1" "$3"); then
        say "$4" "$2/$3: absent"
    elif ! printf '%s' "$value" | grep -qE "^$5\\$"; then
        say ERROR "$2/$3: '$value' does not match $5"
    fi
}

@CHECKS@
if [ "$(read_key "$2" allocated_cpu)" -gt "$(read_key "$1" total_cpu)" ]; then
    say ERROR "jobfeatures/allocated_cpu: more processors than the machine has"
fi
echo "$errors errors, $warnings warnings in machinefeatures at $1, jobfeatures at $2"
[ "$errors" -eq 0 ]
"""


def shell() -> str:
    """The check as a shell script."""
    lines = [
        f"check \"${1 if key.where == mjf.MACHINE else 2}\" {key.where} {key.name} {key.absent} '{PATTERNS[key.type]}'"
        for key in mjf.KEYS
    ]
    return SHELL.replace("@CHECKS@", "\n".join(lines))


def python() -> bytes:
    """The check as a program that Python 3 runs, in base64."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", MAIN)
        for name in MODULES:
            archive.write(SOURCE / f"{name}.py", f"condor_vac/{name}.py")
    return base64.encodebytes(b"#!/usr/bin/env python3\n" + buffer.getvalue())


def main(directory: Path) -> None:
    """Write both into the directory."""
    (directory / "mjf_check.sh").write_text(shell(), "utf-8")
    (directory / "mjf_check.b64").write_bytes(python())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
