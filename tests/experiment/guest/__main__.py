# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m tests.experiment.guest build [--output FILE] [--refresh]: prints the path of the ISO."""

from __future__ import annotations

import argparse
import filecmp
import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from condor_vac.base.errors import VacError
from tests.experiment.guest import image
from tests.lab.paths import CHECKOUT, LabError, cache_dir

HERE = Path(__file__).parent
# What makes the ISO of the guest and of the smoke VM alike.
SHARED = tuple(CHECKOUT / "src/condor_vac/smoke" / name for name in ("cpio.py", "closure.py"))


def recipe_digest(directory: Path = HERE) -> str:
    """Twelve hexadecimal digits that change with any file which goes into the ISO or makes it."""
    paths = [*directory.glob("*.py"), *directory.joinpath("root").rglob("*")]
    digest = hashlib.sha256()
    for path in sorted(path for path in paths if path.is_file()):
        mode = "x" if os.access(path, os.X_OK) else "-"
        digest.update(f"{path.relative_to(directory)} {mode} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    for path in SHARED:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def build(refresh: bool = False) -> Path:
    """The ISO of the present recipe in the lab's cache, built there unless it exists.

    `refresh` builds it with the newest packages.

    Beside it, a .json file has the versions of the packages. Raises LabError.
    """
    cache = cache_dir()
    iso = cache / f"guest-{recipe_digest()}.iso"
    if iso.exists() and not refresh:
        return iso
    work = Path(tempfile.mkdtemp(prefix="guest-", dir=cache))
    try:
        versions = image.build(work, work / "guest.iso")
        (work / "guest.json").write_text(json.dumps(versions, indent=1, sort_keys=True) + "\n")
        os.replace(work / "guest.json", iso.with_suffix(".json"))
        os.replace(work / "guest.iso", iso)
    finally:
        shutil.rmtree(work)
    return iso


def place(iso: Path, output: Path) -> None:
    """Have a copy of the ISO there. Scenarios that run at the same time read and place the same one."""
    if output.exists() and filecmp.cmp(iso, output, shallow=False):
        return
    new = output.with_name(f".{output.name}.{os.getpid()}")
    shutil.copyfile(iso, new)
    new.replace(output)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.experiment.guest", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("build", help="build the ISO, or find it built")
    command.add_argument("--output", type=Path, metavar="FILE", help="copy the ISO there and print that path")
    command.add_argument("--refresh", action="store_true", help="build anew with the newest packages")
    options = parser.parse_args(arguments)
    try:
        iso = build(refresh=options.refresh)
    except (LabError, VacError) as error:
        print(f"guest: {error}", file=sys.stderr)
        return 1
    if options.output:
        place(iso, options.output)
        iso = options.output
    print(iso)
    return 0


if __name__ == "__main__":
    sys.exit(main())
