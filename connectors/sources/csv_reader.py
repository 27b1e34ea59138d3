"""Strict CSV over blocks of bytes, in constant memory for any input.

A record that is unfinished at the end of a block is carried over to the next one while it is within the record limit;
beyond the limit the state machine continues without keeping bytes. So neither a field of 100 MB nor an unclosed quote
needs more memory than two blocks.
"""

import io
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.sources import csv_kernel as kernel
from connectors.sources.acceptance import Candidates, accept, reject_batches
from connectors.sources.compression import ByteSource
from connectors.sources.csv_faults import CODES, fault_reason, unclosed_quote
from connectors.sources.csv_ranges import PROBE_BYTES, guess_begin
from connectors.sources.header import MAX_COLUMNS, check_count, present_spec, slot_table, wanted_columns
from connectors.sources.ranges import NEAR_BYTES, NO_END, FileRange, RangeSource, UnknownRangeError, read_exactly
from connectors.sources.rejects import (
    MEANINGS,
    RAW_MAX_BYTES,
    Reject,
    RejectBatch,
    RejectCode,
    raw_text,
    unusable_header,
)
from connectors.sources.second_file import BOM, SecondFile
from connectors.sources.suggestion import Chooser, Layout
from connectors.sources.transcoding import Swapped, Transcoded, swapped
from connectors.sources.transcoding import shown as escaped
from connectors.sources.typed_columns import convert_text, known_ids
from schemas.arrow import arrow_schema
from schemas.columns import Column, ColumnType
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.kernels.strings import WORD_BYTES, strings
from schemas.kernels.utf8 import invalid_utf8_positions, is_utf8
from schemas.kernels.values import MAX_US
from schemas.topics import ROW_MAX_BYTES

BLOCK_BYTES: Final = 8 * 1024 * 1024
RECORD_MAX_BYTES: Final = 1024 * 1024
"""Largest raw record, without its line end; columns that are dropped count too."""
LINE_END_BYTES: Final = 2
BATCH_ROWS: Final = 24 * 1024
"""A batch of ids and a few attributes fits into the pipe to the parent, so neither side waits while the other works."""
MAX_SPANS: Final = 4 * 1024 * 1024
REJECTS_PER_SCAN: Final = 8 * 1024
UTF16_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")


