"""Files at their real size, streamed through the verifier and its child: bounded memory, and the right verdict."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from connectors.sources.parsing import ParseLimits
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceObject
from connectors.verification.evidence import Evidence
from connectors.verification.rejects_file import ParquetRejects
from connectors.verification.verifier import verify_file
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from tests.unit.children import parser_memory

MIB = 1024 * 1024
BLOCK = 8 * MIB
MEMORY_BYTES = 256 * MIB
"""Limit for verifying a file of any size; the C library reserves half of it for a second thread."""


class Streamed:
    """An object that exists only while it is read: `head`, `size` bytes of `filling`, `tail`."""

    def __init__(self, head: bytes, filling: bytes, size: int, tail: bytes = b"") -> None:
        self._head, self._tail = head, tail
        self._block = filling * (BLOCK // len(filling))
        self._count = -(-size // len(self._block))
        self.source = SourceObject(
            bucket="inbox",
            key="acme/vip/huge.csv",
            version_id="v1",
            etag='"e"',
            size=len(head) + self._count * len(self._block) + len(tail),
            last_modified=datetime(2026, 1, 1, tzinfo=UTC),
        )

    def stream(self, source: SourceObject) -> Iterator[bytes]:
        assert source == self.source
        yield self._head
        for _ in range(self._count):
            yield self._block
        if self._tail:
            yield self._tail


def verify(file: Streamed, folder: Path, **spec: Any) -> Evidence:
    with ParquetRejects(folder / "rejects.parquet", lambda path: str(path.stat().st_size)) as rejects:
        return verify_file(
            file.source,
            ImportSpec(**spec),
            partitions=2,
            limits=ParseLimits(memory_bytes=parser_memory(MEMORY_BYTES)),
            rejects=rejects,
            on_progress=lambda _: None,
            store=cast("ObjectStore", file),
        )


def test_unclosed_quote_in_a_gigabyte_is_named_at_its_opening(tmp_path: Path) -> None:
    file = Streamed(b'user_id,n\na,1\nb,"', b"never closed,\n", 1024 * MIB)
    with pytest.raises(UserError) as caught:
        verify(file, tmp_path)
    assert caught.value.code == "UNCLOSED_QUOTE"
    assert caught.value.detail == {"line": 3, "byte_offset": 16}


@pytest.mark.parametrize(
    ("before", "after"), [(b'b,"', b'"'), (b"b,", b""), (b"", b",1")], ids=["quoted", "bare", "id"]
)
def test_field_of_100_mb_is_one_reject_among_kept_neighbours(tmp_path: Path, before: bytes, after: bytes) -> None:
    file = Streamed(b"user_id,n\na,1\n" + before, b"x", 100 * MIB, after + b"\nc,3\n")
    evidence = verify(file, tmp_path, max_reject_share=0.5)
    assert (evidence.rows, evidence.accepted, evidence.rejected_by_code) == (3, 2, {"row_too_large": 1})
    assert evidence.source_bytes == file.source.size > 100 * MIB
