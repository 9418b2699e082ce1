# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of machinetype: checks the inventory, reads the files it names, and sends all in one call."""

from __future__ import annotations

import base64
import json
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import IMAGE_DIRECTORY, MACHINETYPES_DIRECTORY
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import (
    controller_files,
    http_proxy,
    image_files,
    machinetypes,
)

MODULE = "vacuum.htcondor.machinetype"


def _proxy(proxy: object, no_proxy: object) -> dict[str, Any] | None:
    """What a machinetype's file for the HTTP proxy holds; None without a proxy. Raises AnsibleActionFail."""
    fault = http_proxy.fault(proxy, no_proxy, ("http_proxy", "no_proxy"))
    if fault:
        raise AnsibleActionFail(fault)
    return {"http_proxy": proxy, "no_proxy": no_proxy or []} if proxy else None


def _proxy_file(name: str, data: dict[str, Any], proxy: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """File name → its bytes, for a machinetype whose user data the factory fetches through the proxy."""
    if proxy is None or not machinetypes.URL.match(data["user_data"]):
        return {}
    content = json.dumps(proxy, indent=1, sort_keys=True) + "\n"
    return {f"{name}.http_proxy": {"content": base64.b64encode(content.encode()).decode("ascii"), "secret": True}}


class ActionModule(ActionBase):  # type: ignore[misc]
    """One round trip for all machinetypes; everything that may be secret is in one argument that is never shown."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Turn machinetypes, defaults and image_dir into the module's payload. Raises AnsibleActionFail."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if "payload" in arguments:
            raise AnsibleActionFail("payload is filled in by the action plugin: leave it out of the task")
        wanted = arguments.pop("machinetypes", None)
        defaults = arguments.pop("defaults", None) or {}
        image_dir = arguments.pop("image_dir", None) or IMAGE_DIRECTORY
        proxy = _proxy(arguments.pop("http_proxy", None), arguments.pop("no_proxy", None))
        if wanted is not None:
            directory = arguments.get("directory") or MACHINETYPES_DIRECTORY
            try:
                checked = machinetypes.checked(wanted)
                images = image_files.names(checked)
                prefixes = self._prefixes(task_vars or {})
                payload = {
                    name: {
                        "document": machinetypes.document(
                            data, name, directory, f"{image_dir}/{images[name]}", defaults
                        ),
                        "files": {**self._files(name, data, task_vars or {}), **_proxy_file(name, data, proxy)},
                        "of_pipe": f"{name}-".startswith(prefixes),
                    }
                    for name, data in checked.items()
                }
            except machinetypes.MachinetypeError as error:
                raise AnsibleActionFail(error.message) from error
            arguments["payload"] = base64.b64encode(json.dumps(payload).encode()).decode("ascii")
        result: dict[str, Any] = self._execute_module(
            module_name=MODULE, module_args=arguments, task_vars=task_vars or {}
        )
        return result

    def _prefixes(self, variables: dict[str, Any]) -> tuple[str, ...]:
        """What names of machinetypes of the site's pipes begin with."""
        pipes = variables.get("vacuum_pipes")
        if isinstance(pipes, str):
            pipes = self._templar.template(pipes)
        return tuple(f"{prefix}-" for prefix in pipes) if isinstance(pipes, dict) else ()

    def _files(self, name: str, data: dict[str, Any], variables: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """File name on the access point → its bytes (base64), and whether a diff may show them."""
        found = {}
        for file_name, (key, source) in machinetypes.sources(data, name).items():
            content, encrypted = self._read(f"{machinetypes.VARIABLE}.{name}.{key}", source, variables)
            secret = encrypted or key.startswith("user_data_files.")
            found[file_name] = {"content": base64.b64encode(content).decode("ascii"), "secret": secret}
        return found

    def _read(self, key: str, source: str, variables: dict[str, Any]) -> tuple[bytes, bool]:
        """The file's bytes, decrypted if it is a vault's, and whether it was one."""
        try:
            return controller_files.read(source, variables, self._loader)
        except controller_files.ControllerFileError as error:
            raise AnsibleActionFail(f"{key}: {error.message}") from error
