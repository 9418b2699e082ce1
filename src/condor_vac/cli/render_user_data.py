# SPDX-License-Identifier: GPL-3.0-or-later
"""``condor_vac render-user-data``: what user data a VM would get, byte for byte, or the template's placeholders."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys

from condor_vac.base import atomic, fetch, http_proxy_file, urls
from condor_vac.base.errors import UsageError, VacError
from condor_vac.model.user_data import ALIASES, NAMES, OWN_NAME, TEMPLATE_LIMIT, Values, check_template, render


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``condor_vac render-user-data``."""
    parser.add_argument("template", metavar="TEMPLATE", help="the template, a file or an https URL")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="a value, such as uuid=..., option_cvmfs_proxy=... or file_hostkey=@PATH; may be repeated",
    )
    parser.add_argument("--list", action="store_true", help="list the placeholders instead: used, unset, unknown")
    parser.add_argument("--http-proxy", metavar="FILE", help=http_proxy_file.OPTION_HELP)
    parser.add_argument("--json", action="store_true", help="the list as JSON")


def run(args: argparse.Namespace) -> int:
    """``condor_vac render-user-data``: the bytes on standard output, or the list of placeholders."""
    values = parse_settings(args.settings)
    limits = fetch.Limits(bytes=TEMPLATE_LIMIT, seconds=30, idle_seconds=10)
    try:
        access = fetch.Access(proxy=http_proxy_file.load(args.http_proxy))
        template = fetch.read(args.template, limits, access=access)
        check_template(template)
    except VacError as error:
        raise UsageError(str(error)) from error
    if urls.is_url(args.template):
        # As in a VM's user data, unless --set overrides it.
        values = values._replace(platform={"url": args.template.encode(), **values.platform})
    rendered = render(template, values)
    groups = {"used": rendered.used, "unset": rendered.unset, "unknown": rendered.unknown}
    if args.json:
        print(json.dumps({group: list(names) for group, names in groups.items()}))
    elif args.list:
        for group, names in groups.items():
            for name in names:
                print(f"{group:8}{name}")
    else:
        sys.stdout.buffer.write(rendered.data)
        sys.stdout.buffer.flush()
    return 0


def parse_settings(settings: list[str]) -> Values:
    """Values from NAME=VALUE words, any spelling; file_NAME=@PATH reads the file. Raises UsageError."""
    platform: dict[str, bytes] = {}
    options: dict[str, bytes] = {}
    files: dict[str, bytes] = {}
    for setting in settings:
        key, equals, word = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: no '='; write NAME=VALUE")
        value = os.fsencode(word)
        name = ALIASES.get(key, key)
        if name in NAMES:
            platform[name] = value
        elif not re.fullmatch(OWN_NAME, name):
            raise UsageError(f"--set {key}: unknown; use option_NAME, file_NAME or one of {', '.join(NAMES)}")
        elif name.startswith("option_"):
            options[name[len("option_") :]] = value
        else:
            files[name[len("file_") :]] = _file_value(key, word)
    return Values(platform, options, files)


def _file_value(key: str, word: str) -> bytes:
    if not word.startswith("@"):
        raise UsageError(f"--set {key}: needs a file; write {key}=@PATH")
    try:
        return atomic.read(word[1:], TEMPLATE_LIMIT)
    except VacError as error:
        raise UsageError(f"--set {key}: {error}") from error
