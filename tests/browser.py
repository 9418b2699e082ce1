# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium, driven by its DevTools protocol over a pipe: what a page shows, asks for, and looks like.

https://chromedevtools.github.io/devtools-protocol/ ; with --remote-debugging-pipe Chromium reads from descriptor 3 and
writes to 4, JSON with a NUL behind each message.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAM = "chromium"
# Neither the sandbox, which needs more than root of a container has, nor what would go to the network by itself.
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
# Away from 3 and 4 first, which may be the pipes' own numbers.
_START = 'exec {a}<&"$1" {b}>&"$2"; shift 2; exec "$@" 3<&"$a" 4>&"$b"'
_SECONDS = 120.0
_PHONE = 600


class BrowserError(Exception):
    """Chromium ended, answered with an error, or not at all."""


class Browser:
    """A browser with one page; a context manager. ``requests`` are the addresses that the page asked for."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self._home = tempfile.TemporaryDirectory(prefix="condor_vac_browser.")
        self._number = 0
        self._left = b""
        self._loaded = False
        self._session = ""

    def __enter__(self) -> Browser:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()

        with open(Path(self._home.name) / "log", "wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", _START, "bash", str(to_browser), str(from_browser), PROGRAM, *_OPTIONS,
                 f"--user-data-dir={self._home.name}", "about:blank"],
                pass_fds=(to_browser, from_browser),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._out)
        os.close(self._in)
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._home.cleanup()

    def open(self, path: Path) -> float:
        """Load a file and lay it out; the seconds that this took."""
        self.requests.clear()
        self._loaded = False
        began = time.monotonic()
        self._call("Page.navigate", {"url": path.resolve().as_uri()})
        self._take(lambda _message: self._loaded)
        self.value("document.body.offsetHeight")
        return time.monotonic() - began

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is in the page, as JSON."""
        answer = self._call("Runtime.evaluate", {"expression": expression, "returnByValue": True})
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def scripts(self, allowed: bool) -> None:
        """Whether pages may run scripts of their own; `value` works all the same."""
        self._call("Emulation.setScriptExecutionDisabled", {"value": not allowed})

    def look(self, width: int, dark: bool) -> None:
        """Show the page so many pixels wide, on a telephone if that is few, in the light or dark scheme."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < _PHONE}
        self._call("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", {"features": [scheme]})

    def picture(self, path: Path) -> None:
        """Write the whole page as PNG."""
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        made = self._call("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        path.write_bytes(base64.b64decode(made["data"]))

    def _call(self, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        self._number += 1
        number = self._number
        order: dict[str, Any] = {"id": number, "method": method, "params": parameters or {}}
        if self._session:
            order["sessionId"] = self._session
        os.write(self._out, json.dumps(order).encode() + b"\0")
        answer = self._take(lambda message: message.get("id") == number)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']}")
        return dict(answer["result"])

    def _take(self, wanted: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        """Read messages up to the one that is wanted."""
        while True:
            message = self._message()
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            elif message.get("method") == "Page.loadEventFired":
                self._loaded = True
            if wanted(message):
                return message

    def _message(self) -> dict[str, Any]:
        deadline = time.monotonic() + _SECONDS
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._in, 1 << 16) if ready else b""
            if not data:
                log = (Path(self._home.name) / "log").read_text("utf-8", "replace")[-1000:]
                raise BrowserError(f"no answer of {PROGRAM}: {log}")
            self._left += data
        line, self._left = self._left.split(b"\0", 1)
        return dict(json.loads(line))
