# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules for a site's machinetypes as far as the controller can apply them: keys, files, and the programs' own."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.vacuum.htcondor.plugins.module_utils._shared import (
    IMAGE_CHECKSUM,
    IMAGE_CHECKSUM_REMEDY,
    IMAGE_DIRECTORY,
    MACHINETYPE_NAME,
    MACHINETYPE_NAME_REMEDY,
    MACHINETYPES_DIRECTORY,
    one_line,
)
from ansible_collections.vacuum.htcondor.plugins.plugin_utils import (
    controller_files,
    controller_programs,
    faults,
    image_files,
    machinetypes,
    shares,
)

_TIMEOUT_SECONDS = 120


class Site(NamedTuple):
    """What the machinetypes of one access point depend on.

    ``variable`` is where they are set, ``variables`` are what relative paths depend on, ``loader`` is Ansible's, and
    ``owner`` is who owns a machinetype that names nobody. ``shared`` are the machinetypes whose shares divide the pool,
    as the role shares reads them: not those of pipes.
    """

    variable: str
    variables: Mapping[str, Any]
    loader: Any
    owner: str
    shared: Mapping[Any, Any]


def of_all(wanted: Mapping[Any, Any], site: Site) -> Iterator[str]:
    """A line for each fault of the machinetypes."""
    good: dict[str, dict[str, Any]] = {}
    whole: dict[str, dict[str, Any]] = {}
    for name, data in wanted.items():
        found = list(of_keys(str(name), data, f"{site.variable}.{name}"))
        yield from found
        if found or not isinstance(data, Mapping):
            continue
        known = {key: value for key, value in data.items() if faults.known(value)}
        if machinetypes.required() <= set(known):
            good.update(machinetypes.checked({name: known}, site.variable))
            whole.update({name: good[name]} if len(known) == len(data) else {})
    for name, data in good.items():
        yield from _of_images(data, f"{site.variable}.{name}")
        yield from _of_share(name, site)
        yield from _of_files(name, data, site)
    yield from _of_programs(whole, site)


def of_keys(name: str, data: object, subject: str) -> Iterator[str]:
    """A line for each unknown, missing or wrong key of a machinetype, and for a name that cannot be."""
    if not re.fullmatch(MACHINETYPE_NAME, name):
        yield faults.line(subject, f"the name {MACHINETYPE_NAME_REMEDY}")
    if data is faults.UNKNOWN:
        return
    if not isinstance(data, Mapping):
        yield faults.line(subject, faults.shown(data), "must be a mapping of keys to values")
        return
    options = machinetypes.options()
    given = {str(key): value for key, value in data.items() if value is not None}
    for key, value in given.items():
        if key not in options:
            yield faults.line(f"{subject}.{key}", "unknown key", faults.correction(key, options))
        elif faults.known(value) and (remedy := faults.remedy(value, options[key])):
            # Text in the place of a mapping may hold a secret.
            words = [] if options[key]["type"] == "dict" else [faults.shown(value)]
            yield faults.line(f"{subject}.{key}", *words, remedy)
    for key in sorted(machinetypes.required() - set(given)):
        yield faults.line(f"{subject}.{key}", "missing", "add it")


def _of_images(data: Mapping[str, Any], subject: str) -> Iterator[str]:
    checksum, pattern = data.get("image_checksum"), data.get("image_signing_dn")
    if checksum and not re.fullmatch(IMAGE_CHECKSUM, checksum):
        yield faults.line(f"{subject}.image_checksum", faults.shown(checksum), IMAGE_CHECKSUM_REMEDY)
    try:
        re.compile(pattern or "")
    except re.error as error:
        yield faults.line(f"{subject}.image_signing_dn", faults.shown(pattern), f"no regular expression ({error})")
    if machinetypes.URL.match(data["image"]) and not data["image"].startswith("https://"):
        yield faults.line(f"{subject}.image", faults.shown(data["image"]), "must be a file or an https URL")


def _of_share(name: str, site: Site) -> Iterator[str]:
    data = site.shared.get(name)
    if not isinstance(data, Mapping):
        return
    try:
        shares.quotas({name: {key: value for key, value in data.items() if faults.known(value)}})
    except ValueError as error:
        yield one_line(f"{site.variable}.{error}")


def _of_files(name: str, data: Mapping[str, Any], site: Site) -> Iterator[str]:
    """A line for each file on the controller that is not there or cannot be read."""
    for key, source in machinetypes.sources(data, name).values():
        try:
            controller_files.read(source, site.variables, site.loader)
        except controller_files.ControllerFileError as error:
            yield faults.line(f"{site.variable}.{name}.{key}", error.message, error.remedy)
    if not machinetypes.URL.match(data["image"]):
        try:
            with open(controller_files.find(data["image"], site.variables), "rb"):
                pass
        except (controller_files.ControllerFileError, OSError) as error:
            remedy = controller_files.ControllerFileError.remedy
            yield faults.line(f"{site.variable}.{name}.image", str(error), remedy)


def _of_programs(good: Mapping[str, Mapping[str, Any]], site: Site) -> Iterator[str]:
    """What the programs that read the machinetypes' files find wrong with them."""
    if not good:
        return
    with tempfile.TemporaryDirectory() as stage:
        paths = [_staged(name, data, good, site, Path(stage)) for name, data in good.items()]
        try:
            answer = controller_programs.run(["machinetype", "--faults", *paths], _TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            yield faults.line(site.variable, f"not checked within {_TIMEOUT_SECONDS} s", "run the playbook again")
            return
        if answer.returncode != 0:
            yield faults.line(site.variable, answer.stderr, "correct it")
            return
        for path, found in json.loads(answer.stdout).items():
            for text in found:
                name = Path(path).stem
                words = text.replace(f"{stage}/{name}.sub", "submit_file").replace(f"{stage}/", "")
                yield one_line(f"{site.variable}.{name}.{words}")


def _staged(name: str, data: Mapping[str, Any], good: Mapping[str, Mapping[str, Any]], site: Site, stage: Path) -> str:
    """The path of a machinetype's file as it will be on the access point, with its submit file beside it."""
    image = f"{IMAGE_DIRECTORY}/{image_files.names(good)[name]}"
    document = machinetypes.document(data, name, MACHINETYPES_DIRECTORY, image, {"owner": site.owner})
    if "submit_file" in document:
        try:
            content, _path = controller_files.read(data["submit_file"], site.variables, site.loader)
        except controller_files.ControllerFileError:
            del document["submit_file"]  # a fault of its own
        else:
            (stage / f"{name}.sub").write_bytes(content)
            document["submit_file"] = str(stage / f"{name}.sub")
    path = stage / f"{name}.json"
    path.write_text(json.dumps(document), "utf-8")
    return str(path)
