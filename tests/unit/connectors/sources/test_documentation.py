"""docs/file-formats.md agrees with the code."""

import re
from pathlib import Path

from connectors.sources.limits import MIB, ParseLimits
from connectors.sources.rejects import RejectCode
from orchestration.composition.context import Context
from orchestration.platform.settings import Settings

TEXT = (Path(__file__).parents[4] / "docs" / "file-formats.md").read_text()


def test_every_reject_code_is_documented() -> None:
    codes = TEXT[TEXT.index("## Reject codes") : TEXT.index("## Errors of the whole file")]
    assert [code.value for code in RejectCode if f"`{code.value}`" not in codes] == []


def test_documented_bounds_match_an_import() -> None:
    limits = Context(Settings()).parse_limits
    assert limits == ParseLimits()
    assert f"| bytes after decompression | {limits.max_decoded_bytes // (1024 * MIB)} GiB |" in TEXT
    assert f"beyond the first 64 MiB | {limits.max_ratio:g} |" in TEXT
    assert f"| address space of the parser | {limits.memory_bytes // (1024 * MIB)} GiB |" in TEXT
    assert f"| {limits.cpu_s:g} s + {limits.cpu_s_per_mib:g} s for each MiB as stored |" in TEXT
    assert f"while it has bytes to work on | {limits.wall_s:g} s |" in TEXT
    assert f"| Parquet file (copied to local disk) | {limits.max_file_bytes // (1024 * MIB)} GiB |" in TEXT


def test_every_error_code_of_a_file_is_documented() -> None:
    root = Path(__file__).parents[4] / "connectors"
    sources = [*root.glob("sources/*.py"), root / "storage" / "objects.py"]
    raised = {code for f in sources for code in re.findall(r'UserError\(\s*"([A-Z0-9_]+)"', f.read_text())}
    internal = {"SOURCE_UNREADABLE", "NO_SUCH_BUCKET", "BAD_OBJECT_NAME"}
    assert {code for code in raised - internal if f"`{code}`" not in TEXT} == set()
