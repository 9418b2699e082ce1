# SPDX-License-Identifier: GPL-3.0-or-later
"""Another release of the collection: the built artifact with a later version and a changed program."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import yaml
from desk import ARTIFACT, typed

COLLECTION = "ansible_collections/vacuum/htcondor"
PROGRAMS = "src/condor_vac"
CHANGED = f"{PROGRAMS}/cli/status.py"


def version(collections: Path) -> str:
    """The version of the collection that is installed in a directory."""
    manifest = json.loads((collections / COLLECTION / "MANIFEST.json").read_text("utf-8"))
    return str(manifest["collection_info"]["version"])


def newer(place: Path) -> Path:
    """Build the artifact's next release and install it in a directory of its own, which is returned."""
    source = place / "source"
    before = version(ARTIFACT)
    major, minor, patch = before.split(".")
    after = f"{major}.{minor}.{int(patch) + 1}"
    _unpack(source)
    _describe(source, after)
    _replace(source / PROGRAMS / "__init__.py", f'"{before}"', f'"{after}"')
    with (source / CHANGED).open("a", encoding="utf-8") as stream:
        stream.write(f"# Release {after}.\n")
    _galaxy(place, "build", "--output-path", str(place), str(source))
    (archive,) = place.glob("*.tar.gz")
    collections = place / "collections"
    _galaxy(place, "install", "--offline", "--collections-path", str(collections), str(archive))
    assert version(collections) == after
    return collections


def _unpack(source: Path) -> None:
    (archive,) = ARTIFACT.parent.glob("vacuum-htcondor-*.tar.gz")
    with tarfile.open(archive) as stream:
        stream.extractall(source, filter="data")


def _describe(source: Path, after: str) -> None:
    """Write the galaxy.yml of which the artifact's manifest was made."""
    manifest = source / "MANIFEST.json"
    described = json.loads(manifest.read_text("utf-8"))["collection_info"]
    given = {key: value for key, value in described.items() if value} | {"version": after}
    (source / "galaxy.yml").write_text(yaml.safe_dump(given), "utf-8")
    for made in (manifest, source / "FILES.json"):
        made.unlink()


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert text.count(old) == 1, f"{path}: {old}"
    path.write_text(text.replace(old, new), "utf-8")


def _galaxy(place: Path, *words: str) -> None:
    """Run ansible-galaxy without any setting of this process or of the checkout."""
    (place / "ansible.cfg").touch()
    done = typed(place, place / "collections", "ansible-galaxy", "collection", *words)
    assert done.returncode == 0, done.stdout
