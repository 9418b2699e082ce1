# SPDX-License-Identifier: GPL-3.0-or-later
"""A plugin of pytest for mutmut's run: a test also reaches the functions that only a child of its process calls.

mutmut notes in its own memory which test calls which function, and tries a mutant by those tests alone. But what is
done as a job's user is done in a child (condor_vac.worker.privileges).
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from pathlib import Path

import pytest
from mutmut.mutation import trampoline
from mutmut.state import state


def _functions() -> list[str]:
    """The names of all mutated functions of this copy, as mutmut has them."""
    metas = [json.loads(path.read_text("utf-8")) for path in Path("src").rglob("*.py.meta")]
    return sorted({name.partition("__mutmut_")[0] for meta in metas for name in meta["exit_code_by_key"]})


_NAMES = _functions()
# A byte for each function, which children write as well.
_CALLED = mmap.mmap(-1, max(len(_NAMES), 1))
_record = trampoline.record_trampoline_hit


def _noted(name: str, caller: str | None = None) -> None:
    _record(name, caller=caller)
    if name in _NAMES:
        _CALLED[_NAMES.index(name)] = 1


trampoline.record_trampoline_hit = _noted


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Tell mutmut before it asks."""
    state()._stats.update(name for name, called in zip(_NAMES, _CALLED[:]) if called)
    _CALLED[:] = bytes(len(_CALLED))
    return (yield)
