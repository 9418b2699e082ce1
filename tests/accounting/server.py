# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for AUDITOR's server and for APEL's message broker; run by the Python that has AUDITOR's programs.

``python server.py DIRECTORY``. In DIRECTORY: ``records``, a record a line; ``messages/N``; ``ignore`` exists: a record
that is known is no error (ignore_record_exists_error of AUDITOR's server); ``hold`` has a number: that record, counted
from the start of the server, is stored and never answered, and ``held`` is written then.
"""

from __future__ import annotations

import base64
import importlib
import json
import ssl
import sys
import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

pyauditor = importlib.import_module("pyauditor")
PORT, BROKER_PORT = 8000, 443
DIRECTORY = Path(sys.argv[1])
LOCK = threading.Lock()


def moment(text: str) -> datetime:
    """A time of a record or a query."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def checked(given: dict[str, Any]) -> dict[str, Any]:
    """The record as python-auditor's classes make it of its parts. They raise for what is no record."""
    record = pyauditor.Record(given["record_id"], moment(given["start_time"]))
    record = record.with_stop_time(moment(given["stop_time"]))
    meta = pyauditor.Meta()
    for name, values in given["meta"].items():
        meta.insert(name, values)
    record = record.with_meta(meta)
    for part in given["components"]:
        component = pyauditor.Component(part["name"], part["amount"])
        for score in part["scores"]:
            component = component.with_score(pyauditor.Score(score["name"], score["value"]))
        record = record.with_component(component)
    return dict(json.loads(record.to_json()))


def stored() -> list[dict[str, Any]]:
    """All records."""
    path = DIRECTORY / "records"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def matches(record: dict[str, Any], query: dict[str, str]) -> bool:
    """As AUDITOR's server understands what the APEL plugin asks."""
    stop = moment(record["stop_time"])
    for key, value in query.items():
        if key.startswith("meta["):
            good = value in record["meta"].get(key.split("[")[1].rstrip("]"), [])
        else:
            limit = moment(value) if key.startswith("stop_time") else int(value)
            have: Any = stop if key.startswith("stop_time") else record["runtime"]
            good = {"gte": have >= limit, "lt": have < limit, "gt": have > limit}[key.split("[")[1].rstrip("]")]
        if not good:
            return False
    return True


class Server(BaseHTTPRequestHandler):
    """AUDITOR: /record and /records. The broker: /v1/…"""

    count = 0

    def do_GET(self) -> None:
        """Records, or the broker's token."""
        where = urlsplit(self.path)
        if where.path == "/records":
            query = dict(parse_qsl(where.query))
            # One after another, as AUDITOR's server streams them and the client of the plugin reads them.
            self.answer(200, "\n".join(json.dumps(record) for record in stored() if matches(record, query)))
        else:
            self.answer(200, json.dumps({"token": "t"}))

    def do_POST(self) -> None:
        """A record, or a message."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.startswith("/v1/"):
            self.message(body)
        else:
            self.record(body)

    def message(self, body: dict[str, Any]) -> None:
        """Keep what the plugin publishes."""
        place = DIRECTORY / "messages"
        place.mkdir(exist_ok=True)
        for message in body["messages"]:
            place.joinpath(str(len(list(place.iterdir())))).write_bytes(base64.b64decode(message["data"]))
        self.answer(200, json.dumps({"messageIds": ["1"]}))

    def record(self, body: dict[str, Any]) -> None:
        """Keep a record that python-auditor's classes accept as it is."""
        record = checked(body)
        if record != {**body, "runtime": record["runtime"]}:
            self.answer(400, f"{record} is not {body}")
            return
        with LOCK:
            Server.count += 1
            known = any(each["record_id"] == record["record_id"] for each in stored())
            if not known:
                with (DIRECTORY / "records").open("a") as records:
                    records.write(json.dumps(record) + "\n")
            hold = DIRECTORY / "hold"
            if hold.exists() and int(hold.read_text()) == Server.count:
                (DIRECTORY / "held").touch()
                time.sleep(3600)
        if known and not (DIRECTORY / "ignore").exists():
            self.answer(500, "RECORD_EXISTS")
        else:
            self.answer(200, "")

    def answer(self, code: int, text: str) -> None:
        """One answer."""
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: the test shows what was asked."""


def main() -> None:
    """Serve both until it is ended; ``ready`` is written first."""
    broker = ThreadingHTTPServer(("127.0.0.1", BROKER_PORT), Server)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(DIRECTORY / "cert.pem", DIRECTORY / "key.pem")
    broker.socket = context.wrap_socket(broker.socket, server_side=True)
    threading.Thread(target=broker.serve_forever, daemon=True).start()
    auditor = ThreadingHTTPServer(("127.0.0.1", PORT), Server)
    (DIRECTORY / "ready").touch()
    auditor.serve_forever()


if __name__ == "__main__":
    main()
