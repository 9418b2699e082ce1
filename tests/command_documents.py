# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the man page and the bash completion of ``condor_vac`` from its parsers; ``--check`` only compares.

They are part of the programs' tree (src/condor_vac/share), because the artifact is built from the checkout as it is.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from argparse_manpage.manpage import Manpage

from tests import generated

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from condor_vac import __version__  # noqa: E402
from condor_vac.cli import dispatch  # noqa: E402

COMMAND = "python -m tests.command_documents"
MAN_PAGE = "src/condor_vac/share/condor_vac.8"
COMPLETION = "src/condor_vac/share/condor_vac.bash"
DOCUMENTATION = "https://github.com/vacuum-htcondor/vacuum.htcondor/tree/main/docs"
HEAD = f"""\
.\\" SPDX-License-Identifier: GPL-3.0-or-later
.\\" Made from the parsers of condor_vac by {COMMAND}.
"""
# The man page's sections behind the commands.
SECTIONS = {
    "exit status": "0 good, 1 a finding or an error, 2 bad usage.",
    "files": """\
.TP
.I /etc/condor_vac/machinetypes
Machinetypes, on an access point.
.TP
.I /var/lib/condor_vac
State of the factories, on an access point; images, on a worker node.
.TP
.I /etc/condor_vac/worker.json
Settings of a worker node.""",
    "see also": f"""\
.BR condor_q (1),
.BR condor_status (1),
.BR ansible\\-playbook (1)
.PP
{DOCUMENTATION}""",
}
# The ends of metavars that stand for a path, and the metavar that is the name of a machinetype of this machine.
PATHS = ("FILE", "DIR", "PATH", "SOURCE", "TEMPLATE", "URL", ".json", ".yml", ".png")
MACHINETYPE = "MACHINETYPE"


def build() -> argparse.ArgumentParser:
    """The parser of ``condor_vac`` with the arguments of every subcommand."""
    parser = dispatch.build_parser()
    for name, (module, _) in dispatch.COMMANDS.items():
        importlib.import_module(module).add_arguments(subcommands(parser)[name])
    return parser


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Name → parser of what can follow."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def every(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and all those of its subcommands; the name of each is its ``prog``."""
    yield parser
    for sub in subcommands(parser).values():
        yield from every(sub)


# -- Man page ---------------------------------------------------------------------------------------------


def man_page() -> str:
    """The page, the same on every Python, terminal and day."""
    parser = build()
    for one in every(parser):
        shown = {action.dest: action.help for sub in one._actions for action in getattr(sub, "_choices_actions", ())}
        for name, sub in subcommands(one).items():
            # The page has the one above the other.
            sub.description = None if sub.description == shown[name] else sub.description
    parser.epilog = None
    with mock.patch.dict(os.environ, COLUMNS="80"):
        page = Manpage(parser, format="single-commands-section")
        page.section, page.date, page.manual = 8, "", "vacuum.htcondor"
        page.source = f"condor_vac {__version__}"
        page.description = "virtual machines for an HTCondor pool"
        for heading, content in SECTIONS.items():
            page.add_section(heading, "=", content)
        return HEAD + str(page)


# -- Completion of bash -----------------------------------------------------------------------------------

SCRIPT = """\
# shellcheck shell=bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Made from the parsers of condor_vac by {command}.

_condor_vac() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=$((COMP_CWORD - 1)) place=condor_vac kind=none words='' number
  # --option=value is three words.
  [[ $word != = ]] || word='' before=$COMP_CWORD
  [[ ${{COMP_WORDS[before]}} != = ]] || before=$((before - 1))
  for ((number = 1; number < COMP_CWORD; number++)); do
    case "$place ${{COMP_WORDS[number]}}" in
{places}
      place+=" ${{COMP_WORDS[number]}}" ;;
    esac
  done
  case "$place ${{COMP_WORDS[before]}}" in
{values}
    *) case "$place" in
{words}
    esac ;;
  esac
  if [[ $kind == machinetypes && $word != -* ]]; then
    words+=$(printf ' %s' /etc/condor_vac/machinetypes/*.json)
    words=${{words//\\/etc\\/condor_vac\\/machinetypes\\/}} words=${{words//.json}} words=${{words//\\*}}
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
  if [[ $kind == files && $word != -* ]]; then
    mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -f -- "$word")
    compopt -o filenames 2> /dev/null
  fi
}}

complete -F _condor_vac condor_vac
"""


def completion() -> str:
    """The script. A case for each place in the tree of commands, and one for each option that takes a value."""
    parsers = list(every(build()))
    places = [f'"{one.prog}"' for one in parsers[1:]]
    values, words = [], []
    for one in parsers:
        options = [action for action in one._actions if action.option_strings]
        for action in options:
            if action.nargs != 0:
                pattern = " | ".join(f'"{one.prog} {option}"' for option in action.option_strings)
                values.append(f"    {pattern}) {assigned(action)} ;;")
        kinds = [kind_of(action) for action in one._actions if not action.option_strings and not action.choices]
        kind = next((kind for kind in kinds if kind != "none"), "none")
        offered = [option for action in options for option in action.option_strings] + list(subcommands(one))
        words.append(f"""      "{one.prog}") kind={kind} words='{" ".join(offered)}' ;;""")
    lines = " | \\\n".join("      " + place for place in places) + ")"
    return SCRIPT.format(command=COMMAND, places=lines, values="\n".join(values), words="\n".join(words))


def assigned(action: argparse.Action) -> str:
    """What the value of an option is completed with."""
    if action.choices is not None:
        return f"words='{' '.join(map(str, action.choices))}'"
    return f"kind={kind_of(action)}"


def kind_of(action: argparse.Action) -> str:
    """``files``, ``machinetypes`` or ``none``, by the name that the help shows."""
    metavar = str(action.metavar)
    return "machinetypes" if metavar == MACHINETYPE else "files" if metavar.endswith(PATHS) else "none"


# -- Files ------------------------------------------------------------------------------------------------


def outdated() -> dict[str, str]:
    """Path → what it should hold, of the files that do not."""
    return generated.outdated(ROOT, {MAN_PAGE: man_page(), COMPLETION: completion()})


def main() -> int:
    """Write the files, or with ``--check`` name those that are out of date (exit code 1)."""
    return generated.write(ROOT, outdated(), COMMAND)


if __name__ == "__main__":
    sys.exit(main())
