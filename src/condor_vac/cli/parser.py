# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line's parser: names the command, option or choice that a misspelt word is nearest to.

argparse does so itself from Python 3.14 on, and only for commands and choices.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any


class Parser(argparse.ArgumentParser):
    """A parser of a command or, because subcommands get the class of their command, of a subcommand."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but what is unknown is an error of the subcommand that it was written behind."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            words = [word for word in unknown if word.startswith("-")]
            hint = did_you_mean(words[0].partition("=")[0], self._option_string_actions) if words else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            hint = did_you_mean(str(value), names) or f"; give one of {', '.join(names)}"
            raise argparse.ArgumentError(action, f"{value!r} is unknown{hint}")


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """``; did you mean X?`` with the word that is nearest; empty if none is near."""
    # A command that is spelt right does not pay for it.
    import difflib  # noqa: PLC0415

    near = difflib.get_close_matches(word.lower(), list(words), n=1)
    return f"; did you mean {near[0]}?" if near else ""
