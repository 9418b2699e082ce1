# SPDX-License-Identifier: GPL-3.0-or-later
"""What mutmut found, from the files that it leaves, and which survivors are accepted."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# As mutmut's statuses: no test failed; no test reaches the function.
_SURVIVED = (0, 5, 33)
# Its tests took many times longer than without it, or memory without end.
_ENDED = (36, 24, -24, 152, 255, -9)
_CLASS = "\N{LATIN LETTER LATERAL CLICK}"
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Survivor:
    """A change that no test noticed; ``changed`` has the lines before and after, without indentation."""

    path: str
    line: int
    function: str
    changed: str
    reached: bool

    @property
    def key(self) -> str:
        """What accepted.txt has: it names no line number, which every change above it alters."""
        return f"{self.path} {self.function}: {self.changed}"

    def __str__(self) -> str:
        unseen = "" if self.reached else " (no test reaches it)"
        return f"{self.path}:{self.line} {self.function}: {self.changed}{unseen}"


def of(tree: Path, path: str, shown_path: str) -> tuple[int, int, list[Survivor]]:
    """(mutants, those whose tests did not end, survivors) of a module whose mutants have been tried in a copy.

    Raises ValueError for a mutant that was not tried.
    """
    meta = json.loads(Path(tree, "mutants", f"{path}.meta").read_text("utf-8"))
    codes: dict[str, int | None] = meta["exit_code_by_key"]
    if left := [name for name, code in codes.items() if code is None]:
        raise ValueError(f"{shown_path}: {len(left)} mutants were not tried, {left[0]} among them")
    mutated = Path(tree, "mutants", path).read_text("utf-8")
    original = (tree / path).read_text("utf-8")
    functions = {function.name: function for _, function in _functions(mutated)}
    places = {name: function.lineno for name, function in _functions(original)}
    survivors = []
    for name in (name for name, code in codes.items() if code in _SURVIVED):
        mutant = name.rpartition(".")[2]
        mangled = mutant.partition("__mutmut_")[0]
        function = ".".join(mangled.split(_CLASS)[1:]) if _CLASS in mangled else mangled.removeprefix("x_")
        before = _lines(mutated, functions[f"{mangled}__mutmut_orig"])
        offset, changed = _difference(before, _lines(mutated, functions[mutant]))
        survivors.append(Survivor(shown_path, places[function] + offset, function, changed, codes[name] == 0))
    ended = sum(code in _ENDED for code in codes.values())
    return len(codes), ended, sorted(survivors, key=lambda one: (one.line, one.changed))


def _functions(text: str) -> Iterator[tuple[str, _Function]]:
    """Functions of a module and methods of its classes: (name with the class's, function)."""
    for node in ast.parse(text).body:
        if isinstance(node, _Function):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{inner.name}", inner) for inner in node.body if isinstance(inner, _Function))


def _lines(text: str, function: _Function) -> list[str]:
    """A function's lines, its name left out."""
    lines = text.splitlines()[function.lineno - 1 : function.end_lineno]
    return [lines[0].replace(function.name, "", 1), *lines[1:]]


def _difference(before: list[str], after: list[str]) -> tuple[int, str]:
    """Where the first difference is, and what differs, in one line."""
    first, parts = len(before), []
    for tag, old, old_end, new, new_end in difflib.SequenceMatcher(None, before, after, False).get_opcodes():
        if tag != "equal":
            first = min(first, old)
            gone, come = (" ".join(map(str.strip, part)) for part in (before[old:old_end], after[new:new_end]))
            parts.append(f"`{gone}` -> `{come}`")
    return first, ", ".join(parts)


def accepted(text: str) -> dict[str, str]:
    """Key of a survivor → why it does not matter.

    A line that is not indented is a reason; the indented ones below it are the survivors that it is for. Raises
    ValueError for a survivor without a reason.
    """
    found: dict[str, str] = {}
    reason = ""
    for line in text.splitlines():
        if line.startswith((" ", "\t")):
            if not reason:
                raise ValueError(f"without a reason: {line.strip()}")
            found[line.strip()] = reason
        elif line and not line.startswith("#"):
            reason = line
    return found
