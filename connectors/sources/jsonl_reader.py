"""Strict JSON Lines (RFC 8259 objects, one per line, LF or CRLF, UTF-8), in constant memory for any input."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa

from connectors.sources.acceptance import Candidates, accept, reject_batches
from connectors.sources.compression import ByteSource
from connectors.sources.csv_reader import BLOCK_BYTES, RECORD_MAX_BYTES, UTF16_BOMS
from connectors.sources.json_values import (
    Refused,
    Shape,
    converted,
    no_constant,
    shape_of,
    shown,
    unique,
    wider,
)
from connectors.sources.rejects import RAW_MAX_BYTES, Reject, RejectBatch, RejectCode, raw_text
from connectors.sources.second_file import BOM
from connectors.sources.suggestion import Chooser, Layout
from connectors.sources.value_kernel import MAX_US
from schemas.arrow import arrow_schema
from schemas.columns import ColumnType
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.json_types import json_type

BATCH_LINES: Final = 64 * 1024
SAMPLE_BYTES: Final = 1024 * 1024
SAMPLE_LINES: Final = 1000
SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


class JsonLinesReader:
    """Iterate to get accepted batches and rejects, each of the two in file order.

    An id is a string, or an integer, which becomes its decimal digits. An absent or null column is null; a value must
    have the JSON type of its column (string, date, timestamp: a string; long: an integer; double: a number). Raises
    `UserError` EMPTY_FILE, NOT_UTF8_HEADER.
    """

    def __init__(
        self,
        source: ByteSource,
        spec: ImportSpec,
        *,
        choose: Chooser | None = None,
        received_at_us: int = MAX_US,
        block_bytes: int = BLOCK_BYTES,
        record_limit: int = RECORD_MAX_BYTES,
    ) -> None:
        self._source = source
        self._spec = spec
        self._choose = choose
        self._received_at_us = received_at_us
        self._block = bytearray(block_bytes)
        self._limit = record_limit
        self._ordinal = 0
        self._offset = 0
        """Offset of the next line in the decompressed stream."""
        self._decode = json.JSONDecoder(object_pairs_hook=unique, parse_constant=no_constant).decode

    def __iter__(self) -> Iterator[pa.RecordBatch | RejectBatch]:
        carry = self._first_bytes()
        if self._choose is not None:
            carry = self._sample(carry)
        self._schema = arrow_schema(self._spec.row_schema, ordinal=True)
        head = b""
        skipped = 0  # bytes of a line over the limit that were dropped, all but its head
        while True:
            block = self._read()
            rows = _Rows(self._spec)
            *lines, rest = (carry + block).split(b"\n")
            pieces = [(line, True) for line in lines]
            if not block and (rest or skipped):
                pieces.append((rest, False))
            for line, ended in pieces:
                if skipped:
                    self._add_large(rows, head, skipped + len(line), ended=ended)
                    skipped = 0
                else:
                    self._add(rows, line, ended=ended)
                if rows.full:
                    yield from self._results(rows)
                    rows = _Rows(self._spec)
            yield from self._results(rows)
            if not block:
                return
            carry = rest
            if skipped:
                skipped += len(rest)
                carry = b""
            elif len(rest) > self._limit + 1:  # a CR may still belong to the line end
                head, skipped, carry = rest[:RAW_MAX_BYTES], len(rest), b""

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

    def _add(self, rows: "_Rows", line: bytes, *, ended: bool) -> None:
        """Check one line. Every line is a row with an ordinal, accepted or not."""
        ordinal, offset = self._ordinal, self._offset
        self._ordinal += 1
        self._offset += len(line) + ended
        content = line.removesuffix(b"\r") if ended else line
        try:
            rows.add(ordinal, offset, content, self._members(content))
        except Refused as refused:
            rows.rejects.append(
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

    def _add_large(self, rows: "_Rows", head: bytes, size: int, *, ended: bool) -> None:
        rows.rejects.append(
            Reject(
                ordinal=self._ordinal,
                line=self._ordinal + 1,
                byte_offset=self._offset,
                code=RejectCode.ROW_TOO_LARGE,
                reason=f"the record is larger than {self._limit} bytes",
                raw=raw_text(head),
            )
        )
        self._ordinal += 1
        self._offset += size + ended

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

    def _results(self, rows: "_Rows") -> Iterator[pa.RecordBatch | RejectBatch]:
        rejects = rows.rejects
        if rows.ordinals:
            batch, refused = accept(rows.candidates(), self._spec, self._schema, self._received_at_us)
            rejects += refused
            if batch.num_rows:
                yield batch
        yield from reject_batches(rejects)


class _Rows:
    """Column-wise values of the lines of a block."""

    def __init__(self, spec: ImportSpec) -> None:
        self._spec = spec
        self.rejects: list[Reject] = []
        self.ordinals: list[int] = []
        self._offsets: list[int] = []
        self._contents: list[bytes] = []
        self._ids: list[str | None] = []
        self._values: list[list[Any]] = [[] for _ in spec.columns]
        self._known = {spec.id_column, *(c.file_name for c in spec.columns)}

    @property
    def full(self) -> bool:
        """True if there are enough rows for a batch: a block may consist of nothing but line ends."""
        return len(self.ordinals) + len(self.rejects) >= BATCH_LINES

    def add(self, ordinal: int, offset: int, content: bytes, members: Mapping[str, Any]) -> None:
        """Keep the wanted members of an object. Raises `Refused`."""
        id_ = members.get(self._spec.id_column)
        if type(id_) is int:
            id_ = str(id_)
        elif id_ is not None and not isinstance(id_, str):
            reason = f"an id is a string or an integer, not {json_type(id_)}"
            raise Refused(RejectCode.BAD_VALUE, reason, self._spec.id_column)
        if self._spec.other_columns:
            self._refuse_unknown(members)
        wanted = [(self._spec.id_column, id_), *((c.file_name, members.get(c.file_name)) for c in self._spec.columns)]
        if b"\\u" in content:
            for name, value in wanted:
                if isinstance(value, str) and SURROGATE.search(value):
                    raise Refused(RejectCode.INVALID_UTF8, "half of a surrogate pair is not a character", name)
        self.ordinals.append(ordinal)
        self._offsets.append(offset)
        self._contents.append(content)
        self._ids.append(id_)
        for values, (_, value) in zip(self._values, wanted[1:], strict=True):
            values.append(value)

    def _refuse_unknown(self, members: Mapping[str, Any]) -> None:
        """Refuse members that came too late to become a column, rather than lose them silently. Raises `Refused`."""
        for name in members.keys() - self._known:
            if members[name] is not None or self._spec.kind == "profiles":  # null unsets an attribute
                reason = "the first lines do not have this member; list it as a column, or keep only listed columns"
                raise Refused(RejectCode.UNKNOWN_MEMBER, reason, name)

    def candidates(self) -> Candidates:
        ordinals = np.array(self.ordinals, np.int64)
        return Candidates(
            ordinals=ordinals,
            ids=pa.array(self._ids, pa.string()),
            columns=[
                converted(values, column, self._spec.timezone)
                for values, column in zip(self._values, self._spec.columns, strict=True)
            ],
            raw=lambda row: self._contents[row],
            shown=lambda column, row: shown(self._values[column][row]),
            lines=ordinals + 1,
            byte_offsets=np.array(self._offsets, np.int64),
            may_have_nul=True,
        )
