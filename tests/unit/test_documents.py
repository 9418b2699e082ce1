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


def messages(text: str) -> list[str]:
    """What is in back quotes in the first column of a document's tables."""
    rows = [row.split(" | ")[0] for row in re.findall(r"^\| (`.*)$", text, flags=re.MULTILINE)]
    return [found for row in rows for found in re.findall(r"`([^`]+)`", row)]


def printable_by_the_programs() -> str:
    """Text of programs, modules and roles, strings of several lines as one; a guest's script is among them."""
    paths = [path for place in ("src", "plugins", "roles", "playbooks") for path in sorted((ROOT / place).rglob("*"))]
    texts = [path.read_text("utf-8") for path in paths if path.suffix in {".py", ".yml"}]
    return " ".join(re.sub(r'"\s*\n\s*f?"', "", "\n".join(texts)).split())


def test_messages_in_troubleshooting_are_those_of_the_programs() -> None:
    printed = printable_by_the_programs()
    found = messages((ROOT / "docs/troubleshooting.md").read_text("utf-8"))
    assert len(found) >= 20
    missing = [part for message in found for part in message.split("…") if part.strip() not in printed]
    assert missing == []
    assert "libvirt has no packet filters" not in printed, "a message that nothing prints is found"


# docs/inventory.md shows wrong names, and names of a site's own.
@pytest.mark.parametrize(
    "name", [name for name in DOCUMENTS if re.match(r"README|docs/", name) and name != "docs/inventory.md"]
)
def test_settings_that_documents_name_exist(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    code = " ".join(re.findall(r"^ *```.*?^ *```$|`[^`\n]+`", text, flags=re.DOTALL | re.MULTILINE))
    named = set(re.findall(r"\b(?:vacuum|worker|pool|factory|shares|runtime|vm_owners)_[a-z0-9_]+", code))
    printed = printable_by_the_programs()
    assert [setting for setting in sorted(named) if not re.search(rf"\b{setting}\b", printed)] == []
