# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run command-line tools: argv lists, never a shell, always in the C locale so that output can be read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import CommandError, ToolMissing
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import one_line

# Ansible's login shell often lacks the sbin directories, where exportfs, sysctl and visudo live.
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
# LANGUAGE outranks LC_ALL in gettext, so it has to go as well.
C_LOCALE = {"LC_ALL": "C", "LANG": "C", "LANGUAGE": "C"}
# What coreutils' timeout answers: 124 when the time was over, 137 when even SIGTERM did not help.
TIMED_OUT = (124, 137)


@dataclass(frozen=True)
class Result:
    """How a program ended. ``argv`` is what was asked for, without the wrapper that limits its time."""

    argv: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether the exit code was 0."""
        return self.rc == 0

    def complaint(self) -> str:
        """The tool's own last words in one line: stderr, else stdout, else its exit code."""
        return one_line(self.stderr) or one_line(self.stdout) or f"exit code {self.rc}"


class Command:
    """Runs programs for a module; the only place in the collection's modules that starts a process."""

    def __init__(self, module: AnsibleModule, environment: dict[str, str] | None = None) -> None:
        self.module = module
        self.environment = {**C_LOCALE, **(environment or {})}

    def find(self, name: str) -> str | None:
        """Absolute path of a program on PATH or in an sbin directory; None if there is none."""
        found: str | None = self.module.get_bin_path(name, opt_dirs=list(SBIN))
        return found

    def require(self, name: str, remedy: str) -> str:
        """As `find`, but raises ToolMissing with *remedy* (which package to install)."""
        found = self.find(name)
        if found is None:
            raise ToolMissing(f"{name} is not installed on this node", remedy)
        return found

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        ok: Collection[int] | None = (0,),
        remedy: str = "",
        timeout: int | None = None,
        cwd: str | None = None,
    ) -> Result:
        """Run *argv* and return its Result.

        *ok* are the exit codes that are not errors; None accepts all. *timeout* is in seconds. Raises
        ToolMissing if the program cannot be started, CommandError for any other exit code or no end in time.
        """
        words = [str(word) for word in argv]
        limited = ["timeout", "--kill-after=5", str(timeout), *words] if timeout else words
        try:
            rc, stdout, stderr = self.module.run_command(
                limited,
                data=stdin,
                binary_data=True,
                environ_update=self.environment,
                expand_user_and_vars=False,
                handle_exceptions=False,
                cwd=cwd,
            )
        except OSError as error:
            raise ToolMissing(f"cannot run {words[0]}: {error.strerror}", remedy) from error
        result = Result(tuple(words), rc, stdout, stderr)
        if timeout and rc in TIMED_OUT:
            raise CommandError(f"{' '.join(words)} did not end within {timeout} s", remedy, rc=rc)
        if ok is not None and rc not in ok:
            raise CommandError(
                f"{' '.join(words)} failed: {result.complaint()}", remedy, rc=rc, stdout=stdout, stderr=stderr
            )
        return result
