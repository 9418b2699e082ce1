# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version of an image a VM runs on, from the job's disks to its lease."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from condor_vac.cli import image
from condor_vac.image import fetch as image_fetch
from condor_vac.image.fetch import Bounds, Wanted
from condor_vac.image.store import Store
from condor_vac.model.machinetype import Machinetype
from condor_vac.worker.lease import store as lease_store
from condor_vac.worker.vm import preparation
from condor_vac.worker.vm.job_ad import Disk, JobAd
from tests.unit.condor_vac.worker.conftest import Node

KIND = Machinetype.from_mapping(
    {"name": "atlas", "owner": "vac", "kind": "cernvm", "image": "/i/vm.iso", "user_data": "/u"}, "test"
)


def put(node: Node, data: bytes) -> str:
    """The version that is present after the image was put there."""
    source = node.base / "source.iso"
    source.write_bytes(data)
    store = Store(node.settings.image_dir)
    with store.lock():
        wanted = Wanted("vm.iso", str(source))
        outcome = image_fetch.ensure(store, wanted, image.users(store), Bounds())
    assert outcome.after is not None
    return outcome.after.version


def test_a_vm_keeps_to_the_version_it_was_prepared_with(
    node: Node, job: JobAd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_store.Store.__init__, "__defaults__", (node.store.run_directory,))
    first = put(node, b"first" * 20_000)
    disks = (Disk(f"{node.settings.image_dir}/vm.iso", "hda", False, "raw"), Disk("s.raw", "vda", True, "raw"))
    ready = preparation.with_images(job._replace(disks=disks), node.settings)
    granted = node.acquire(**preparation.lease_request(ready, KIND, node.sandbox(), None, node.settings)._asdict())
    assert list(granted.images) == [first]
    assert image.users(Store(node.settings.image_dir)) == {first: [job.domain]}
    second = put(node, b"second" * 20_000)
    assert set(Store(node.settings.image_dir).sizes()) == {first, second}
    assert Path(ready.disks[0].file).read_bytes() == b"first" * 20_000
    assert ready.disks[0].cdrom
    assert ready.disks[1].file == "s.raw"
    node.store.delete(granted)
    third = put(node, b"third" * 20_000)
    assert set(Store(node.settings.image_dir).sizes()) == {third}


def test_other_paths_stay_as_they_are(node: Node, job: JobAd) -> None:
    outside = node.base / "outside.iso"
    outside.write_bytes(b"x")
    link = Path(node.settings.image_dir, "leads-out.iso")
    link.symlink_to(outside)
    plain = Path(node.settings.image_dir, "plain.iso")
    plain.write_bytes(b"y")
    for path in (str(outside), str(link), str(plain), f"{node.settings.image_dir}/missing.iso", "in-sandbox.iso"):
        ready = preparation.with_images(job._replace(disks=(Disk(path, "hda", False, "raw"),)), node.settings)
        assert ready.disks[0].file == path
        asked = preparation.lease_request(ready, KIND, "/x", None, node.settings)
        assert asked.images == ()
    assert os.path.lexists(link)
