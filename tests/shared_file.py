# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the plugins' copies of what they share with src/condor_vac; ``--check`` only compares.

Plugins run where ``condor_vac`` is not installed, and may not import it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests import generated

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python -m tests.shared_file"
# What is written once → its copy.
COPIES = {
    "src/condor_vac/base/http_proxy.py": "plugins/plugin_utils/http_proxy.py",
    "src/condor_vac/base/json_text.py": "plugins/module_utils/_json_text.py",
    "src/condor_vac/base/shared.py": "plugins/module_utils/_shared.py",
    "src/condor_vac/base/table.py": "plugins/plugin_utils/table.py",
    "src/condor_vac/condor/slot_weight.py": "plugins/module_utils/_condor/slot_weight.py",
    "src/condor_vac/condor/uid_domain.py": "plugins/module_utils/_condor/uid_domain.py",
}
LICENSE = "# SPDX-License-Identifier: GPL-3.0-or-later\n"
HEADER = """\
{license}# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# Made from {source} by {command}: change that file, not this one.
"""


def copied(source: str) -> str:
    """The text of a file's copy. Raises ValueError for a file without the license in its first line."""
    text = (ROOT / source).read_text("utf-8")
    if not text.startswith(LICENSE):
        raise ValueError(f"{source}: must begin with the line {LICENSE.strip()!r}")
    return HEADER.format(license=LICENSE, source=source, command=COMMAND) + text[len(LICENSE) :]


def outdated() -> dict[str, str]:
    """Path → what it should hold, of the copies that do not."""
    return generated.outdated(ROOT, {copy: copied(source) for source, copy in COPIES.items()})


def main() -> int:
    """Write the files, or with ``--check`` name those that are out of date (exit code 1)."""
    return generated.write(ROOT, outdated(), COMMAND)


if __name__ == "__main__":
    sys.exit(main())
