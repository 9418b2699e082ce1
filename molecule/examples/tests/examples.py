# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/examples on the lab's box: what has to be another here than at a site."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from boxes import Box
from desk import LAB_MACHINETYPE, ROOT, Desk
from kinds import CLOUD

EXAMPLES = ROOT / "docs/examples"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGq+lab operators@example.org\n"
# What the experiments' servers would offer by each pipe.
OFFERS = {
    "atlas": {"suffix": "prod", "root_image": "https://repo.example.org/atlas/cernvm3.iso"},
    "gds": {"suffix": "vm", "root_image": "https://repo.example.org/gds/cernvm3.iso"},
}
OFFERED = {
    "user_data": "https://repo.example.org/user_data",
    "user_data_file_hostcert": "hostcert.pem",
    "user_data_file_hostkey": "hostkey.pem",
    "heartbeat_file": "heartbeat",
    "heartbeat_seconds": 600,
}


def at_a_desk(desk: Desk, box: Box) -> None:
    """Have all examples in the desk's inventory, with the files that they name and a task for each machinetype."""
    desk.vars.update(vacuum_machinetypes={}, vacuum_pipes={}, vacuum_remove_machinetypes=["all"])
    for path in sorted(EXAMPLES.glob("*.yml")):
        for name, found in yaml.safe_load(path.read_text("utf-8")).items():
            assert not set(found) & set(desk.vars[name]), f"{path.name}: a name of another example"
            desk.vars[name].update(found)
    files = desk.place / "files"
    shutil.copytree(EXAMPLES / "files", files, dirs_exist_ok=True)
    for prefix, keys in desk.vars["vacuum_pipes"].items():
        keys["url"] = f"{prefix}.pipe"
        (desk.place / keys["url"]).write_text(json.dumps({"machinetypes": [{**OFFERED, **OFFERS[prefix]}]}))
        for key in ("hostcert", "hostkey"):
            write(files / keys["files"] / f"{key}.pem", f"{prefix} {key}\n")
        # As a site changes one machinetype of a pipe.
        offered = OFFERS[prefix]
        desk.machinetypes[f"{prefix}-{offered['suffix']}"] = {
            "image": offered["root_image"], "user_data": OFFERED["user_data"], "processors": 1,
        }  # fmt: skip
    for name, keys in desk.machinetypes.items():
        for path in keys.get("user_data_files", {}).values():
            write(files / path, f"{name} {path}\n")
        if "root_public_key" in keys:
            write(files / keys["root_public_key"], KEY)
        # One task more than a VM takes: HTCondor may start it twice on a busy host.
        in_the_lab(desk, name, keys, box.add_task(name, 3, 2))


def in_the_lab(desk: Desk, name: str, keys: dict[str, Any], queue: str) -> None:
    """Change one machinetype so that it runs here; the site's own image keeps the user data of its example."""
    # Two experiments call their images alike.
    image = f"{name}/{urlsplit(keys['image']).path.rpartition('/')[2]}"
    if keys.get("kind") == "cloud-init":
        keys.update(LAB_MACHINETYPE, image=image, memory_mb=CLOUD["memory_mb"], processors=1)
        keys["user_data_options"]["queue_url"] = queue
        (desk.place / name).mkdir()
        (desk.place / image).symlink_to(cloud_image())
    else:
        desk.run_in_the_lab(keys, image, queue)


def cloud_image() -> Path:
    """The lab's Debian with cloud-init, built now if there is none yet."""
    command = [str(ROOT / ".venv/bin/python"), "-m", "tests.lab", "image", "cloud"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip()) / "disk.qcow2"


def write(path: Path, text: str) -> None:
    """Write a file that an example names, with its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
