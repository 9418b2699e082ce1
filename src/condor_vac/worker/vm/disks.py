# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks that a VM writes to, made in its sandbox as the job's user: nothing is copied, all are sparse."""

from __future__ import annotations

import os

from condor_vac.base import tools
from condor_vac.base.errors import VacError

CACHE_NAME = "cvmfs_cache.raw"
SCRATCH_NAME = "scratch.raw"
ROOT_NAME = "root.qcow2"
# The context ISO is a disk to the VM, and may hold secrets.
CONTEXT_NAME = "context.iso"
NAMES = (CACHE_NAME, SCRATCH_NAME, ROOT_NAME, CONTEXT_NAME)
_GIB = 1 << 30
_TIMEOUT_SECONDS = 60.0


def make_sparse(directory: str, name: str, gigabytes: int) -> str:
    """A new raw disk of that size that holds no blocks yet; returns its path. Raises VacError."""
    path = f"{directory}/{name}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o600)
        try:
            os.ftruncate(fd, gigabytes * _GIB)
        finally:
            os.close(fd)
    except OSError as error:
        raise VacError(f"{path}: cannot make a disk of {gigabytes} GB: {error.strerror}") from error
    return path


def make_overlay(directory: str, image: str, image_format: str) -> str:
    """A new qcow2 disk that holds what the VM changes of ``image``, which stays as it is. Raises VacError.

    ``image`` is absolute and ``image_format`` raw or qcow2: named, never guessed, since a guest that wrote a
    qcow2 header into a raw image could otherwise name any file of the host as its backing file.
    """
    path = f"{directory}/{ROOT_NAME}"
    if os.path.lexists(path):
        raise VacError(f"{path}: already exists; it must not be among the job's files")
    tools.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", image_format, "-b", image, path],
        timeout=_TIMEOUT_SECONDS,
    )
    return path


def remove(directory: int) -> None:
    """Remove the disks from the open directory, so that none is taken for output of the job."""
    for name in NAMES:
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise VacError(f"{name}: cannot remove the disk: {error.strerror}") from error
