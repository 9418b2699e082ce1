# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a file is that the inventory names by a relative path: the one rule for user data, keys, images and pipes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError

FILE_LIMIT = 4 << 20
UNLOCK = "give ansible-playbook the vault's password (--vault-id, --ask-vault-pass), or check the password given"
_VAULT = b"$ANSIBLE_VAULT"


class ControllerFileError(AnsibleError):  # type: ignore[misc]
    """A file that is not there (the message names every place that was searched), or that cannot be read."""

    remedy = "correct the path, or the file"


def find(source: str, variables: Mapping[str, Any]) -> str:
    """The absolute path of a file or directory on the controller. Raises ControllerFileError.

    An absolute path, or one with ~, is taken as it is. A relative one is searched for beside the inventory, then where
    Ansible searches (the role and the playbook that need it), then in the current directory: in each as it is, then
    below ``files``. ``variables``: the variables of a task (``inventory_dir``, ``ansible_search_path``,
    ``playbook_dir``).
    """
    try:
        given = Path(source).expanduser()
    except RuntimeError as error:
        raise ControllerFileError(f"no file {source} on the controller: {error}") from error
    # The directory on the left counts for nothing where the path is absolute.
    tried = list(dict.fromkeys(place / more / given for place in _places(variables) for more in ("", "files")))
    for path in tried:
        if path.exists():
            return os.path.normpath(path)
    raise ControllerFileError(f"no file {source} on the controller: searched {', '.join(map(str, tried))}")


def read(source: str, variables: Mapping[str, Any], loader: Any) -> tuple[bytes, bool]:
    """A file's bytes, decrypted if it is a vault's, and whether it was one. Raises ControllerFileError.

    *loader* is Ansible's, which has the vaults' passwords.
    """
    path = find(source, variables)
    encrypted = False
    try:
        if Path(path).stat().st_size > FILE_LIMIT:
            raise ControllerFileError(f"{source} is larger than {FILE_LIMIT} bytes; is it the right file?")
        encrypted = Path(path).read_bytes().startswith(_VAULT)
        return Path(loader.get_real_file(path)).read_bytes(), encrypted
    except ControllerFileError:
        raise
    except (AnsibleError, OSError) as error:
        unread = ControllerFileError(f"cannot read {source} on the controller: {error}")
        if encrypted:
            unread.remedy = UNLOCK
        raise unread from error
    finally:
        loader.cleanup_all_tmp_files()


def _places(variables: Mapping[str, Any]) -> Iterator[Path]:
    """The directories in the order of the search."""
    words = [
        variables.get("inventory_dir"),
        *(variables.get("ansible_search_path") or ()),
        variables.get("playbook_dir"),
        str(Path.cwd()),
    ]
    return (Path(str(word)) for word in words if word)