class CsvReader:
    """Iterate to get accepted batches and rejects, each of the two in file order.

    Raises `UserError`: EMPTY_FILE, BAD_HEADER, NOT_UTF8_HEADER, TOO_MANY_COLUMNS, MISSING_COLUMN, DUPLICATE_COLUMN
    before the first batch; SECOND_HEADER between batches; UNCLOSED_QUOTE after the last batch, or before the first for
    a quote in the header.

    With `part`, only records of that range are read. The source then has the file's first `part.head` bytes and those
    from `part.first` on. Lines and ordinals count from the range's begin, which `on_begin` gets before the first batch;
    byte offsets are the file's. Raises `UnknownRangeError`.
    """

    def __init__(
        self,
        source: ByteSource,
        spec: ImportSpec,
        *,
        choose: Chooser | None = None,
        received_at_us: int = MAX_US,
        part: FileRange | None = None,
        on_begin: Callable[[int], None] = lambda _: None,
        block_bytes: int = BLOCK_BYTES,
        record_limit: int = RECORD_MAX_BYTES,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        self._part = part
        self._on_begin = on_begin
        self._stop = NO_END if part is None else part.end
        """Stream offset from which records are no longer read."""
        self._table = None if spec.delimiter == "," else swapped(spec.delimiter)
        """Exchanges the delimiter and the comma, in bytes of the buffer and in what becomes of them."""
        self._transcoded = None if spec.encoding == "utf-8" else Transcoded(source, spec.encoding)
        source = self._transcoded or source
        self._whole: ByteSource = source if self._table is None else Swapped(source, self._table)
        if part is not None and not part.begin:
            self._whole = RangeSource(self._whole, part)
        self._source: ByteSource = self._whole
        self._spec = spec
        self._choose = choose
        self._received_at_us = received_at_us
        self._block_bytes = block_bytes
        self._limit = record_limit
        self._batch_rows = batch_rows
        self._data = np.empty(record_limit + LINE_END_BYTES + block_bytes + WORD_BYTES, np.uint8)
        self._base = 0
        """Stream offset of the first byte in the buffer."""
        self._tail = 0
        """Number of bytes in the buffer."""
        self._eof = False
        self._state = np.zeros(kernel.STATE_SIZE, np.int64)
        self._state[kernel.LINE] = 1
        self._names: list[str] = []
        self._skip: npt.NDArray[np.int64] | None = None
        self._skipped: dict[str, Any] = {}
        self._skipped_quote = -1
        self.begin = 0
        self.end = 0
        """Where the records begin, and after the iteration where they end: of a range, offsets in the file."""

    def __iter__(self) -> Iterator[pa.RecordBatch | RejectBatch]:
        try:
            pos = self._read_header()
            if self._choose is not None:
                columns: list[tuple[str, ColumnType | None]] = [(name, "string") for name in self._names]
                self._spec = self._choose(Layout(columns=columns, bom=self._bom))
            self._schema = arrow_schema(self._spec.row_schema, ordinal=True)
            self._spec = present_spec(self._names, self._spec, alike=False)
            slots, self._column_slots = slot_table(wanted_columns(self._names, self._spec))
        except UserError as exc:
            if self._names or exc.code in {"BAD_HEADER", "NOT_UTF8_HEADER"}:
                yield unusable_header(self._shown(0, min(self._tail, RAW_MAX_BYTES)).partition(b"\n")[0])
            raise
        n_slots = max(self._column_slots) + 1
        as_scanned = [self._exchanged(name) for name in self._names]
        self._second_file = SecondFile(self._header, as_scanned, self._exchanged(self._spec.id_column))
        capacity = max(1, min(self._batch_rows, MAX_SPANS // n_slots))
        self._of_many = _arrays(n_slots, capacity, REJECTS_PER_SCAN)
        self._of_one = _arrays(n_slots, 1, 1)
        if self._part is not None:
            pos = self._enter(self._part, pos)
        while True:
            if self._skip is not None:
                pos, done = self._continue_skipping(pos, self._skip)
                if done:
                    self._skip = None
                    yield from reject_batches([self._skipped_reject()])
            while self._skip is None and pos < min(self._tail, self._stop - self._base):
                more = self._scan(pos, slots)
                first, pos = pos, int(self._state[kernel.NEXT])
                yield from self._results(first, pos)
                if not more:
                    break
            if self._eof or (self._skip is None and pos >= self._stop - self._base):
                break
            if self._skip is None and self._tail - pos > self._limit + LINE_END_BYTES:
                self._start_skipping(pos)
                continue
            pos = self._refill(pos)
        yield from self._check_end(pos)
        self.end = self._base + pos

    @property
    def lines(self) -> int:
        """Line ends up to `end`, of a range from its begin on."""
        return int(self._state[kernel.LINE]) - 1

    def _enter(self, part: FileRange, pos: int) -> int:
        """Begin with the first record of a range; that of the first range is the header, which has been read."""
        if part.begin:
            source = RangeSource(self._whole, part)
            if not part.exact:
                window = source.peek(part.beyond + PROBE_BYTES)
                ends = part.first + len(window) == part.size
                begin = guess_begin(window, fields=len(self._names), limit=self._limit, ends=ends)
                if begin is None:
                    raise UnknownRangeError
                source.skip(begin)
            self._source, self._base, self._tail, self._eof, pos = source, source.at, 0, False, 0
            self._state[kernel.LINE] = 1
            self.begin = self._base
        self._on_begin(self.begin)
        return pos

    def _refill(self, pos: int) -> int:
        """Move unused bytes to the front and read a block after them."""
        carry = self._tail - pos
        self._data[:carry] = self._data[pos : self._tail].copy()
        self._base += pos
        self._tail = carry
        end = carry + self._block_bytes
        if self._part is not None:  # what is behind the range is read only as far as its last record goes
            beyond = self._part.beyond
            bounds = (self._part.end + min(NEAR_BYTES, beyond), self._part.end + beyond)
            end = next((min(end, bound - self._base) for bound in bounds if bound - self._base > carry), end)
        view = self._data.data
        while self._tail < end:
            n = self._source.readinto(view[self._tail : end])
            if n == 0:
                self._eof = True
                break
            self._tail += n
        return 0

    def _scan(self, pos: int, slots: npt.NDArray[np.int32]) -> bool:
        """Find the next records; returns whether the buffer may have more that the arrays had no room for."""
        inner = min(self._tail, self._stop - self._base)
        self._starts, self._ends, self._good, self._bad = self._of_many
        self._scan_to(inner, pos, slots, eof=self._eof and inner == self._tail)
        if inner == self._tail:
            return bool(self._state[kernel.GOOD] == len(self._good) or self._state[kernel.BAD] == len(self._bad))
        if self._state[kernel.NEXT] > pos:
            return True
        self._starts, self._ends, self._good, self._bad = self._of_one  # the record that goes beyond the range
        self._scan_to(self._tail, pos, slots, eof=self._eof)
        return False

    def _scan_to(self, end: int, pos: int, slots: npt.NDArray[np.int32], *, eof: bool) -> None:
        kernel.scan(
            self._data, pos, end, eof, len(self._names), self._limit, slots,
            self._starts, self._ends, self._good, self._bad, self._state,
        )  # fmt: skip

    def _read_header(self) -> int:
        if self._part is None or not self._part.begin:
            return self._header_at_start()
        self._source = io.BytesIO(read_exactly(self._whole, self._part.head))
        try:
            pos = self._header_at_start()
        except UserError as exc:
            if not self._part.bounded:
                raise
            raise UnknownRangeError from exc  # the first range says what is wrong with the header
        if bytes(self._data[pos - 1 : pos]) != b"\n":
            raise UnknownRangeError
        return pos

    def _header_at_start(self) -> int:
        pos = 0
        while not self._eof and self._tail < len(BOM):
            pos = self._refill(pos)
        start = bytes(self._data[: min(self._tail, len(BOM))])
        if start[:2] in UTF16_BOMS:
            raise UserError("NOT_UTF8_HEADER", "the file is UTF-16: say so with --encoding utf-16, or save it as UTF-8")
        self._bom = start == BOM
        pos = len(BOM) if self._bom else 0
        first = pos
        starts = np.empty((MAX_COLUMNS + 1, 1), np.int32)
        ends = np.empty((MAX_COLUMNS + 1, 1), np.int32)
        good = np.empty((1, 4), np.int64)
        bad = np.empty((1, 6), np.int64)
        every = np.arange(MAX_COLUMNS + 1, dtype=np.int32)
        ends[:] = kernel.NO_FIELD
        while True:
            kernel.scan(
                self._data, pos, self._tail, self._eof, 0, self._limit, every, starts, ends, good, bad, self._state
            )
            if self._state[kernel.GOOD] or self._state[kernel.BAD] or self._eof:
                break
            if self._tail - pos > self._limit + LINE_END_BYTES:
                fault = fault_reason(RejectCode.ROW_TOO_LARGE, self._limit)
                raise UserError("BAD_HEADER", f"the header (first line) is unusable: {fault}", fault="row_too_large")
            pos = self._refill(pos)
        if self._state[kernel.QUOTE_POS] >= 0:
            quote = self._place(int(self._state[kernel.QUOTE_POS]))[0]
            raise unclosed_quote(quote, int(self._state[kernel.QUOTE_LINE]))
        if self._base + self._tail == first:
            raise UserError("EMPTY_FILE", "the file is empty: it has no header")
        if self._state[kernel.BAD]:
            code = CODES[int(bad[0, kernel.CODE])]
            raise UserError(
                "BAD_HEADER",
                f"the header (first line) is unusable: {fault_reason(code, self._limit)}",
                fault=code.value,
            )
        self._names = self._header_names(starts[:, 0], ends[:, 0])
        self._header = self._data[good[0, kernel.POS] : good[0, kernel.END]].tobytes()
        self._state[kernel.ROW] = 0
        return int(self._state[kernel.NEXT])

    def _header_names(self, starts: npt.NDArray[np.int32], ends: npt.NDArray[np.int32]) -> list[str]:
        count = int(np.argmax(ends == kernel.NO_FIELD)) if (ends == kernel.NO_FIELD).any() else len(ends)
        check_count(count)
        names = []
        for start, stop in zip(starts[:count].tolist(), ends[:count].tolist(), strict=True):
            content = bytes(self._data[start : stop if stop >= 0 else ~stop])
            try:
                name = content.decode().replace('""', '"') if stop < 0 else content.decode()
                names.append(self._exchanged(name))
            except UnicodeDecodeError as exc:
                offset, byte = self._place(start + exc.start)
                raise UserError(
                    "NOT_UTF8_HEADER",
                    f"the header is not {self._encoding}: byte {offset} of the file is {byte:#04x}",
                    byte_offset=offset,
                ) from exc
        return names

    def _results(self, first: int, after: int) -> Iterator[pa.RecordBatch | RejectBatch]:
        """Batches and rejects of the last scan of d[first:after]."""
        n = int(self._state[kernel.GOOD])
        rejects = [self._structural_reject(r) for r in self._bad[: self._state[kernel.BAD]].tolist()]
        if not is_utf8(self._data, first, after):
            n = self._without_invalid_utf8(n, rejects)
        n = self._without_second_files(n, rejects)
        if n:
            batch, refused = accept(self._candidates(n), self._spec, self._schema, self._received_at_us)
            rejects += refused
            if batch.num_rows:
                yield batch
        yield from reject_batches(rejects)

    def _candidates(self, n: int) -> Candidates:
        texts: dict[int, pa.Array] = {}
        for slot in self._column_slots:
            if slot not in texts:
                text = strings(self._data, self._starts[slot], self._ends[slot], n)
                texts[slot] = text if self._table is None else _exchanged(text, self._table)
        ids, *others = (texts[slot] for slot in self._column_slots)
        spec = self._spec

        def converted(text: pa.Array, column: Column) -> Any:
            return convert_text(text, column, spec.null_values, spec.timezone)

        good = self._good[:n]
        return Candidates(
            ordinals=good[:, kernel.AT_ROW].copy(),
            ids=known_ids(ids, spec.null_values),
            columns=[converted(text, column) for text, column in zip(others, spec.columns, strict=True)],
            raw=lambda row: self._bytes(good[row]),
            shown=lambda column, row: str(others[column][row].as_py()),
            lines=good[:, kernel.AT_LINE],
            byte_offsets=self._record_places(good[:, kernel.POS]),
            may_be_large=int(self._state[kernel.LONGEST]) + 8 * len(spec.columns) > ROW_MAX_BYTES,
        )

    def _without_invalid_utf8(self, n: int, rejects: list[Reject]) -> int:
        """Remove records that are not UTF-8 from the last scan's output; returns how many remain."""
        positions = np.empty(n, np.int64)
        if not invalid_utf8_positions(self._data, self._good, n, positions):
            return n
        for row in np.flatnonzero(positions >= 0).tolist():
            at = int(positions[row])
            place, byte = self._place(at)
            reason = f"byte {place} is {byte:#04x}, which is not valid {self._encoding} there"
            rejects.append(self._reject(self._good[row].tolist(), RejectCode.INVALID_UTF8, reason))
        return self._keep(np.flatnonzero(positions < 0))

    def _without_second_files(self, n: int, rejects: list[Reject]) -> int:
        """Remove records that begin another file; returns how many remain. Raises `UserError` SECOND_HEADER."""
        ids = self._column_slots[0]
        begins = self._second_file.begins(self._data, self._good, n, self._starts[ids], self._ends[ids])
        if not begins:
            return n
        rejects += [self._reject(self._good[row].tolist(), code, MEANINGS[code]) for row, code in begins.items()]
        return self._keep(np.delete(np.arange(n), list(begins)))

    def _keep(self, rows: npt.NDArray[np.int64]) -> int:
        """Keep only these records (ascending) of the last scan's output; returns their number."""
        self._good[: len(rows)] = self._good[rows]
        self._starts[:, : len(rows)] = self._starts[:, rows]
        self._ends[:, : len(rows)] = self._ends[:, rows]
        return len(rows)

    def _structural_reject(self, record: list[int]) -> Reject:
        code = CODES[record[kernel.CODE]]
        field = record[kernel.FIELD]
        if code is RejectCode.FIELD_COUNT:
            return self._reject(record, code, f"{field} fields, but the header has {len(self._names)}")
        column = self._names[field] if 0 <= field < len(self._names) else None
        return self._reject(record, code, fault_reason(code, self._limit), column)

    def _reject(self, record: list[int], code: RejectCode, reason: str, column: str | None = None) -> Reject:
        return Reject(
            ordinal=record[kernel.AT_ROW],
            line=record[kernel.AT_LINE],
            byte_offset=self._record_place(record[kernel.POS]),
            column=column,
            code=code,
            reason=reason,
            raw=raw_text(self._bytes(record)),
        )

    def _bytes(self, record: Any) -> bytes:
        return self._shown(record[kernel.POS], min(record[kernel.END], record[kernel.POS] + RAW_MAX_BYTES))

    @property
    def _encoding(self) -> str:
        return "UTF-8" if self._transcoded is None else self._transcoded.label

    def _shown(self, start: int, end: int) -> bytes:
        """Bytes of the buffer as they are in the file, but for its encoding."""
        found = self._data[start:end].tobytes()
        found = found if self._transcoded is None else escaped(found)
        return found if self._table is None else found.translate(self._table)

    def _exchanged(self, text: str) -> str:
        return text if self._table is None else text.encode().translate(self._table).decode()

    def _record_places(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Places in the file of records at positions of the buffer."""
        return positions + self._base if self._transcoded is None else self._transcoded.starts(positions + self._base)

    def _record_place(self, position: int) -> int:
        """The same of one record."""
        if self._transcoded is None:
            return self._base + position
        return int(self._transcoded.starts(np.array([self._base + position]))[0])

    def _place(self, position: int) -> tuple[int, int]:
        """The place in the file of a position of the buffer, and the byte there."""
        if self._transcoded is not None:
            return self._transcoded.place(self._base + position)
        return self._base + position, int(self._data[position])

    def _start_skipping(self, pos: int) -> None:
        """Skip the record at `pos`, which is over the limit: remember where it began and keep none of its bytes."""
        self._skipped = {
            "ordinal": int(self._state[kernel.ROW]),
            "line": int(self._state[kernel.LINE]),
            "byte_offset": self._record_place(pos),
            "raw": raw_text(self._shown(pos, pos + RAW_MAX_BYTES)),
        }
        self._skip = np.array([kernel.UNQUOTED, 1, self._state[kernel.LINE], -1, -1, 0], np.int64)

    def _continue_skipping(self, pos: int, skip: npt.NDArray[np.int64]) -> tuple[int, bool]:
        """(position after the skipped bytes, whether the record has ended)."""
        quote = int(skip[kernel.SKIP_QUOTE_POS])
        pos = kernel.skip_record(self._data, pos, self._tail, self._base, skip)
        if quote != skip[kernel.SKIP_QUOTE_POS]:  # its place is found only while it is in the buffer
            self._skipped_quote = self._place(int(skip[kernel.SKIP_QUOTE_POS]) - self._base)[0]
        done = bool(skip[kernel.SKIP_DONE]) or (self._eof and skip[kernel.SKIP_MACHINE] != kernel.QUOTED)
        if done:
            self._state[kernel.LINE] = skip[kernel.SKIP_LINE]
            self._state[kernel.ROW] += 1
        return pos, done

    def _skipped_reject(self) -> Reject:
        code = RejectCode.ROW_TOO_LARGE
        return Reject(code=code, reason=fault_reason(code, self._limit), **self._skipped)

    def _check_end(self, pos: int) -> Iterator[RejectBatch]:
        """Raise `UserError` UNCLOSED_QUOTE if bytes are left over: they belong to an unclosed quote."""
        if self._skip is not None:
            raise unclosed_quote(self._skipped_quote, int(self._skip[kernel.SKIP_QUOTE_LINE]))
        if pos < min(self._tail, self._stop - self._base):
            quote = self._place(int(self._state[kernel.QUOTE_POS]))[0]
            raise unclosed_quote(quote, int(self._state[kernel.QUOTE_LINE]))
        yield from ()


def _arrays(
    slots: int, good: int, bad: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Output arrays of a scan: `starts`, `ends`, `good`, `bad`."""
    starts, ends = np.empty((slots, good), np.int32), np.empty((slots, good), np.int32)
    return starts, ends, np.empty((good, 4), np.int64), np.empty((bad, 6), np.int64)


def _exchanged(text: pa.Array, table: bytes) -> pa.Array:
    """A string array with the delimiter and the comma exchanged."""
    _, offsets, data = text.buffers()
    exchanged = np.frombuffer(table, np.uint8)[np.frombuffer(data, np.uint8)]  # writable, as kernels expect it
    return pa.Array.from_buffers(pa.string(), len(text), [None, offsets, pa.py_buffer(exchanged)])
