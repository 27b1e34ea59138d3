"""Strict JSON Lines (RFC 8259 objects, one per line, LF or CRLF, UTF-8), in constant memory for any input."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from connectors.sources.acceptance import accept, reject_batches
from connectors.sources.compression import ByteSource
from connectors.sources.csv_reader import BLOCK_BYTES, RECORD_MAX_BYTES, UTF16_BOMS
from connectors.sources.fields_seen import FieldsSeen
from connectors.sources.json_rows import LineRows, Lines, certain_rows, lines_of, without_cr
from connectors.sources.json_values import Refused, Shape, no_constant, shape_of, unique, wider
from connectors.sources.ranges import NO_END, FieldsRecord, FileRange, RangeSource, read_exactly
from connectors.sources.rejects import RAW_MAX_BYTES, Reject, RejectBatch, RejectCode, raw_text
from connectors.sources.second_file import BOM
from connectors.sources.suggestion import Chooser, Layout
from schemas.arrow import arrow_schema
from schemas.columns import ORDINAL, ColumnType
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.json_types import json_type
from schemas.kernels.members import Bytes, Ints, joined
from schemas.kernels.values import MAX_US

BATCH_LINES: Final = 64 * 1024
SAMPLE_BYTES: Final = 1024 * 1024
SAMPLE_LINES: Final = 1000


class JsonLinesReader:
    """Iterate to get accepted batches and rejects, each of the two in file order.

    An id is a string, or an integer, which becomes its decimal digits. An absent or null column is null; a value must
    have the JSON type of its column (string, date, timestamp: a string; long: an integer; double: a number). Raises
    `UserError` EMPTY_FILE, NOT_UTF8_HEADER; MISSING_COLUMN after the last batch, unless the file is one of several.

    `part` and `on_begin` as of `CsvReader`; whether a range lacks a column, its caller decides by `fields`.
    """

    def __init__(
        self,
        source: ByteSource,
        spec: ImportSpec,
        *,
        choose: Chooser | None = None,
        one_of_several: bool = False,
        received_at_us: int = MAX_US,
        part: FileRange | None = None,
        on_begin: Callable[[int], None] = lambda _: None,
        block_bytes: int = BLOCK_BYTES,
        record_limit: int = RECORD_MAX_BYTES,
    ) -> None:
        self._part = part
        self._on_begin = on_begin
        self._stop = NO_END if part is None else part.end
        self._source = source
        self._spec = spec
        self._choose = choose
        self._one_of_several = one_of_several
        self.lacking: tuple[str, ...] | None = None
        """After the iteration: needed columns that no row has, of one of several files with rows."""
        self._received_at_us = received_at_us
        self._block = bytearray(block_bytes)
        self._limit = record_limit
        self._ordinal = 0
        self._offset = 0
        """Offset of the next line in the decompressed stream."""
        self.begin = 0
        self.end = 0
        """Where the lines begin, and after the iteration where they end: of a range, offsets in the file."""
        self._decode = json.JSONDecoder(object_pairs_hook=unique, parse_constant=no_constant).decode

    def __iter__(self) -> Iterator[pa.RecordBatch | RejectBatch]:
        carry = self._first_bytes() if self._part is None else self._enter(self._part)
        if self._choose is not None:
            carry = self._sample(carry)
        self._schema = arrow_schema(self._spec.row_schema, ordinal=True)
        self._seen = FieldsSeen(self._spec)
        head = b""
        skipped = 0  # bytes of a line over the limit that were dropped, all but its head
        while self._offset < self._stop:
            block = self._read()
            data, size = joined([carry, block])
            starts, ends = lines_of(data, size)
            rest = data[ends[-1] + 1 if len(ends) else 0 : size].tobytes()
            if skipped and len(ends):
                yield self._too_large(head, skipped + int(ends[0]), ended=True)
                starts, ends, skipped = starts[1:], ends[1:], 0
            starts, ends = self._within(starts, ends)
            for first in range(0, len(ends), BATCH_LINES):
                lines = slice(first, first + BATCH_LINES)
                yield from self._read_lines(data, size, starts[lines], ends[lines], ended=True)
            if self._offset >= self._stop:
                break
            if not block:
                if skipped:
                    yield self._too_large(head, skipped + len(rest), ended=False)
                elif rest:
                    start, end = np.array([size - len(rest)], np.int32), np.array([size], np.int32)
                    yield from self._read_lines(data, size, start, end, ended=False)
                break
            carry = rest
            if skipped:
                skipped += len(rest)
                carry = b""
            elif len(rest) > self._limit + 1:  # a CR may still belong to the line end
                head, skipped, carry = rest[:RAW_MAX_BYTES], len(rest), b""
        self.end = self._offset
        if self._one_of_several:
            self.lacking = self._seen.lacking
        elif self._part is None:
            self._seen.check()

    def _within(self, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
        """Of consecutive lines, the first of which is the next one, those that begin in the range."""
        if self._part is None or not len(starts):
            return starts, ends
        inside = int(np.searchsorted(starts, int(starts[0]) + self._stop - self._offset))
        return starts[:inside], ends[:inside]

    @property
    def lines(self) -> int:
        """Lines that were read."""
        return self._ordinal

    @property
    def fields(self) -> FieldsRecord:
        """The fields of the rows that were read."""
        return self._seen.record

    def _enter(self, part: FileRange) -> bytes:
        """The first bytes from the begin of the first line that begins in a range."""
        if part.begin:
            read_exactly(self._source, part.head)
        self._source = RangeSource(self._source, part)
        start = b""
        if not part.begin:
            start = self._first_bytes()
        else:
            self._offset = part.begin
            if not part.exact:
                start = self._after_line_end(part)
            self.begin = self._offset
        self._on_begin(self.begin)
        return start

    def _after_line_end(self, part: FileRange) -> bytes:
        self._offset = part.first
        while block := self._read():
            at = block.find(b"\n")
            if at >= 0:
                self._offset += at + 1
                return block[at + 1 :]
            self._offset += len(block)
        return b""

    def _sample(self, start: bytes) -> bytes:
        """Let the spec be chosen from the members of the first `SAMPLE_LINES` lines that lie in `SAMPLE_BYTES`.

        However the bytes arrive, the sample is the same: a retry must choose the same columns.
        """
        while len(start) <= SAMPLE_BYTES and (block := self._read()):
            start += block
        end = len(start) if len(start) <= SAMPLE_BYTES else max(start.rfind(b"\n", 0, SAMPLE_BYTES + 1), 0)
        types: dict[str, Shape] = {}
        for line in start[:end].split(b"\n")[:SAMPLE_LINES]:
            try:
                members = self._members(line)
            except Refused:
                continue
            for name, value in members.items():
                types[name] = wider(types.get(name, shape_of(value)), shape_of(value))
        if self._choose is not None:
            columns: list[tuple[str, ColumnType | None]] = [
                (name, "string" if shape == "null" else shape) for name, shape in types.items()
            ]
            self._spec = self._choose(Layout(columns=columns, bom=self._offset > 0))
        return start

    def _first_bytes(self) -> bytes:
        start = b""
        while len(start) <= len(BOM) and (block := self._read()):
            start += block
        if not start or start == BOM:
            raise UserError("EMPTY_FILE", "the file is empty")
        if start[:2] in UTF16_BOMS:
            raise UserError("NOT_UTF8_HEADER", "the file is UTF-16; save it as UTF-8")
        if start.startswith(BOM):
            self._offset = len(BOM)
            return start[len(BOM) :]
        return start

    def _read(self) -> bytes:
        n = self._source.readinto(memoryview(self._block))
        return bytes(self._block[:n])

    def _read_lines(
        self, data: Bytes, size: int, starts: Ints, ends: Ints, *, ended: bool
    ) -> Iterator[pa.RecordBatch | RejectBatch]:
        """Check some lines (at least one). Every line is a row with an ordinal, accepted or not.

        Most are checked together; those that are not certainly objects of the spec, one by one.
        """
        lines = Lines(
            data=data,
            size=size,
            starts=starts,
            ends=without_cr(data, starts, ends) if ended else ends,
            ordinals=np.arange(self._ordinal, self._ordinal + len(starts)),
            byte_offsets=self._offset + starts.astype(np.int64) - starts[0],
        )
        self._ordinal += len(starts)
        self._offset += int(ends[-1] - starts[0]) + ended
        certain, together = certain_rows(lines, self._spec, self._limit, self._seen)
        others = LineRows(self._spec)
        rejects: list[Reject] = []
        for line in np.flatnonzero(~certain).tolist():
            content = lines.content(line)
            ordinal, offset = int(lines.ordinals[line]), int(lines.byte_offsets[line])
            try:
                members = self._members(content)
                self._seen.add_one(members)
                others.add(ordinal, offset, content, members)
            except Refused as refused:
                rejects.append(
                    Reject(
                        ordinal=ordinal,
                        line=ordinal + 1,
                        byte_offset=offset,
                        column=refused.column,
                        code=refused.code,
                        reason=refused.reason,
                        raw=raw_text(content),
                    )
                )
        batches = []
        for candidates in (together, others.candidates()):
            if len(candidates.ordinals):
                batch, refused_rows = accept(candidates, self._spec, self._schema, self._received_at_us)
                batches.append(batch)
                rejects += refused_rows
        if (rows := _in_order(batches)) is not None:
            yield rows
        yield from reject_batches(sorted(rejects, key=lambda reject: reject.ordinal or 0))

    def _too_large(self, head: bytes, size: int, *, ended: bool) -> RejectBatch:
        reject = Reject(
            ordinal=self._ordinal,
            line=self._ordinal + 1,
            byte_offset=self._offset,
            code=RejectCode.ROW_TOO_LARGE,
            reason=f"the record is larger than {self._limit} bytes",
            raw=raw_text(head),
        )
        self._ordinal += 1
        self._offset += size + ended
        return RejectBatch.of([reject])

    def _members(self, content: bytes) -> Mapping[str, Any]:
        if len(content) > self._limit:
            raise Refused(RejectCode.ROW_TOO_LARGE, f"the record is larger than {self._limit} bytes")
        if not content.strip(b" \t\r"):
            raise Refused(RejectCode.BLANK_LINE, "a blank line")
        try:
            value = self._decode(content.decode())
        except UnicodeDecodeError as exc:
            reason = f"byte {exc.start} of the line is {content[exc.start]:#04x}, which is not valid UTF-8 there"
            raise Refused(RejectCode.INVALID_UTF8, reason) from exc
        except RecursionError as exc:
            raise Refused(RejectCode.TOO_DEEP, "objects or arrays are nested too deeply") from exc
        except json.JSONDecodeError as exc:
            raise Refused(RejectCode.BAD_JSON, f"invalid JSON: {exc.msg} at character {exc.pos + 1}") from exc
        except ValueError as exc:  # an integer of thousands of digits
            raise Refused(RejectCode.BAD_JSON, "a number is too long") from exc
        if not isinstance(value, dict):
            raise Refused(RejectCode.NOT_AN_OBJECT, f"the line is {json_type(value)}, not an object")
        return value


def _in_order(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch | None:
    """All rows by ordinal; None if there are none."""
    with_rows = [batch for batch in batches if batch.num_rows]
    if len(with_rows) <= 1:
        return with_rows[0] if with_rows else None
    rows = pa.concat_batches(with_rows)
    return rows.take(pa.array(np.argsort(rows.column(ORDINAL).to_numpy(), kind="stable")))
