#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""An experiment's task queue, for VMs of the test guest to ask. One file, standard library only.

taskqueue.py serve [--host H] [--port P] [--lease S] [--tasks QUEUE:N:SECONDS[:light] ...] [--series ...]
taskqueue.py add URL N SECONDS [--light]  |  end URL  |  status URL

URL is http://HOST:PORT (the queue `default`) or http://HOST:PORT/QUEUE; a queue exists from its first use.
POST URL/add?n=N&seconds=S        N more tasks of S seconds; with &light=yes light ones, which wait and do not compute
POST URL/task?vm=VM&host=HOST     a task as the line `ID SECONDS` or `ID SECONDS light`, or `none`
                                  (with &format=json: {"id", "seconds", "light"}, or {});
                                  with &again=yes the one that this VM has, if it did not hear the answer
POST URL/done?vm=VM&id=ID         that task is finished; 409 if another VM has taken it since
POST URL/end                      the series end: what is done from now on is followed by nothing
POST URL/empty                    the tasks that no VM has are withdrawn
GET  URL/status                   counters, JSON (see Queue.status)
A task that is not done LEASE seconds beyond its own length after it was taken goes back, before those that nobody had.
A series is work for one VM without an end: whenever a task of it is done, there is another one, which for a minute only
the VM that did the last may have.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import re
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, NamedTuple

DEFAULT_QUEUE = "default"
MAX_TASKS = 100_000
MAX_EVENTS = 10_000
MAX_VMS = 10_000
MAX_QUEUES = 100
MAX_BODY = 65_536
KEEP_SECONDS = 60
QUEUE_NAME = "[A-Za-z0-9._-]{1,64}"


