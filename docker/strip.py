"""strip.py FOLDER: remove symbol tables and debug information from shared libraries, a tenth of their size.

The base has no binutils, and the build has no network. The program headers list what the loader maps; debug symbols
follow the last mapped byte, so a library is truncated there and its header set to no section headers. Dynamic symbols
are mapped, and stay. DuckDB's extensions carry a signature after their end; they are not named .so, and stay unchanged.
"""

import struct
import sys
from pathlib import Path

ELF64_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
SECTION_HEADERS_OFFSET, SECTION_HEADERS_COUNT = 40, 60
PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")


def stripped(library: bytes) -> bytes:
    """The mapped part of a library, with its header set to no section headers."""
    (at,) = struct.unpack_from("<Q", library, 32)
    _, count = struct.unpack_from("<HH", library, 54)
    end = at + count * PROGRAM_HEADER.size
    for number in range(count):
        _, _, offset, _, _, size, _, _ = PROGRAM_HEADER.unpack_from(library, at + number * PROGRAM_HEADER.size)
        end = max(end, offset + size)
    kept = bytearray(library[:end])
    struct.pack_into("<Q", kept, SECTION_HEADERS_OFFSET, 0)
    struct.pack_into("<HH", kept, SECTION_HEADERS_COUNT, 0, 0)
    return bytes(kept)


def main(folder: Path) -> None:
    """Strip every 64-bit x86 or ARM library; links and other files stay unchanged."""
    for path in sorted(folder.rglob("*.so*")):
        if path.is_file() and not path.is_symlink() and (library := path.read_bytes()).startswith(ELF64_LITTLE_ENDIAN):
            path.write_bytes(stripped(library))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
