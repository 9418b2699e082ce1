# SPDX-License-Identifier: GPL-3.0-or-later
"""An access point, two worker nodes, a web server with a CA of the test's, and a forward proxy, all on loopback."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration import chroot
from tests.integration.images.node import Controller, Node
from tests.unit.forward_proxy import ForwardProxy, forward_proxy
from tests.unit.webserver import WebServer, certificate, web_server

# No name server has it: only the proxy knows where it is.
HOST = "images.vac.invalid"
USER = "vac:open-sesame@/"
PASSWORD = "open-sesame"


@dataclass
class Site:
    """What a test has. ``ca`` is a file that nodes can read as well."""

    head: Node
    workers: tuple[Node, Node]
    controller: Controller
    web: WebServer
    proxy: ForwardProxy
    ca: str

    @property
    def proxy_url(self) -> str:
        """With user and password."""
        return self.proxy.with_user(USER)

    def image(self, path: str = "/vm.iso", **keys: str) -> dict[str, dict[str, str]]:
        """The role's variable worker_images, of one image that is reached through the proxy only."""
        return {"vm.iso": {"source": f"https://{HOST}{path}", "ca": self.ca, **keys}}


@pytest.fixture
def site() -> Iterator[Site]:
    reason = chroot.missing()
    if reason is not None:
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        # Below /tmp, which nodes share with this machine.
        base = Path(tempfile.mkdtemp(prefix="condor_vac_images.", dir="/tmp"))
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        base.chmod(0o755)
        pem = certificate(base / "web.pem", HOST, "127.0.0.1")
        web = stack.enter_context(web_server(pem))
        proxy = stack.enter_context(forward_proxy({f"{HOST}:443": web.port}, user=USER))
        nodes = [stack.enter_context(Node(name, base / name)) for name in ("head", "wn1", "wn2")]
        controller = Controller(base, nodes[0], nodes[1:])
        yield Site(nodes[0], (nodes[1], nodes[2]), controller, web, proxy, str(pem))
