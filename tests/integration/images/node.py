# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that fetch images: a Debian root directory each, in namespaces of its own, and Ansible's way into them.

A node has directories of its own for /usr/local, /etc/condor_vac, /var/lib/condor_vac and /run, and this machine's
loopback and /tmp. It has no name server: what it reaches by name it reaches through a proxy. Needs root.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from tests.integration.chroot import CHECKOUT, OWN_ROOT, root

START = f"""
set -e
root=$1 local=$2
{OWN_ROOT}
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind /tmp "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root/etc/condor_vac" "$root/var/lib/condor_vac"
mount --bind "$local/usr_local" "$root/usr/local"
mount --bind "$local/etc" "$root/etc/condor_vac"
mount --bind "$local/var" "$root/var/lib/condor_vac"
mount --bind "$local/resolv.conf" "$root/etc/resolv.conf"
echo ready
exec sleep infinity
"""
# The part of the worker role that this is about, after what it needs of other roles and tasks.
PLAY = """
- hosts: worker_node
  gather_facts: false
  tasks:
    - name: Install the programs
      ansible.builtin.import_role:
        name: vacuum.htcondor.runtime
      vars:
        runtime_parts: [cli]
    - name: Check the variables
      ansible.builtin.fail:
        msg: "{{ worker_proxy_fault }}"
      when: worker_proxy_fault != ''
    - name: Write the settings
      vacuum.htcondor.node_files:
        private_files: "{{ worker_private_files }}"
        files:
          /etc/condor_vac/worker.json: "{}"
    - name: Have the images
      ansible.builtin.import_role:
        name: vacuum.htcondor.worker
        tasks_from: images
"""
# As the site playbook does at its end.
PLAY += yaml.safe_dump(yaml.safe_load((CHECKOUT / "playbooks/site.yml").read_text("utf-8"))[-1:], sort_keys=False)


class Node:
    """A node while the context lasts; ``directory`` on this machine holds ``etc``, ``var`` and ``usr_local``."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.interpreter = directory / "python"
        self._process: subprocess.Popen[str] | None = None
        self._first = 0

    def __enter__(self) -> Node:
        for name in ("usr_local/bin", "usr_local/lib", "etc", "var/images"):
            (self.directory / name).mkdir(parents=True)
        # No name server that answers, and no time lost until that is known.
        (self.directory / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        command = ["unshare", "-mpf", "--kill-child", "--propagation", "private", "sh", "-c", START, "sh"]
        self._process = subprocess.Popen(
            [*command, str(root("trixie")), str(self.directory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        pid = self._process.pid
        self._first = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        self.interpreter.write_text(f'#!/bin/sh\nexec {shlex.join(self.inside("/usr/bin/python3"))} "$@"\n')
        self.interpreter.chmod(0o755)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        os.kill(self._first, signal.SIGKILL)
        self._process.wait(timeout=30)

    def inside(self, *command: str) -> list[str]:
        """The argument list that runs a command in the node."""
        words = ["nsenter", "-t", str(self._first), "-m", "-p", "--", "chroot", str(root("trixie")), "env", "-i"]
        return [*words, "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *command]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """What a command in the node does."""
        return subprocess.run(self.inside(*command), capture_output=True, text=True, check=False)

    def images(self) -> dict[str, dict[str, Any]]:
        """Name → row of ``condor_vac image list --digest``; every image is whole."""
        done = self.run("/usr/local/bin/condor_vac", "image", "list", "--digest", "--json")
        assert done.returncode == 0, done.stderr
        return {row["name"]: row for row in json.loads(done.stdout)["images"]}

    def refresh(self) -> subprocess.CompletedProcess[str]:
        """What vac_images.service runs."""
        return self.run("/usr/local/bin/condor_vac", "image", "refresh")

    def readable_by_all(self, text: str) -> list[str]:
        """Files of the node's settings and state that hold the text, and that not only root can read."""
        found = [path for path in self.directory.rglob("*") if path.is_file() and not path.is_symlink()]
        return [str(path) for path in found if path.stat().st_mode & 0o077 and text.encode() in path.read_bytes()]


class Controller:
    """Where ansible-playbook runs: an inventory of these nodes, ``head`` being the access point."""

    def __init__(self, directory: Path, head: Node, workers: Sequence[Node]) -> None:
        self.directory = directory
        self.copies = directory / "copies"
        self.fetched = directory / "fetched"
        groups = {"access_point": [head], "worker_node": workers}
        hosts = {
            group: {"hosts": {node.name: {"ansible_python_interpreter": str(node.interpreter)} for node in nodes}}
            for group, nodes in groups.items()
        }
        everywhere = {"ansible_connection": "local", "ansible_become": False, "ansible_remote_tmp": f"{directory}/tmp"}
        (directory / "inventory.json").write_text(json.dumps({"all": {"children": hosts, "vars": everywhere}}))

    def play(self, variables: Mapping[str, Any], *words: str, play: str = PLAY, **more: str) -> tuple[int, str]:
        """Exit code and output of a play with these variables; ``more`` is put into its environment."""
        (self.directory / "play.yml").write_text(play)
        known = {"worker_image_host_directory": str(self.fetched), "worker_image_copies": str(self.copies), **variables}
        (self.directory / "vars.json").write_text(json.dumps(known))
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventory.json", "play.yml",
             "-e", "@vars.json", "--diff", *words],
            capture_output=True, text=True, check=False, cwd=self.directory,
            env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_PIPELINING": "1",
                 "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
                 "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"), **more},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr
