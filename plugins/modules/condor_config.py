#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: condor_config
short_description: Keep HTCondor configuration fragments, tried out before they replace what runs
version_added: 0.1.0
description:
  - Makes any set of C(config.d) fragments what it should be, as one transaction. Before anything is replaced, the
    node's whole configuration with the new fragments in it is staged and loaded by C(condor_config_val).
  - Finds syntax errors, names that no part of HTCondor uses (with the name that was probably meant), values
    that do not fit a variable's type, and policy expressions that do not parse, on which a daemon would exit.
  - Refuses a consumption policy on a node whose SLOT_WEIGHT is not a number out of Cpus, Memory and Disk, on which the
    pool's negotiator would abort.
  - Asks the startd, before a change that it has to be restarted for, whether root may do that (C(condor_ping)).
  - Shows the difference variable by variable, as HTCondor expands them, and reports whether a reconfig is
    enough or which daemons need a restart, and why.
  - What the running daemons have not taken up yet is remembered on the node, until
    M(vacuum.htcondor.condor_daemons) with O(vacuum.htcondor.condor_daemons#module:state=applied) or somebody
    else does it.
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
options:
  fragments:
    description:
      - File names below O(directory) and their whole content. A fragment without content (null) is removed.
      - Files that are not named are left as they are.
    type: dict
    required: true
  directory:
    description:
      - One of the directories in C(LOCAL_CONFIG_DIR). The last of them by default, commonly
        C(/etc/condor/config.d).
    type: path
  mode:
    description:
      - Mode of the files.
    type: str
    default: "0644"
  allow_unknown:
    description:
      - Shell patterns of variable names that are right although nothing on this node seems to use them.
    type: list
    elements: str
    default: []
  apply:
    description:
      - V(none) leaves the daemons alone. V(reconfig) lets them read their configuration where a reconfig is
        enough. V(restart) also restarts daemons that need it, the startd only when no virtual machine runs
        on the node.
      - If the daemons do not come back, the previous fragments are put back, the daemons are reconfigured
        again, and the task fails.
    type: str
    choices: [none, reconfig, restart]
    default: none
  timeout:
    description:
      - How long to wait for the daemons, in seconds.
    type: int
    default: 120
seealso:
  - module: vacuum.htcondor.condor_daemons
"""

EXAMPLES = r"""
- name: Configure the VM universe
  vacuum.htcondor.condor_config:
    fragments:
      50-vm-universe.config: "{{ lookup('ansible.builtin.template', '50-vm-universe.config.j2') }}"
  register: config

- name: Say what it needs
  ansible.builtin.debug:
    msg: "{{ config.action }} {{ config.reasons }}"

- name: Replace an old fragment by two new ones, and use them at once
  vacuum.htcondor.condor_config:
    fragments:
      20-old.config:
      20-slots.config: |
        use feature : PartitionableSlot
      30-policy.config: |
        START = (RequiresVac =?= True)
    apply: reconfig
"""

RETURN = r"""
action:
  description:
    - What the running daemons still need, V(none), V(reconfig) or V(restart), for this change and earlier
      ones.
    - V(none) if no condor_master runs, because its start reads everything.
  type: str
  returned: success
  sample: restart
reasons:
  description: Why a restart is needed, one line for each variable.
  type: list
  elements: str
  returned: success
  sample: ["VM_TYPE: the startd examines the VM universe when it starts"]
daemons:
  description: The daemons to restart; MASTER stands for all.
  type: list
  elements: str
  returned: success
  sample: [STARTD]
knobs:
  description: Each variable whose value changes, expanded, before and after.
  type: dict
  returned: success
  sample: {"VM_TYPE": {"before": "", "after": "kvm"}}
conflicts:
  description:
    - Variables of the fragments that a file which HTCondor reads later sets to something else, so that the fragments'
      values are without effect.
    - A file whose value builds on the fragment's, such as C(START = $(START) && NodeOk), is not among them.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The variable.
      type: str
      sample: START
    file:
      description: The file that sets it.
      type: str
      sample: /etc/condor/config.d/99-site.config
    line:
      description: The line in it.
      type: int
      sample: 4
files:
  description: Paths of the fragments that were written or removed, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: [/etc/condor/config.d/50-vm-universe.config]
rolled_back:
  description: Whether the previous fragments were put back because the daemons did not come back.
  type: bool
  returned: when O(apply) failed
findings:
  description: What is wrong with the fragments.
  type: list
  elements: str
  returned: when a fragment is refused
  sample: ["50-vm.config line 3: HTCondor has no VM_MEMROY, did you mean VM_MEMORY?"]
"""

import os
import shutil
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import conflicts, judge
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor import pending as condor_pending
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.control import Control
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.staging import DIRECTORY, Staging
from ansible_collections.vacuum.htcondor.plugins.module_utils._condor.tools import (
    INSTALL,
    Condor,
    Configuration,
    Knob,
)
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import (
    ModuleError,
    ToolMissing,
    run_module,
)
from ansible_collections.vacuum.htcondor.plugins.module_utils._node.files import (
    Change,
    FileState,
    read_state,
    remove,
    write,
)


class CondorConfig:
    """A set of fragments of one node's configuration."""

    def __init__(
        self, module: AnsibleModule, owner: str | None = "root", pending_file: str = condor_pending.PATH
    ) -> None:
        self.module = module
        self.owner = owner
        self.pending_file = pending_file
        self.params = module.params
        self.condor = Condor(module)
        self.mode = _mode(module.params["mode"])
        self.fragments = {name: _content(value) for name, value in sorted(module.params["fragments"].items())}

    def run(self) -> dict[str, Any]:
        """Bring about the state; the result for exit_json."""
        if not self.condor.installed:
            return self._not_installed()
        workspace = os.path.join(self.module.tmpdir, "condor-config")
        os.makedirs(workspace, 0o700, exist_ok=True)
        try:
            return self._transaction(Staging(self.condor, workspace))
        finally:
            shutil.rmtree(workspace)

    def _transaction(self, staging: Staging) -> dict[str, Any]:
        for name in self.fragments:
            staging.refuse_ignored(name)
        directory = staging.directory(self.params["directory"])
        differing = [name for name, content in self.fragments.items() if _differs(directory, name, content)]
        knobs: dict[str, dict[str, str]] = {}
        effective = staging.live
        if differing or not staging.live.knobs:
            effective = staging.try_out(directory, self.fragments)
            judge.refuse(self.condor, directory, self.fragments, effective, self.params["allow_unknown"])
            knobs = _compare(staging.live, effective, {os.path.join(directory, name) for name in self.fragments})
        judge.refuse_weight(self.condor, self.fragments, effective)
        ad = self.condor.master()
        pending = condor_pending.load(ad, self.pending_file)
        due = condor_pending.after_change(pending, list(knobs), ad) if knobs else pending
        judge.refuse_unloadable(self.condor, knobs, pending, due)
        changes = self._write(directory)
        if knobs:
            pending = due
            condor_pending.save(self.module, pending, ad, self.pending_file)
        if self._applies(pending):
            pending = self._apply(pending, changes, ad)
        changed = [change for change in changes if change.changed]
        return {
            "changed": bool(changed) or self._applies(pending),
            "action": pending.action,
            "reasons": pending.reasons,
            "daemons": pending.scope,
            "knobs": knobs,
            "conflicts": conflicts.found(directory, self.fragments, effective),
            "files": [change.path for change in changed],
            "diff": [entry for change in changed for entry in change.diff()] + _knob_diff(knobs),
        }

    def _applies(self, pending: condor_pending.Pending) -> bool:
        """Whether the daemons must load the change now."""
        wanted = {"none": (), "reconfig": ("reconfig",), "restart": ("reconfig", "restart")}
        return pending.action in wanted[self.params["apply"]]

    def _apply(
        self, pending: condor_pending.Pending, changes: list[Change], ad: dict[str, Any]
    ) -> condor_pending.Pending:
        if self.module.check_mode:
            return pending
        control = Control(self.condor, self.params["timeout"], force=False)
        try:
            outcome = control.restart(pending.scope) if pending.restart else control.reconfig()
        except ModuleError as error:
            self._roll_back(changes, error, ad)
            raise
        left = pending if outcome.pending else condor_pending.Pending()
        condor_pending.save(self.module, left, outcome.ad, self.pending_file)
        return left

    def _roll_back(self, changes: list[Change], error: ModuleError, ad: dict[str, Any]) -> None:
        """Restore the files, and let the daemons read them; *error* then reports it."""
        for change in changes:
            self._restore(change)
        error.facts["rolled_back"] = True
        error.message += " (the previous configuration was put back)"
        try:
            Control(self.condor, self.params["timeout"], force=False).reread()
        except ModuleError as again:
            error.message += f", and with it: {again.message}"
        else:
            condor_pending.save(self.module, condor_pending.Pending(), ad, self.pending_file)

    def _restore(self, change: Change) -> None:
        if not change.changed:
            return
        if change.before.content is None:
            remove(self.module, change.path)
        else:
            write(self.module, change.path, change.before.content, mode=change.before.mode or self.mode)

    def _write(self, directory: str) -> list[Change]:
        """Write all fragments; if one cannot be written, those before it are put back."""
        changes: list[Change] = []
        try:
            for name, content in self.fragments.items():
                path = os.path.join(directory, name)
                if content is None:
                    changes.append(remove(self.module, path))
                else:
                    changes.append(
                        write(
                            self.module,
                            path,
                            content,
                            mode=self.mode,
                            owner=self.owner,
                            group=self.owner,
                        )
                    )
        except ModuleError:
            for change in changes if not self.module.check_mode else []:
                self._restore(change)
            raise
        return changes

    def _not_installed(self) -> dict[str, Any]:
        if not self.module.check_mode:
            raise ToolMissing("condor_config_val is not installed on this node", INSTALL)
        self.module.warn("HTCondor is not installed yet, so that the fragments could not be tried out")
        changed = [change for change in self._write(self.params["directory"] or DIRECTORY) if change.changed]
        return {
            "changed": bool(changed),
            "action": "none",
            "reasons": [],
            "daemons": [],
            "knobs": {},
            "conflicts": [],
            "files": [change.path for change in changed],
            "diff": [entry for change in changed for entry in change.diff()],
        }


def _mode(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise ModuleError(f"{text!r} is not a file mode", "write it like '0644'") from None


def _content(value: Any) -> bytes | None:
    """A fragment as bytes that end in a newline: HTCondor drops nothing then, whatever the editor left."""
    if value is None:
        return None
    text = str(value)
    return (text if text.endswith("\n") or not text else text + "\n").encode()


def _differs(directory: str, name: str, content: bytes | None) -> bool:
    state: FileState = read_state(os.path.join(directory, name))
    return state.exists if content is None else state.content != content


def _compare(live: Configuration, staged: Configuration, ours: set[str]) -> dict[str, dict[str, str]]:
    """Variables whose value changes; if the present configuration does not load, all that *ours* set."""
    changed = {}
    for name in sorted({*live.knobs, *staged.knobs} - {"local_config_dir"}):
        before, after = live.knobs.get(name), staged.knobs.get(name)
        if not any(knob is not None and knob.from_file for knob in (before, after)):
            continue
        if not live.knobs and (after is None or after.source not in ours):
            continue
        if _values(before) != _values(after):
            label = (after or before or Knob(name, "", "", "")).name
            changed[label] = {
                "before": before.expanded if before else "",
                "after": after.expanded if after else "",
            }
    return changed


def _values(knob: Knob | None) -> tuple[str, str] | None:
    """What counts in a comparison; a value drawn by lot counts by its text."""
    if knob is None:
        return None
    return knob.raw, "" if "$RANDOM" in knob.raw.upper() else knob.expanded


def _knob_diff(knobs: dict[str, dict[str, str]]) -> list[dict[str, str]]:
    if not knobs:
        return []
    before, after = (
        "".join(f"{name} = {values[side]}\n" for name, values in sorted(knobs.items())) for side in ("before", "after")
    )
    header = "configuration as HTCondor reads it"
    return [{"before_header": header, "after_header": header, "before": before, "after": after}]


ARGUMENTS: dict[str, Any] = {
    "fragments": {"type": "dict", "required": True},
    "directory": {"type": "path"},
    "mode": {"type": "str", "default": "0644"},
    "allow_unknown": {"type": "list", "elements": "str", "default": []},
    "apply": {"type": "str", "choices": ["none", "reconfig", "restart"], "default": "none"},
    "timeout": {"type": "int", "default": 120},
}


def main(build: Callable[[AnsibleModule], CondorConfig] = CondorConfig) -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
