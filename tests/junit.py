# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest plugin: where the test runner asks for it, each pytest run leaves a JUnit file with its counts.

``VAC_JUNIT_DIRECTORY`` names an existing directory. The file is named after the process, because a stage may run
pytest several times, and at the same time.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DIRECTORY = "VAC_JUNIT_DIRECTORY"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Ask for the file, unless the command line names one or this is a worker of xdist."""
    directory = os.environ.get(DIRECTORY)
    if directory and not hasattr(config, "workerinput") and not config.getoption("xmlpath"):
        config.option.xmlpath = str(Path(directory) / f"{os.getpid()}.xml")
