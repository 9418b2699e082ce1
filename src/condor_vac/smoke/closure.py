# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program or a kernel module needs beside itself, read from the files themselves."""

from __future__ import annotations

import gzip
import lzma
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from condor_vac.base.errors import VacError

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB = 1, 5
_SIGNED = b"~Module signature appended~\n"
# How distributions compress modules, by suffix: Debian and Enterprise Linux by xz, Debian 12 not at all.
_FORMS: Mapping[str, Callable[[bytes], bytes]] = {".ko": bytes, ".ko.xz": lzma.decompress, ".ko.gz": gzip.decompress}


def needed(elf: bytes) -> list[str]:
    """The sonames in the dynamic section of a 64-bit little-endian ELF file (System V gABI, chapter 5)."""
    if elf[:6] != b"\x7fELF\x02\x01":
        raise VacError("not a 64-bit little-endian ELF file")
    offset, size, count = struct.unpack_from("<Q", elf, 32) + struct.unpack_from("<HH", elf, 54)
    segments = [struct.unpack_from("<IIQQQQ", elf, offset + index * size) for index in range(count)]
    dynamic = [(segment[2], segment[5]) for segment in segments if segment[0] == _PT_DYNAMIC]
    if not dynamic:
        return []
    start, length = dynamic[0]
    entries = [struct.unpack_from("<qQ", elf, start + at) for at in range(0, length, 16)]
    strings = next(value for tag, value in entries if tag == _DT_STRTAB)
    for kind, _flags, file_offset, address, _physical, in_file in segments:
        if kind == _PT_LOAD and address <= strings < address + in_file:
            strings += file_offset - address
            break
    names = [strings + value for tag, value in entries if tag == _DT_NEEDED]
    return [elf[at : elf.index(b"\0", at)].decode() for at in names]


def libraries(programs: Sequence[Path], directories: Sequence[Path]) -> dict[str, Path]:
    """soname → file in one of the directories, for all that the programs load, directly or through other libraries.

    Raises VacError for a file that is not an ELF program, and for a library that is in none of the directories.
    """
    found: dict[str, Path] = {}
    waiting = list(programs)
    while waiting:
        program = waiting.pop()
        try:
            sonames = needed(program.read_bytes())
        except (VacError, struct.error, ValueError, OverflowError, StopIteration) as error:
            raise VacError(f"{program}: {error or 'damaged'}; reinstall the package that has it") from error
        for soname in sonames:
            if soname in found:
                continue
            path = next((place / soname for place in directories if (place / soname).exists()), None)
            if path is None:
                places = ", ".join(str(place) for place in directories)
                raise VacError(f"{program} needs {soname}, which is not in {places}: add the package that has it")
            found[soname] = path
            waiting.append(path)
    return found


class Modules:
    """The modules of one kernel, by name with underscores, and the order that loads one."""

    def __init__(self, directory: Path) -> None:
        """``directory`` is lib/modules/VERSION of a kernel package, whose modules may be compressed by xz or gzip."""
        self.paths = {_name(path): path for path in directory.rglob("*.ko*") if _form(path) in _FORMS}
        self.builtin = {
            Path(line).stem.replace("-", "_") for line in (directory / "modules.builtin").read_text().split()
        }
        self._contents: dict[str, bytes] = {}

    def contents(self, name: str) -> bytes:
        """The uncompressed module, unsigned. Raises VacError if the kernel package does not have it."""
        if name not in self._contents:
            if name not in self.paths:
                raise VacError(f"the kernel package has no module {name}: drop it or use another kernel")
            path = self.paths[name]
            self._contents[name] = unsigned(_FORMS[_form(path)](path.read_bytes()))
        return self._contents[name]

    def has(self, name: str) -> bool:
        """Whether the kernel can do what the module does: by it, or without."""
        return name in self.paths or name in self.builtin

    def depends(self, name: str) -> list[str]:
        """What the module itself lists as needed, without what is built in."""
        found = re.search(rb"\0depends=([^\0]*)\0", self.contents(name))
        names = found.group(1).decode().split(",") if found else []
        return [other.replace("-", "_") for other in names if other]

    def closure(self, names: list[str]) -> list[str]:
        """The modules and all they need, each after what it needs."""
        order: list[str] = []
        for name in names:
            if name in self.builtin or name in order:
                continue
            order += [other for other in self.closure(self.depends(name)) if other not in order]
            order.append(name)
        return order


def unsigned(module: bytes) -> bytes:
    """The module without its signature: checking one costs an emulated machine more than loading the module.

    The layout is that of struct module_signature (include/linux/module_signature.h): signature, 12 bytes
    that end in its length (big endian), marker.
    """
    if not module.endswith(_SIGNED):
        return module
    body = module[: -len(_SIGNED)]
    length = int.from_bytes(body[-4:], "big")
    return body[: -12 - length]


def _form(path: Path) -> str:
    return path.name[path.name.index(".") :]


def _name(path: Path) -> str:
    return path.name.split(".")[0].replace("-", "_")
