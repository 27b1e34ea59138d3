"""Detect where another CSV file begins: its header, or a byte order mark, before a record other than the first.

In concatenated files, each with its header, headers would otherwise become users named after columns, and byte order
marks would become part of ids that no user has.
"""

import re
from typing import Final

import numpy as np
import numpy.typing as npt

from connectors.sources.csv_kernel import AT_LINE
from connectors.sources.rejects import RejectCode
from schemas.errors import UserError
from schemas.kernels.compiling import kernel

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]

BOM: Final = b"\xef\xbb\xbf"
FIELD: Final = re.compile(rb'(?:^|,)(?:"([^"]*(?:""[^"]*)*)"|([^,]*))')
"""A field of a structurally sound record."""


class SecondFile:
    """Finds the records that begin a second file. `header`: bytes of the first file's header, without its mark."""

    def __init__(self, header: bytes, names: list[str], id_column: str) -> None:
        self._header = header
        self._names = [name.encode() for name in names]
        self._sorted = sorted(self._names)
        self._id = np.frombuffer(id_column.encode() or b"\n", np.uint8)  # no id is an unquoted line end
        first = self._names[0]
        # Exports write a user with this id quoted, and such a row must import again.
        self._as_id = b'"%b"%b' % (first, header[len(first) :]) if header.startswith(first) else None
        self._sum = int(np.frombuffer(header, np.uint8).sum(dtype=np.int64))

    def begins(self, d: Bytes, records: Longs, n: int, starts: Ints, ends: Ints) -> dict[int, RejectCode]:
        """Of the n records d[records[k, 0] : records[k, 1]], those that begin a second file, with their reject codes.

        `starts` and `ends`: positions of the ids, as in `csv_kernel.scan`. Raises `UserError` SECOND_HEADER.
        """
        suspected = np.empty(n, np.uint8)
        if not _suspects(d, records, n, starts, ends, self._id, len(self._header), self._sum, suspected):
            return {}
        found = {}
        for k in np.flatnonzero(suspected).tolist():
            content, line = d[records[k, 0] : records[k, 1]].tobytes(), int(records[k, AT_LINE])
            if (code := self._judge(content, line)) is not None:
                found[k] = code
        return found

    def _judge(self, record: bytes, line: int) -> RejectCode | None:
        if record == self._as_id:
            return None
        bare = record.removeprefix(BOM)
        if bare == self._header:
            return RejectCode.REPEATED_HEADER
        fields = [m[1].replace(b'""', b'"') if m[1] is not None else m[2] for m in FIELD.finditer(bare)]
        if fields == self._names:
            return RejectCode.REPEATED_HEADER
        if sorted(fields) == self._sorted:
            raise UserError(
                "SECOND_HEADER",
                f"the header is repeated in line {line} with its columns in another order: import the two files "
                "separately",
                line=line,
            )
        return RejectCode.BYTE_ORDER_MARK if bare != record else None


@kernel
def _suspects(  # a compiled kernel takes no keywords
    d: Bytes, records: Longs, n: int, starts: Ints, ends: Ints, name: Bytes, size: int, total: int, out: Bytes
) -> int:
    """Mark (uint8, n) the records worth a closer look; returns how many.

    These are records with a byte order mark, with the id `name`, or with the length of the header (`size`) and the same
    sum of bytes (`total`), as for a header whose fields are only in another order.
    """
    found = 0
    for k in range(n):
        start = records[k, 0]
        end = records[k, 1]
        suspected = end - start >= 3 and d[start] == 0xEF and d[start + 1] == 0xBB and d[start + 2] == 0xBF
        if not suspected and ends[k] - starts[k] == len(name):
            suspected = True
            for j in range(len(name)):
                if d[starts[k] + j] != name[j]:
                    suspected = False
                    break
        if not suspected and end - start == size:
            left = total
            for i in range(start, end):
                left -= d[i]
            suspected = left == 0
        out[k] = 1 if suspected else 0
        found += out[k]
    return found
