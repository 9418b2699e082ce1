# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads ClassAds in the old syntax, as hooks and the XML script get them, by HTCondor's own bindings.

The bindings come with HTCondor: package ``condor`` on Debian, ``python3-condor`` on Enterprise Linux.
classad2 is there from 23.x on and alone from 25; classad (version 1) serves older ones.
"""

from __future__ import annotations

import importlib
import re
from types import ModuleType
from typing import Any

from condor_vac.base.errors import VacError

AD_LIMIT = 1 << 20
_LINE = r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*="


def bindings() -> ModuleType:
    """The module classad2, else classad. Raises VacError naming the packages that have them.

    Imported only here: a command that reads no ad must not need them.
    """
    for name in ("classad2", "classad"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise VacError("classad2: no Python bindings of HTCondor; install condor (Debian) or python3-condor (EL)")


class Ad:
    """One ad, read-only; attribute names are case-insensitive, as HTCondor's are."""

    def __init__(self, text: str, source: str) -> None:
        """Parse ``text``. Raises VacError naming ``source`` unless every line of it was understood.

        The count matters: the bindings drop what follows a line that they cannot read without a word, so that
        one crafted value could hide all attributes after it.
        """
        if len(text) > AD_LIMIT:
            raise VacError(f"{source}: more than {AD_LIMIT} characters; this is not a job ad")
        self.source = source
        self._module = bindings()
        # classad2 of HTCondor 24.0 fails at a blank line or a comment before the first attribute.
        lines = [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
        try:
            self._ad: Any = self._module.parseOne("\n".join([*lines, ""]), self._module.Parser.Old)
        except (ValueError, SyntaxError, RuntimeError) as error:
            raise VacError(f"{source}: HTCondor cannot read this ad; correct it") from error
        for line in lines:
            found = re.match(_LINE, line)
            if found is None or found[1] not in self._ad:
                raise VacError(f"{source}: HTCondor cannot read the line {line[:80]!a}; correct the ad")

    def value(self, name: str) -> Any:
        """The attribute evaluated in the ad alone: int, float, bool, str or list; None when it is undefined.

        Raises VacError when it evaluates to an error.
        """
        if name not in self._ad:
            return None
        result = self._ad.eval(name)
        if isinstance(result, self._module.Value):
            # By identity: in classad, == of two values makes an expression, which is always true.
            if result is self._module.Value.Undefined:
                return None
            raise VacError(f"{self.source}: {name}: evaluates to an error; correct the expression")
        return result
