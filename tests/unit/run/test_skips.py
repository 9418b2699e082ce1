# SPDX-License-Identifier: GPL-3.0-or-later
"""The plugin that makes a failure of a skip that is not on the list, by pytest runs in a directory of their own."""

from __future__ import annotations

import fnmatch

import pytest

from tests import skips

pytest_plugins = ("pytester",)
# Each test is a pytest run.
pytestmark = pytest.mark.slow

# Loaded by the workers of xdist as well, which are processes of their own.
CONFTEST = """
import pathlib
from tests import skips
pytest_plugins = ("tests.skips",)
skips.ROOT = pathlib.Path({root!r})
skips.LIST = skips.ROOT / "allowed_skips.txt"
"""
TESTS = """
import pytest
@pytest.mark.skipif(True, reason="needs wget: no such program")
def test_by_mark(): pass
def test_inside(): pytest.skip("no /dev/kvm")
@pytest.fixture
def pool(): pytest.skip("needs wget, says a fixture")
def test_by_fixture(pool): pass
def test_import(): pytest.importorskip("no_module_of_this_name", reason="htcondor2 is not installed")
def test_good(): pass
@pytest.mark.xfail(reason="known")
def test_expected(): assert False
@pytest.mark.xfail(run=False, reason="never")
def test_expected_and_not_run(): assert False
"""
WORKERS = pytest.mark.parametrize("workers", [(), pytest.param(("-n", "2"), marks=pytest.mark.slow)])


class Checkout:
    """A directory with tests and a list of allowed skips."""

    def __init__(self, pytester: pytest.Pytester, allowed: str) -> None:
        self.pytester = pytester
        (pytester.path / "allowed_skips.txt").write_text(allowed)
        pytester.makeini(f"[pytest]\npythonpath = {skips.ROOT}")
        pytester.makeconftest(CONFTEST.format(root=str(pytester.path)))

    def run(self, tests: str, *words: str) -> pytest.RunResult:
        (self.pytester.path / "unit").mkdir()
        (self.pytester.path / "unit/test_some.py").write_text(tests)
        return self.pytester.runpytest_subprocess("-p", "no:cacheprovider", *words)


@WORKERS
def test_a_skip_that_is_not_on_the_list_is_a_failure_that_names_it(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    ended = Checkout(pytester, "# nothing\n").run(TESTS, *workers)
    assert ended.ret == pytest.ExitCode.TESTS_FAILED
    ended.assert_outcomes(passed=1, failed=2, errors=2, xfailed=2)
    for reason in ("needs wget: no such program", "no /dev/kvm", "needs wget, says a fixture", "htcondor2 is not"):
        ended.stdout.fnmatch_lines(f"*unit/test_some.py: skipped, which *allowed_skips.txt does not allow: {reason}*")


@WORKERS
def test_what_is_on_the_list_may_skip_and_the_rest_may_not(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    allowed = "unit/test_*.py: needs wget.*\nunit/test_some.py: htcondor2 .*installed\nother/*: no /dev/kvm\n"
    ended = Checkout(pytester, allowed).run(TESTS, *workers)
    assert ended.ret == pytest.ExitCode.TESTS_FAILED
    ended.assert_outcomes(passed=1, failed=1, skipped=3, xfailed=2)
    ended.stdout.fnmatch_lines("*unit/test_some.py: skipped, which *does not allow: no /dev/kvm*")


@WORKERS
def test_a_run_with_allowed_skips_alone_passes(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    ended = Checkout(pytester, "unit/*: .+\n").run(TESTS, *workers)
    assert ended.ret == pytest.ExitCode.OK
    ended.assert_outcomes(passed=1, skipped=4, xfailed=2)


@WORKERS
@pytest.mark.parametrize(("allowed", "code"), [("", pytest.ExitCode.INTERRUPTED), ("unit/*: not here", 5)])
def test_a_file_that_skips_as_a_whole_is_seen(
    pytester: pytest.Pytester, workers: tuple[str, ...], allowed: str, code: int
) -> None:
    whole = "import pytest\npytest.skip('not here', allow_module_level=True)\n"
    ended = Checkout(pytester, allowed).run(whole, *workers)
    if workers and code == pytest.ExitCode.INTERRUPTED:
        assert ended.ret not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
    else:
        assert ended.ret == code
    printed = "does not allow: not here" in ended.stdout.str()
    assert printed is (allowed == "")


def test_the_failure_is_in_the_junit_file(pytester: pytest.Pytester) -> None:
    Checkout(pytester, "").run("import pytest\ndef test_a(): pytest.skip('no')\n", "--junitxml=out.xml")
    written = (pytester.path / "out.xml").read_text()
    assert 'failures="1"' in written
    assert 'skipped="0"' in written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unit/*", "line 1: must be"),
        ("# fine\n\nunit/*:no\n", "line 3: must be"),
        ("unit/*: \n", "line 1: must be"),
        (": no\n", "line 1: must be"),
        ("unit/*: no\nunit/*: (\n", r"line 2: '\(' is not a regular expression"),
    ],
)
def test_a_line_that_is_not_an_entry_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        skips.read(text)


@pytest.mark.parametrize("allowed", ["unit/*\n", None])
def test_a_list_that_cannot_be_read_ends_the_run_at_once(pytester: pytest.Pytester, allowed: str | None) -> None:
    checkout = Checkout(pytester, allowed or "")
    if allowed is None:
        (pytester.path / "allowed_skips.txt").unlink()
    ended = checkout.run("def test_a(): pass\n")
    assert ended.ret == pytest.ExitCode.USAGE_ERROR
    ended.stderr.fnmatch_lines("*allowed_skips.txt*")


@pytest.mark.parametrize(
    ("path", "reason", "covered"),
    [
        ("tests/unit/lab/test_agent.py", "needs wget", True),
        ("tests/unit/lab/test_other.py", "needs wget", False),
        ("tests/unit/lab/test_agent.py", "it needs wget", False),
        ("tests/unit/lab/test_agent.py", "needs wget and curl", False),
        ("tests/unit/lab/deep/test_agent.py", "needs wget", False),
    ],
)
def test_path_and_reason_both_count(path: str, reason: str, covered: bool) -> None:
    (entry,) = skips.read("tests/unit/lab/test_agent.py: needs wget\n")
    assert entry.covers(path, reason) is covered


def test_this_checkout_s_list_names_files_that_there_are() -> None:
    directories = [skips.ROOT / name for name in ("tests", "molecule")]
    files = [path.relative_to(skips.ROOT).as_posix() for root in directories for path in root.rglob("*.py")]
    for entry in skips.read(skips.LIST.read_text("utf-8")):
        assert fnmatch.filter(files, entry.path), entry.path
