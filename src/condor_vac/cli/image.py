# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac image``: the images of this worker node.

``put`` installs an image, ``refresh`` asks the servers of images that are not pinned by a digest,
``keep`` removes all others, ``list`` shows the images and ``verify`` checks a CernVM signature. All but the
last need root, as does the Ansible module vm_image, which calls this.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from condor_vac.base import http_proxy_file, urls
from condor_vac.base.errors import UsageError, VacError
from condor_vac.base.x509 import GRID_CA
from condor_vac.cli.progress import ProgressLine
from condor_vac.image import failures, qcow2, signature
from condor_vac.image import fetch as image_fetch
from condor_vac.image.fetch import Bounds, Outcome, Wanted
from condor_vac.image.store import Record, Store, check_name
from condor_vac.worker import settings as settings_module
from condor_vac.worker.lease import store as lease_store

_GIB = 1 << 30
_MIB = 1 << 20
_AGAIN = "put it again (condor_vac image put, or vacuum.htcondor.site)"
_PROXY_HELP = f"{http_proxy_file.OPTION_HELP} (default: {http_proxy_file.NODE_FILE}, if it exists)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``condor_vac image``."""
    actions = parser.add_subparsers(dest="action", title="actions", metavar="ACTION", required=True)
    shown = _parser(actions, "list", "what images there are, and which VMs run on them")
    shown.add_argument("--digest", action="store_true", help="read every image again, to find damage")
    put = _parser(actions, "put", "have this image, fetched and checked")
    put.add_argument("name", metavar="NAME", help="file name below the image directory")
    put.add_argument("source", metavar="SOURCE", help="https URL, or a file of this node")
    put.add_argument("--checksum", metavar="sha256:HEX", help="the only contents to accept")
    put.add_argument("--signing-dn", metavar="REGEX", help="demand a CernVM signature by such a DN")
    put.add_argument("--ca", metavar="PATH", help=f"CA file or directory (default {GRID_CA})")
    put.add_argument("--origin", metavar="TEXT", help="where SOURCE was copied from, for the record")
    put.add_argument(
        "--private-hosts",
        metavar="HOSTS",
        help="SOURCE is a URL that a pipe wrote: it may lead to public addresses, and to these hosts alone",
    )
    put.add_argument("--timeout", type=float, default=3600.0, metavar="SECONDS", help="of a fetch (default 3600)")
    put.add_argument("--http-proxy", metavar="FILE", help=_PROXY_HELP)
    put.add_argument("--dry-run", action="store_true", help="only print what would change")
    refresh = _parser(actions, "refresh", "fetch what changed at its source, and remove versions that nothing uses")
    refresh.add_argument("--timeout", type=float, default=3600.0, metavar="SECONDS", help="of a fetch (default 3600)")
    refresh.add_argument("--http-proxy", metavar="FILE", help=_PROXY_HELP)
    keep = _parser(actions, "keep", "remove all other images, each when no VM runs on it any more")
    keep.add_argument("names", nargs="*", metavar="NAME", help="images to keep")
    keep.add_argument("--dry-run", action="store_true", help="only print what would change")
    remove = _parser(actions, "remove", "remove images, each when no VM runs on it any more")
    remove.add_argument("names", nargs="+", metavar="NAME", help="images to remove")
    remove.add_argument("--dry-run", action="store_true", help="only print what would change")
    verify = _parser(actions, "verify", "check the signature of a CernVM image")
    verify.add_argument("file", metavar="FILE", help="the image")
    verify.add_argument("--signing-dn", metavar="REGEX", default="", help="what the signer's DN must match")
    verify.add_argument("--ca", metavar="PATH", default=GRID_CA, help="CA file or directory")


def _parser(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=summary)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    if name != "verify":
        parser.add_argument("--directory", metavar="DIR", help="image directory (default: this node's)")
    return parser


