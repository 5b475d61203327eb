"""Compiled modules and libraries as files: for which processor they are, and what the loader never reads of them.

The loader maps what the program headers name. Section headers, symbols for debuggers and comments lie behind it in
every file that a linker writes, and can be cut off: nothing else moves. That is less than ``strip`` takes, and safe for
the libraries in ``*.libs``, whose segments patchelf has moved and ``strip`` breaks. It needs no binutils, works for
every processor, and gives the same bytes on every machine. The layout is in elf(5).
"""

import struct
from pathlib import Path

from modelyard.packaging.targets import Architecture

MACHINES: dict[int, Architecture] = {62: "x86_64", 183: "arm64"}
"""ELF's numbers (EM_X86_64, EM_AARCH64)."""

_MAGIC_64_LITTLE = b"\x7fELF\x02\x01"
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_SECTION_TABLE_OFFSET, _SECTION_TABLE_COUNTS = 40, 58


def is_compiled(path: Path) -> bool:
    """Whether a file is a compiled module or library by its name, like ``x.so`` or ``libx.so.1``."""
    return path.suffix in {".so", ".dylib", ".pyd", ".dll"} or ".so." in path.name


def machine_of(path: Path) -> Architecture | str | None:
    """The processor that an ELF file is for, its number as text when it is none of Lambda's, None for another file."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size or not head.startswith(b"\x7fELF"):
        return None
    machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    return MACHINES.get(machine, f"ELF machine {machine}")


def loaded_bytes(content: bytes) -> int | None:
    """How much of a file the loader may read: to the end of its last segment; None for what is not 64-bit ELF."""
    if not content.startswith(_MAGIC_64_LITTLE) or len(content) < _HEADER.size:
        return None
    header = _HEADER.unpack_from(content)
    table, entry_bytes, entries = header[4], header[8], header[9]
    if entry_bytes != _PROGRAM_HEADER.size or table + entries * entry_bytes > len(content):
        return None
    end = table + entries * entry_bytes
    for number in range(entries):
        _, _, offset, _, _, in_file, _, _ = _PROGRAM_HEADER.unpack_from(content, table + number * entry_bytes)
        end = max(end, offset + in_file)
    return end if end <= len(content) else None


def cut_to_what_is_loaded(path: Path) -> int:
    """Cut off what no segment holds; how many bytes that freed.

    The file is replaced, never written to: the installer links files out of its cache.
    """
    content = path.read_bytes()
    end = loaded_bytes(content)
    if end is None or end == len(content):
        return 0
    kept = bytearray(content[:end])
    struct.pack_into("<Q", kept, _SECTION_TABLE_OFFSET, 0)
    struct.pack_into("<HHH", kept, _SECTION_TABLE_COUNTS, 0, 0, 0)
    path.unlink()
    path.write_bytes(kept)
    return len(content) - end
