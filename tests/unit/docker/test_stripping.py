"""docker/strip.py: shared libraries without what only debuggers read."""

import ctypes
import runpy
from importlib.util import find_spec
from pathlib import Path

STRIP = runpy.run_path(str(Path(__file__).parents[3] / "docker/strip.py"))


def test_a_stripped_library_is_smaller_and_loads(tmp_path: Path) -> None:
    found = find_spec("zstandard.backend_c")
    assert found is not None
    whole = Path(str(found.origin)).read_bytes()
    library = tmp_path / "backend_c.so"
    library.write_bytes(whole)

    STRIP["main"](tmp_path)

    assert library.stat().st_size < len(whole) / 2
    assert whole.startswith(library.read_bytes()[64:], 64)  # only the header changes
    assert hasattr(ctypes.CDLL(str(library)), "PyInit_backend_c")


def test_other_files_are_not_stripped(tmp_path: Path) -> None:
    script, elsewhere = tmp_path / "libm.so", tmp_path / "iceberg.duckdb_extension"
    script.write_bytes(b"GROUP ( libm.so.6 )")
    elsewhere.write_bytes(b"\x7fELF\x02\x01 and a signature")

    STRIP["main"](tmp_path)

    assert script.read_bytes() == b"GROUP ( libm.so.6 )"
    assert elsewhere.read_bytes() == b"\x7fELF\x02\x01 and a signature"