def run(args: argparse.Namespace) -> int:
    """One action; 1 if ``refresh`` could not ask about an image or ``list`` found damage. Raises VacError."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list,
        "put": _put,
        "refresh": _refresh,
        "keep": _keep,
        "remove": _remove,
        "verify": _verify,
    }
    return actions[args.action](args)


def users(store: Store) -> dict[str, list[str]]:
    """Version → the VMs (libvirt's names) that run on it, by their leases.

    What a damaged lease names is not known, so it counts as a user of every version. Raises VacError.
    """
    leases, damaged = lease_store.Store().read()
    found: dict[str, list[str]] = {version: [f"lease {one.uuid}" for one in damaged] for version in store.sizes()}
    for lease in leases:
        for version in lease.images:
            found.setdefault(version, []).append(lease.domain)
    return {version: vms for version, vms in found.items() if vms}


def _store(args: argparse.Namespace) -> Store:
    return Store(args.directory or settings_module.load().image_dir)


def _bounds(args: argparse.Namespace) -> Bounds:
    budget = 0 if args.directory else settings_module.load().image_budget_gb
    if args.http_proxy is None and not args.directory:
        proxy = http_proxy_file.load_if_there(http_proxy_file.NODE_FILE)
    else:
        proxy = http_proxy_file.load(args.http_proxy)
    return Bounds(budget * _GIB or None, args.timeout, proxy)


def _put(args: argparse.Namespace) -> int:
    store = _store(args)
    wanted = Wanted(
        args.name, args.source, args.checksum, args.signing_dn, args.ca, args.origin, args.private_hosts
    )  # fmt: skip
    if args.dry_run:
        outcome = _ensure(store, wanted, _bounds(args), apply=False)
    else:
        with store.lock():
            outcome = _ensure(store, wanted, _bounds(args), apply=True)
            failures.clear(store, {wanted.name})
    if args.json:
        print(json.dumps(_outcome(outcome)))
    else:
        after = outcome.after
        state = "changed" if outcome.changed else "unchanged"
        print(f"{args.name}: {state}" + ("" if after is None else f", {after.version}, {after.size} bytes"))
    return 0


def _ensure(store: Store, wanted: Wanted, bounds: Bounds, *, apply: bool) -> Outcome:
    line = ProgressLine()

    def progress(done: int, total: int | None) -> None:
        of = "" if total is None else f" of {total / _MIB:.0f} ({100 * done // max(total, 1)} %)"
        line.show(f"{wanted.name}: {done / _MIB:.0f}{of} MiB")

    try:
        return image_fetch.ensure(store, wanted, users(store), bounds, apply=apply, progress=progress)
    finally:
        line.end()


def _refresh(args: argparse.Namespace) -> int:
    store, bounds = _store(args), _bounds(args)
    results: dict[str, Any] = {}
    failed: dict[str, str] = {}
    with store.lock():
        for name in store.names():
            try:
                wanted = _to_ask(store, name)
                if wanted is not None:
                    results[name] = _outcome(_ensure(store, wanted, bounds, apply=True))
            except VacError as error:
                failed[name] = str(error)
                results[name] = {"changed": False, "error": str(error)}
                print(f"condor_vac image: {name}: {error}; keeping the present version", file=sys.stderr)
        failures.save(store, failed, time.time())
        gone = store.prune(users(store))
    if args.json:
        print(json.dumps({"images": results, "removed": gone}))
    else:
        for name, result in results.items():
            print(f"{name}: {'changed' if result['changed'] else 'unchanged'}")
        for version in gone:
            print(f"removed {version}")
    return 1 if failed else 0


def _to_ask(store: Store, name: str) -> Wanted | None:
    """What to ask an image's source for; None where nothing could come of it. Raises VacError for a damaged image."""
    record = store.described(name)
    whole = record is not None and store.record(name) is not None
    if record is None or (whole and record.pinned):
        return None
    if not urls.is_url(record.source):
        if whole:
            return None
        raise VacError(f"not all of the image is here; {_AGAIN}")
    pinned = record.sha256 if record.pinned else None
    return Wanted(name, record.source, pinned, record.signing_dn, record.ca, private_hosts=record.private_hosts)


def _keep(args: argparse.Namespace) -> int:
    wanted = {check_name(name) for name in args.names}
    return _forget(args, lambda name: name not in wanted)


def _remove(args: argparse.Namespace) -> int:
    unwanted = {check_name(name) for name in args.names}
    return _forget(args, lambda name: name in unwanted)


def _forget(args: argparse.Namespace, unwanted: Callable[[str], bool]) -> int:
    """Take the links away, and what no VM uses; versions that VMs run on go later (``refresh``)."""
    store = _store(args)
    forgotten = [name for name in store.names() if unwanted(name)]
    in_use = users(store)
    kept: dict[str, VacError] = {}
    if args.dry_run:
        freed = {version for name in forgotten for version in store.versions_of(name)} & set(store.sizes())
        removed = sorted((freed - set(in_use)) | set(store.unused(in_use)))
    elif not forgotten and not store.unused(in_use):
        removed = []
    else:
        with store.lock():
            for name in forgotten:
                try:
                    store.forget(name)
                except VacError as error:
                    kept[name] = error
            removed = store.prune(in_use)
            failures.clear(store, set(forgotten) - set(kept))
    waiting = {version: vms for version, vms in in_use.items() if version.partition("-")[2] in forgotten}
    result = {"changed": bool(forgotten or removed), "forgotten": forgotten, "removed": removed, "in_use": waiting}
    if args.json:
        print(json.dumps(result))
    else:
        for name in forgotten:
            print(f"{name}: removed; no VM can start from it")
        for version, vms in waiting.items():
            print(f"{version}: removed when {', '.join(vms)} have ended")
    for name, reason in kept.items():
        print(f"condor_vac image: {name}: {reason}", file=sys.stderr)
    return 1 if kept else 0


def _list(args: argparse.Namespace) -> int:
    store = _store(args)
    in_use = users(store)
    rows = [_row(store, name, in_use, digest=args.digest) for name in store.names()]
    present = {row["version"] for row in rows}
    old: list[dict[str, Any]] = [
        {"version": version, "size": size, "vms": in_use.get(version, [])}
        for version, size in sorted(store.sizes().items())
        if version not in present
    ]
    if args.json:
        print(json.dumps({"images": rows, "old": old, "bytes": sum(store.sizes().values())}, indent=1))
    else:
        for row in rows:
            vms = len(row["vms"])
            state = "" if row["good"] else f"  DAMAGED: {row['error']}"
            signed = f"  signed by {row['signed_by']}" if row["signed_by"] else ""
            print(f"{row['name']}  {row['size']} bytes  {vms} VMs  {row['source']}{signed}{state}")
        for item in old:
            print(f"{item['version']}  {item['size']} bytes  {len(item['vms'])} VMs  (old)")
    return 0 if all(row["good"] for row in rows) else 1


def _row(store: Store, name: str, in_use: dict[str, list[str]], *, digest: bool) -> dict[str, Any]:
    """What ``list`` says of an image; ``error`` is what is wrong with it and what to do, null if it is good."""
    record, error = None, None
    try:
        record = store.record(name)
        if record is None:
            error = f"not all of it is here; {_AGAIN}"
        else:
            error = _damage(store.path(record), record, digest=digest)
    except VacError as damaged:
        error = str(damaged)
    if record is None:
        described: dict[str, Any] = {**dict.fromkeys(Record._fields), "size": 0, "pinned": False}
        version = store.linked(name)
    else:
        described, version = record._asdict(), record.version
    row = {**described, "name": name, "version": version, "good": error is None, "error": error}
    return {**row, "vms": in_use.get(version or "", [])}


def _damage(path: str, record: Record, *, digest: bool) -> str | None:
    """What is wrong with a version that is there; with ``digest`` all of it is read. Raises VacError."""
    qcow2.check_file(path)
    if digest and image_fetch.digest_of(path) != record.sha256:
        return f"its contents have changed; {_AGAIN}"
    return None


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "changed": outcome.changed,
        "before": _described(outcome.before),
        "after": _described(outcome.after),
        "removed": list(outcome.removed),
    }


def _described(record: Record | None) -> dict[str, Any] | None:
    return None if record is None else {**record._asdict(), "version": record.version}


def _verify(args: argparse.Namespace) -> int:
    try:
        block, digest = image_fetch.signed_parts(args.file)
    except VacError as error:
        raise UsageError(str(error)) from error
    name = signature.verify(block, digest, args.signing_dn, args.ca)
    print(json.dumps({"signed_by": name}) if args.json else f"{args.file}: signed by {name}")
    return 0
