# SPDX-License-Identifier: GPL-3.0-or-later
"""Links between the repository's documents lead somewhere, those of shipped documents to what is shipped."""

from __future__ import annotations

import fnmatch
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
DOCUMENTS = LISTED.split()
IGNORED = yaml.safe_load((ROOT / "galaxy.yml").read_text("utf-8"))["build_ignore"]
# About a git checkout: it links to the tests' documents.
OF_A_CHECKOUT = {"CONTRIBUTING.md"}


def links(text: str) -> list[str]:
    """Targets of the relative links of a document; text in blocks of code is not a link."""
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [found for found in re.findall(r"\]\(([^)\s]+)\)", without_code) if not re.match(r"[a-z]+:", found)]


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(document: Path) -> list[str]:
    """Links of the document whose file or heading does not exist."""
    found = []
    for link in links(document.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            found.append(link)
    return found


def is_shipped(path: str) -> bool:
    """Whether a path of the repository gets into the artifact, by galaxy.yml."""
    parts = path.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return not any(fnmatch.fnmatch(name, pattern) for name in above for pattern in IGNORED)


def test_what_counts_as_broken(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# Of two words: yes\n")
    document = tmp_path / "one.md"
    document.write_text(
        "[a](there.md) [b](there.md#of-two-words-yes) [c](https://example.org/none.md) [d](gone.md)\n"
        "[e](there.md#of-no-words) [f](#here) [g](#nowhere)\n## Here\n```\n[h](code.md)\n```\n"
    )
    assert broken(document) == ["gone.md", "there.md#of-no-words", "#nowhere"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    assert broken(ROOT / name) == []


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if is_shipped(name) and name not in OF_A_CHECKOUT])
def test_shipped_documents_link_to_what_is_shipped(name: str) -> None:
    targets = [(ROOT / name).parent / link.partition("#")[0] for link in links((ROOT / name).read_text("utf-8"))]
    inside = [str(target.resolve().relative_to(ROOT)) for target in targets]
    assert [path for path in inside if not is_shipped(path)] == []


@pytest.mark.parametrize(
    ("path", "shipped"),
    [
        ("docs/security.md", True),
        ("ARCHITECTURE.md", True),
        ("tests/README.md", False),
        (".editorconfig", False),
        ("src/condor_vac/__init__.py", True),
        ("changelogs/fragments/0.1.0.yml", False),
    ],
)
def test_what_is_shipped(path: str, shipped: bool) -> None:
    assert is_shipped(path) is shipped
