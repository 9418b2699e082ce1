#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: vm_image
short_description: Images that virtual machines boot, stored on a worker node
version_added: 0.1.0
description:
  - Keeps an image in the node's image directory, fetched from a web server, or copied from the controller or from
    a file of the node.
  - An image replaces the one before only when it is whole and has the digest and the signature that are asked for;
    any error leaves what is there unchanged.
  - Each version is a file that never changes, and O(name) a link to the present one. VMs that run keep the version
    they started with; it is removed when the last of them has ended.
  - A file on the controller is sent only to a node that lacks it.
  - A URL is fetched through the HTTP proxy that the role worker leaves in C(/etc/condor_vac/http_proxy.json), or
    through O(http_proxy); proxies of the environment are not used.
requirements:
  - The programs that M(vacuum.htcondor.programs) installs with its entry points V(cli)
  - python3-cryptography and openssl, where O(signing_dn) is given
author:
  - The vacuum.htcondor developers (@vacuum-htcondor)
extends_documentation_fragment:
  - vacuum.htcondor.attributes
attributes:
  action:
    support: full
    description:
      - Has an action plugin, which reads images on the controller.
options:
  state:
    description:
      - V(present) has the image O(name). V(absent) lets no VM start on it any more.
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - File name of the image below the image directory. The default is that of O(source).
    type: str
  source:
    description:
      - An https URL, or a file; required with O(state=present), except with O(exclusive=true).
    type: str
  remote_source:
    description:
      - Whether a file O(source) is on the node (a path of CVMFS or of a shared file system) and not on the controller.
    type: bool
    default: false
  local_copy:
    description:
      - A file on the controller that holds what is at the URL O(source), for a node that has no way to it. It is sent
        only to a node that lacks the image, which checks O(checksum), which is required, and O(signing_dn).
    type: path
  checksum:
    description:
      - The image's SHA-256 digest, C(sha256:HEX). With it, nothing else is ever used, and the web server is asked only
        where the image is not there yet.
      - Without it, the server is asked at each run whether it has a newer one (C(If-None-Match),
        C(If-Modified-Since)).
    type: str
  signing_dn:
    description:
      - A regular expression that the subject (C(/DC=ch/DC=cern/CN=...)) of the image's signer must match. An image
        without a valid CernVM signature is then refused.
    type: str
  ca:
    description:
      - File or directory on the node with the CA certificates that may vouch for the signer, and, besides the system's,
        for the web server. The default is C(/etc/grid-security/certificates).
    type: path
  private_hosts:
    description:
      - Given, be it empty, where a vacuum pipe wrote the URL O(source). The URL, and what it redirects to, may then
        lead to public addresses and to these hosts alone. Written as O(no_proxy), in one text with commas.
    type: str
  names:
    description:
      - The images to keep, with O(exclusive=true). Excludes O(name) and O(source).
    type: list
    elements: str
  exclusive:
    description:
      - Remove every image that M(vacuum.htcondor.vm_image) put there and that is not one of O(names).
    type: bool
    default: false
  directory:
    description:
      - The image directory. The default is the node's own, with its budget and its HTTP proxy.
    type: path
  http_proxy:
    description:
      - The HTTP proxy, C(http://[USER:PASSWORD@]HOST:PORT), through which a URL is fetched. The default is the node's
        own, or none with O(directory).
    type: str
  no_proxy:
    description:
      - Hosts, domains, addresses and networks (and V(*)) that are reached without O(http_proxy).
    type: list
    elements: str
    default: []
  timeout:
    description:
      - Seconds that a fetch may take.
    type: int
    default: 3600
  controller_file:
    description:
      - What the action plugin found on the controller. Tasks leave it out.
    type: dict
    suboptions:
      origin:
        description: The file's path on the controller.
        type: str
        required: true
      sha256:
        description: Its digest.
        type: str
        required: true
      path:
        description: Where the file is on the node, when the node has been found to lack it.
        type: str
seealso:
  - module: vacuum.htcondor.programs
"""

EXAMPLES = r"""
- name: Keep CernVM, in whatever version CERN signs
  vacuum.htcondor.vm_image:
    name: cernvm4.iso
    source: https://cernvm.cern.ch/releases/production/cernvm4-micro-latest.iso
    signing_dn: /CN=cvm-sign01\.cern\.ch$

- name: Keep one version of an image and no other
  vacuum.htcondor.vm_image:
    source: https://images.example.org/worker-9.qcow2
    checksum: sha256:0d2f1b0f6c1e7d2f7f3b9a4a4b8a7f5c0e1d2c3b4a5968778695a4b3c2d1e0f1

- name: Remove every other image, each when no VM runs on it any more
  vacuum.htcondor.vm_image:
    names: [cernvm4.iso, worker-9.qcow2]
    exclusive: true
"""

RETURN = r"""
image:
  description: The image that is there now; V(null) in check mode where only a fetch can show it, and if there is none.
  type: dict
  returned: with O(state=present), except with O(exclusive=true)
  contains:
    name:
      description: Its name.
      type: str
    version:
      description: The file name of this version.
      type: str
    sha256:
      description: Its digest.
      type: str
    size:
      description: Bytes.
      type: int
    source:
      description: Where it came from.
      type: str
    signed_by:
      description: The subject that signed it, V(null) if no signature was asked for.
      type: str
removed:
  description: Versions that were removed, because nothing used them any more.
  type: list
  elements: str
  returned: success
in_use:
  description: Versions that are to go, with the VMs that still run on them.
  type: dict
  returned: with O(state=absent) and with O(exclusive=true)
transfer_needed:
  description: Whether the action plugin has to send the controller's file.
  type: bool
  returned: with O(state=present), except with O(exclusive=true)
"""

import json
import os
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.vacuum.htcondor.plugins.module_utils._command import Command
from ansible_collections.vacuum.htcondor.plugins.module_utils._errors import ModuleError, run_module
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import CLI

SHOWN = ("source", "sha256", "size", "signed_by", "version")


class VmImage:
    """Images of one node, through ``condor_vac image``."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params = module.params
        self.command = Command(module)

    def run(self) -> dict[str, Any]:
        """Bring about the state; the result for exit_json. Raises ModuleError."""
        self.command.require(CLI, "run the role runtime first, with cli among its runtime_parts")
        if self.params["exclusive"]:
            if self.params["state"] != "present":
                raise ModuleError("exclusive: not with state: absent", "leave state out: the others are removed")
            if self.params["names"] is None:
                raise ModuleError("names: missing", "name the images to keep, or [] for none of them")
            return self._forgotten(["keep", *self.params["names"]])
        if self.params["names"] is not None:
            raise ModuleError("names: only with exclusive: true", "give name for one image")
        if self.params["state"] == "present":
            return self._present()
        return self._forgotten(["remove", self._name()])

    def _name(self) -> str:
        name = self.params["name"] or os.path.basename(self.params["source"] or "")
        if not name:
            raise ModuleError("name: missing, and no source to take it from", "name the image's file")
        return str(name)

    def _present(self) -> dict[str, Any]:
        source, brought = self.params["source"], self.params["controller_file"]
        if not source:
            raise ModuleError("source: missing", "give an https URL or a file")
        if brought is None and "://" not in source and not self.params["remote_source"]:
            raise ModuleError(
                "the image was not read on the controller",
                "call the module as vacuum.htcondor.vm_image, so that its action plugin is found",
            )
        if brought and not brought.get("path"):
            before = self._kept()
            if before is None or before["sha256"] != brought["sha256"]:
                return self._to_be_sent(before, brought)
        result = self._call(self._put(source, brought), stdin=self._proxy())
        after = result["after"]
        return {
            "changed": result["changed"],
            "image": None if after is None else {"name": self._name(), **{key: after[key] for key in SHOWN}},
            "removed": result["removed"],
            "transfer_needed": False,
            **_diff(result["before"], after if after is not None else {"source": source}),
        }

    def _to_be_sent(self, before: dict[str, Any] | None, brought: dict[str, Any]) -> dict[str, Any]:
        if not self.module.check_mode:
            return {"changed": False, "transfer_needed": True, "image": None, "removed": []}
        after = {"source": brought["origin"], "sha256": brought["sha256"]}
        return {"changed": True, "transfer_needed": False, "image": None, "removed": [], **_diff(before, after)}

    def _put(self, source: str, brought: dict[str, Any] | None) -> list[str]:
        options = {"--checksum": self.params["checksum"], "--signing-dn": self.params["signing_dn"]}
        options.update({"--ca": self.params["ca"], "--timeout": str(self.params["timeout"])})
        if brought:
            # A node that has the version reads no file.
            source = brought.get("path") or brought["origin"]
            options.update({"--checksum": f"sha256:{brought['sha256']}", "--origin": brought["origin"]})
        if self.params["http_proxy"]:
            options["--http-proxy"] = "-"
        words = [word for key, value in options.items() if value for word in (f"{key}={value}",)]
        if self.params["private_hosts"] is not None:
            words.append(f"--private-hosts={self.params['private_hosts']}")
        return ["put", *words, "--", self._name(), source]

    def _proxy(self) -> str | None:
        """What condor_vac reads from its standard input: a password belongs into no argument list."""
        proxy = {key: self.params[key] for key in ("http_proxy", "no_proxy")}
        return json.dumps(proxy) if proxy["http_proxy"] else None

    def _kept(self) -> dict[str, Any] | None:
        """The image as the node has it now, whole; None if it has none."""
        listed = self._call(["list"], check=False)
        found: list[dict[str, Any]] = [row for row in listed["images"] if row["name"] == self._name() and row["good"]]
        return found[0] if found else None

    def _forgotten(self, words: list[str]) -> dict[str, Any]:
        result = self._call(words)
        before = "".join(f"{name}\n" for name in sorted({*result["forgotten"], *result["removed"]}))
        header = {"before_header": "images", "after_header": "images"}
        return {
            "changed": result["changed"],
            "removed": result["removed"],
            "in_use": result["in_use"],
            "diff": [{**header, "before": before, "after": ""}] if result["changed"] else [],
        }

    def _call(self, words: list[str], *, check: bool = True, stdin: str | None = None) -> dict[str, Any]:
        dry = ["--dry-run"] if check and self.module.check_mode else []
        place = [f"--directory={self.params['directory']}"] if self.params["directory"] else []
        argv = [CLI, "image", words[0], "--json", *place, *dry, *words[1:]]
        # `list` ends with 1 where an image is damaged, which is for `put` to mend.
        ok = (0, 1) if words[0] == "list" else (0,)
        called = self.command.run(argv, ok=ok, stdin=stdin)
        try:
            result: dict[str, Any] = json.loads(called.stdout)
        except ValueError as error:
            if not called.ok:  # it failed with the same exit code
                raise ModuleError(f"{' '.join(argv)}: {called.complaint()}", "see what is wrong on the node") from error
            raise ModuleError(
                f"{' '.join(argv)} gave no JSON ({error})", "are collection and node of one version?"
            ) from error
        return result


def _diff(before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
    texts = [
        "" if record is None else "".join(f"{key}: {record[key]}\n" for key in SHOWN if record.get(key) is not None)
        for record in (before, after)
    ]
    header = {"before_header": "image", "after_header": "image"}
    return {"diff": [{**header, "before": texts[0], "after": texts[1]}] if texts[0] != texts[1] else []}


ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str"},
    "source": {"type": "str"},
    "remote_source": {"type": "bool", "default": False},
    "local_copy": {"type": "path"},
    "checksum": {"type": "str"},
    "signing_dn": {"type": "str"},
    "ca": {"type": "path"},
    "private_hosts": {"type": "str"},
    "names": {"type": "list", "elements": "str"},
    "exclusive": {"type": "bool", "default": False},
    "directory": {"type": "path"},
    "http_proxy": {"type": "str", "no_log": True},
    "no_proxy": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 3600},
    "controller_file": {
        "type": "dict",
        "options": {
            "origin": {"type": "str", "required": True},
            "sha256": {"type": "str", "required": True},
            "path": {"type": "str"},
        },
    },
}


def main(build: Callable[[AnsibleModule], VmImage] = VmImage) -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        mutually_exclusive=[("names", "name"), ("names", "source")],
        supports_check_mode=True,
    )
    run_module(module, lambda: build(module).run())


if __name__ == "__main__":
    main()
