# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's modules without compiling what they share anew for each task.

Ansible sends each module with its module_utils as sources in a zip file, of which Python keeps no bytecode: on an
emulated processor half of a task's time goes into compiling the same files. Here their code is kept by a digest of
the source, so that what runs is what was sent. Every Python of the machine loads this when it starts: it imports
only what is there by then.
"""

import _imp
import marshal
import os
import sys
import zipimport

CACHE = f"/var/cache/lab-modules/{sys.implementation.cache_tag}"
compile_source = zipimport._compile_source  # type: ignore[attr-defined]


def kept(pathname: str, source: bytes) -> object:
    """Instead of zipimport's own: the code of a file in a zip. Raises SyntaxError, as that does."""
    path = f"{CACHE}/{_imp.source_hash(len(source), source).hex()}"
    try:
        with open(path, "rb") as stream:
            return marshal.loads(stream.read())  # noqa: S302 - root of this machine wrote it
    except OSError:
        code = compile_source(pathname, source)
    if os.geteuid() == 0:
        os.makedirs(CACHE, exist_ok=True)
        with open(f"{path}.{os.getpid()}", "wb") as stream:
            stream.write(marshal.dumps(code))
        os.replace(f"{path}.{os.getpid()}", path)
    return code


zipimport._compile_source = kept  # type: ignore[attr-defined]