class BadRequest(Exception):
    """What is wrong with a request; answered with the status."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class Task:
    """One task: `vm` and `taken` (Unix s) are those of the last VM that took it.

    While it is queued and `kept_until` (Unix s) has not come, only VM `kept_for` may have it.
    """

    id: str
    seconds: float
    light: bool = False
    state: str = "queued"
    vm: str = ""
    host: str = ""
    taken: float = 0.0
    series: bool = False
    kept_for: str = ""
    kept_until: float = 0.0


class Queue:
    """Tasks in the order in which they were added. Not for several threads at once."""

    def __init__(self, lease: float, clock: Callable[[], float] = time.time) -> None:
        self._lease = lease
        self._clock = clock
        self._numbers = itertools.count(1)
        self._tasks: dict[str, Task] = {}
        self._queued: collections.deque[str] = collections.deque()
        self._vms: dict[str, dict[str, Any]] = {}
        self._asks_without_task = 0
        self._requeued = 0
        self._series_go_on = True
        self._events: collections.deque[dict[str, Any]] = collections.deque(maxlen=MAX_EVENTS)

    def add(self, count: int, seconds: float, light: bool = False, series: bool = False) -> list[str]:
        """Adds `count` tasks of `seconds`, or `count` series of them; returns their identifiers."""
        if not 1 <= count <= MAX_TASKS - len(self._tasks):
            raise BadRequest(f"n={count}: not in 1..{MAX_TASKS - len(self._tasks)}")
        if not 0 <= seconds <= 1e6:
            raise BadRequest(f"seconds={seconds}: not in 0..1000000")
        tasks = [Task(f"t{next(self._numbers)}", seconds, light, series=series) for _ in range(count)]
        for task in tasks:
            self._tasks[task.id] = task
            self._queued.append(task.id)
        self._event("added", detail=f"{count} of {seconds:g} s")
        return [task.id for task in tasks]

    def take(self, vm: str, host: str, again: bool = False) -> Task | None:
        """The next task for a VM, or None; ``again``: the one that it has already, if it has one."""
        self._expire()
        seen = self._vm(vm, host)
        seen["asks"] += 1
        mine = (task for task in self._tasks.values() if task.state == "taken" and task.vm == vm)
        if again and (task := next(mine, None)):
            self._event("again", vm, task.id)
            return task
        task = self._next_for(vm)
        if task is None:
            self._asks_without_task += 1
            self._event("none", vm)
            return None
        self._queued.remove(task.id)
        task.state, task.vm, task.host, task.taken = "taken", vm, host, self._clock()
        seen["taken"] += 1
        self._event("taken", vm, task.id)
        return task

    def done(self, vm: str, identifier: str) -> None:
        """The VM finished the task (again: no harm); its lease may have run out if no other VM took it since."""
        self._expire()
        task = self._tasks.get(identifier)
        if task is None:
            raise BadRequest(f"id={identifier}: no such task", 404)
        if task.vm != vm:
            raise BadRequest(f"id={identifier}: {task.state}, last taken by {task.vm or 'nobody'}", 409)
        if task.state == "done":
            return
        if task.state == "queued":
            self._queued.remove(identifier)
        task.state = "done"
        self._vm(vm, task.host)["done"] += 1
        self._event("done", vm, identifier)
        if task.series and self._series_go_on and len(self._tasks) < MAX_TASKS:
            self._follow(task)

    def end_series(self) -> None:
        """From now on no task is followed by another one."""
        self._series_go_on = False
        self._event("ended")

    def empty(self) -> int:
        """Withdraws the tasks that no VM has; returns how many."""
        self._expire()
        withdrawn = [self._tasks.pop(identifier) for identifier in self._queued]
        self._queued.clear()
        self._event("emptied", detail=f"{len(withdrawn)}")
        return len(withdrawn)

    def status(self) -> dict[str, Any]:
        """Counters queued, kept (of the queued, for one VM each), taken, done, requeued, asks_without_task, and:

        vms {name: host, asks, taken, done, first, last}; tasks {id: vm, host, state, seconds} of all that a VM took;
        events [{time, event, vm, task, detail}], event being added, taken, again, none, done, ended, emptied, requeued.
        """
        self._expire()
        states = collections.Counter(task.state for task in self._tasks.values())
        return {
            **{state: states[state] for state in ("queued", "taken", "done")},
            "kept": sum(self._is_kept(self._tasks[identifier]) for identifier in self._queued),
            "requeued": self._requeued,
            "asks_without_task": self._asks_without_task,
            "vms": self._vms,
            "tasks": {
                task.id: {"vm": task.vm, "host": task.host, "state": task.state, "seconds": task.seconds}
                for task in self._tasks.values()
                if task.vm
            },
            "events": list(self._events),
        }

    def _next_for(self, vm: str) -> Task | None:
        """The first task that is not kept for another VM; those that are kept come first."""
        waiting = (self._tasks[identifier] for identifier in self._queued)
        return next((task for task in waiting if task.kept_for == vm or not self._is_kept(task)), None)

    def _is_kept(self, task: Task) -> bool:
        return task.kept_for != "" and self._clock() < task.kept_until

    def _follow(self, done: Task) -> None:
        task = Task(f"t{next(self._numbers)}", done.seconds, done.light, series=True)
        task.kept_for, task.kept_until = done.vm, self._clock() + KEEP_SECONDS
        self._tasks[task.id] = task
        self._queued.appendleft(task.id)

    def _vm(self, name: str, host: str) -> dict[str, Any]:
        now = self._clock()
        if name not in self._vms:
            if len(self._vms) >= MAX_VMS:
                raise BadRequest(f"more than {MAX_VMS} VMs", 429)
            self._vms[name] = {"host": host, "asks": 0, "taken": 0, "done": 0, "first": now}
        self._vms[name]["last"] = now
        return self._vms[name]

    def _expire(self) -> None:
        now = self._clock()
        for task in self._tasks.values():
            if task.state == "taken" and now > task.taken + task.seconds + self._lease:
                task.state = "queued"
                self._queued.appendleft(task.id)
                self._requeued += 1
                self._event("requeued", task.vm, task.id)

    def _event(self, event: str, vm: str = "", task: str = "", detail: str = "") -> None:
        self._events.append({"time": self._clock(), "event": event, "vm": vm, "task": task, "detail": detail})


class Work(NamedTuple):
    """Tasks that are there from the start: so many, of so many seconds each."""

    queue: str
    number: int
    seconds: float
    light: bool = False

    @classmethod
    def of(cls, text: str) -> Work:
        """QUEUE:N:SECONDS or QUEUE:N:SECONDS:light, as on the command line. Raises ValueError."""
        match = re.fullmatch(rf"({QUEUE_NAME}):([0-9]{{1,6}}):([0-9.]{{1,10}})(:light)?", text)
        if not match:
            raise ValueError(text)
        return cls(match.group(1), int(match.group(2)), float(match.group(3)), match.group(4) is not None)


class Server(ThreadingHTTPServer):
    """All the queues, behind one lock."""

    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], lease: float, tasks: Sequence[Work] = (), series: Sequence[Work] = ()
    ) -> None:
        super().__init__(address, Handler)
        self._lease = lease
        self._lock = threading.Lock()
        self._queues: dict[str, Queue] = {}
        for works, endless in ((tasks, False), (series, True)):
            for work in works:
                self._queue(work.queue).add(work.number, work.seconds, work.light, endless)

    def answer(self, method: str, target: str) -> tuple[str, bytes]:
        """Content type and body for a request. Raises BadRequest."""
        url = urllib.parse.urlsplit(target)
        match = re.fullmatch(rf"(?:/({QUEUE_NAME}))?/(add|task|done|end|empty|status)", url.path)
        if not match:
            raise BadRequest(f"{url.path[:100]}: not [/QUEUE]/add, task, done, end, empty or status", 404)
        name, action = match.group(1) or DEFAULT_QUEUE, match.group(2)
        if (method == "GET") != (action == "status"):
            raise BadRequest(f"{method} {action}: status is GET, all others are POST", 405)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        with self._lock:
            return getattr(self, f"_{action}")(self._queue(name), query)  # type: ignore[no-any-return]

    def _queue(self, name: str) -> Queue:
        if name not in self._queues and len(self._queues) >= MAX_QUEUES:
            raise BadRequest(f"more than {MAX_QUEUES} queues", 429)
        return self._queues.setdefault(name, Queue(self._lease))

    def _add(self, queue: Queue, query: dict[str, str]) -> tuple[str, bytes]:
        added = queue.add(int(_number(query, "n")), _number(query, "seconds"), query.get("light") == "yes")
        return _json({"added": len(added), "ids": added})

    def _task(self, queue: Queue, query: dict[str, str]) -> tuple[str, bytes]:
        task = queue.take(_word(query, "vm"), _word(query, "host", ""), query.get("again") == "yes")
        if query.get("format") == "json":
            return _json({"id": task.id, "seconds": task.seconds, "light": task.light} if task else {})
        words = [task.id, f"{task.seconds:g}", *(["light"] if task.light else [])] if task else ["none"]
        return "text/plain", f"{' '.join(words)}\n".encode()

    def _done(self, queue: Queue, query: dict[str, str]) -> tuple[str, bytes]:
        queue.done(_word(query, "vm"), _word(query, "id"))
        return "text/plain", b"ok\n"

    def _end(self, queue: Queue, query: dict[str, str]) -> tuple[str, bytes]:
        queue.end_series()
        return _json({})

    def _empty(self, queue: Queue, query: dict[str, str]) -> tuple[str, bytes]:
        return _json({"withdrawn": queue.empty()})

    def _status(self, queue: Queue, query: dict[str, str]) -> tuple[str, bytes]:
        return _json({**queue.status(), "queues": sorted(self._queues)})


def _number(query: dict[str, str], key: str) -> float:
    text = query.get(key, "")
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", text):
        raise BadRequest(f"{key}={text[:20]!r}: not a number")
    return float(text)


def _word(query: dict[str, str], key: str, default: str | None = None) -> str:
    text = query.get(key, default)
    if text is None or not re.fullmatch(r"[A-Za-z0-9._:@-]{0,128}", text) or (not text and default is None):
        raise BadRequest(f"{key}={(text or '')[:20]!r}: 1 to 128 characters A-Z a-z 0-9 . _ : @ - wanted")
    return text


def _json(value: object) -> tuple[str, bytes]:
    return "application/json", json.dumps(value).encode() + b"\n"


class Handler(BaseHTTPRequestHandler):
    """One request. All its values are in its address; a body is read and ignored."""

    server: Server
    timeout = 30

    def _handle(self) -> None:
        length = self.headers.get("Content-Length", "0")
        self.rfile.read(min(int(length), MAX_BODY) if length.isdecimal() else 0)
        try:
            status, (kind, body) = 200, self.server.answer(self.command, self.path)
        except BadRequest as error:
            status, kind, body = error.status, "text/plain", f"{error}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _handle


def serve(host: str, port: int, lease: float, tasks: Sequence[Work] = (), series: Sequence[Work] = ()) -> None:
    """Serves until it is stopped; prints the address on standard output, with the port that it got."""
    with Server((host, port), lease, tasks, series) as server:
        print(f"taskqueue: http://{host}:{server.server_address[1]}", flush=True)
        server.serve_forever()


def request(url: str, method: str, timeout: float = 10) -> Any:
    """The JSON answer to a request. Raises OSError (urllib.error among them) and ValueError (not JSON)."""
    if not url.startswith(("http://", "https://")):
        raise OSError(f"{url}: not an http address")
    asked = urllib.request.Request(url, method=method)  # noqa: S310  (the scheme is checked above)
    with urllib.request.urlopen(asked, timeout=timeout) as answer:  # noqa: S310
        return json.load(answer)


def add(url: str, count: int, seconds: float, light: bool = False) -> None:
    request(f"{url.rstrip('/')}/add?n={count}&seconds={seconds:g}{'&light=yes' if light else ''}", "POST")


def end_series(url: str) -> None:
    request(f"{url.rstrip('/')}/end", "POST")


def status(url: str) -> dict[str, Any]:
    found: dict[str, Any] = request(f"{url.rstrip('/')}/status", "GET")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("serve", help="be the task queue")
    command.add_argument("--host", default="0.0.0.0", help="address to listen on (all)")
    command.add_argument("--port", type=int, default=8081)
    command.add_argument("--lease", type=float, default=300, help="seconds beyond a task's length (300)")
    for option, what in (("--tasks", "tasks to begin with"), ("--series", "series of tasks to begin with")):
        command.add_argument(
            option, type=Work.of, action="append", default=[], metavar="QUEUE:N:SECONDS[:light]", help=what
        )
    command = commands.add_parser("add", help="add tasks")
    command.add_argument("url")
    command.add_argument("count", type=int)
    command.add_argument("seconds", type=float)
    command.add_argument("--light", action="store_true", help="light tasks")
    for verb, what in (("end", "let no task of a series be followed by another"), ("status", "print counters as JSON")):
        commands.add_parser(verb, help=what).add_argument("url")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        if options.command == "serve":
            serve(options.host, options.port, options.lease, options.tasks, options.series)
        elif options.command == "add":
            add(options.url, options.count, options.seconds, options.light)
        elif options.command == "end":
            end_series(options.url)
        else:
            print(json.dumps(status(options.url), indent=1))
    except (OSError, ValueError, BadRequest) as error:
        print(f"taskqueue: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
