"""Rows of a binary format whose file declares types, as Arrow arrays: the same conversions for all such formats.

An id is text or a whole number. Types must fit the spec: a text column is converted as in CSV (without null values), a
number, date or timestamp only if nothing is lost, or if the spec lets it be rounded. A decimal is its exact text, with
its scale.
"""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.sources.acceptance import Candidates, accept, reject_batches
from connectors.sources.header import check_count, present_spec, shown, wanted_columns
from connectors.sources.rejects import Reject, RejectBatch, RejectCode, unusable_header
from connectors.sources.suggestion import Chooser, Layout
from connectors.sources.typed_columns import Converted, array_of, convert_text, resolve_local, string_buffers
from schemas.arrow import ARROW_TYPES, arrow_schema
from schemas.columns import Column, ColumnType
from schemas.errors import UserError
from schemas.import_spec import ImportSpec
from schemas.kernels.utf8 import invalid_utf8_positions
from schemas.kernels.values import MAX_US, MIN_US

BATCH_ROWS: Final = 64 * 1024
EXACT_DOUBLE: Final = 2**53
"""Every integer up to here has its own double."""
TYPE_CHARACTERS: Final = 100
EXACT_DIGITS: Final = 15
"""Every integer of so many digits is below 2^53."""
LONG_MAX: Final = 2**63 - 1
MIN_DAY: Final = -719_162
MAX_DAY: Final = 2_932_896
"""First and last day of the years 1 to 9999."""
DAY_MS: Final = 86_400_000
PER_US: Final = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": -1_000}
"""Microseconds per unit; negative: units per microsecond."""


class ArrowRows:
    """Turns columns of a file with this schema into accepted batches and rejects, which have an ordinal alone.

    Raises `UserError` MISSING_COLUMN, DUPLICATE_COLUMN, TOO_MANY_COLUMNS, BAD_COLUMN_TYPE.
    """

    def __init__(self, file: pa.Schema, spec: ImportSpec, choose: Chooser | None, received_at_us: int) -> None:
        check_count(len(file.names))
        if choose is not None:
            spec = choose(_layout(file))
        self._schema = arrow_schema(spec.row_schema, ordinal=True)
        self._spec = present_spec(file.names, spec, alike=True)
        self._received_at_us = received_at_us
        wanted_columns(file.names, self._spec)
        self._check_types(file)
        self.wanted: Final = [self._spec.id_column, *(c.file_name for c in self._spec.columns)]
        """Names in the file of the id and of every kept column; a name may occur twice."""

    def results(self, ordinal: int, arrays: list[pa.Array]) -> Iterator[pa.RecordBatch | RejectBatch]:
        """Batches and rejects of the rows from `ordinal` on. `arrays`: a column for each name of `wanted`."""
        ordinals = np.arange(ordinal, ordinal + len(arrays[0]), dtype=np.int64)
        columns = [("id", self._spec.id_column), *((c.type, c.file_name) for c in self._spec.columns)]
        arrays = [
            _text(a) if _is_text(a.type) or pa.types.is_decimal(a.type) or type_ == "id" else a
            for a, (type_, _) in zip(arrays, columns, strict=True)
        ]
        rejects: list[Reject] = []
        refused = np.zeros(len(ordinals), np.bool_)
        for array, (_, name) in zip(arrays, columns, strict=True):
            if not pa.types.is_string(array.type):
                continue
            for row in _invalid_utf8(array):
                if not refused[row]:
                    reason = "the text is not UTF-8"
                    reject = Reject(ordinal=ordinal + row, column=name, code=RejectCode.INVALID_UTF8, reason=reason)
                    rejects.append(reject)
                refused[row] = True
        if refused.any():
            keep = pa.array(~refused)
            arrays = [a.filter(keep) for a in arrays]
            ordinals = ordinals[~refused]
        ids, *others = arrays
        rows = Candidates(
            ordinals=ordinals,
            ids=ids,
            columns=[_converted(a, c, self._spec.timezone) for a, c in zip(others, self._spec.columns, strict=True)],
            raw=lambda _: b"",
            shown=lambda column, row: str(_shown(others[column], row)),
            may_have_nul=True,
        )
        batch, more = accept(rows, self._spec, self._schema, self._received_at_us)
        if batch.num_rows:
            yield batch
        yield from reject_batches(rejects + more)

    def _check_types(self, schema: pa.Schema) -> None:
        id_type = schema.field(self._spec.id_column).type
        if not (_is_text(id_type) or _fits(id_type, "long")):
            raise _bad_type(self._spec.id_column, id_type, "an id is text or a whole number")
        for column in self._spec.columns:
            type_ = schema.field(column.file_name).type
            if _is_text(type_) or _fits(type_, column.type):
                continue
            if pa.types.is_decimal(type_) and column.type == "double":
                if column.rounded:
                    continue
                exact, rounded = replace(column, type="string"), replace(column, rounded=True)
                raise _bad_type(
                    column.file_name,
                    type_,
                    f"no double holds most of its values: keep them exactly, as text, with --column {exact.notation}, "
                    f"or round them to the nearest double with --column {rounded.notation}",
                )
            raise _bad_type(column.file_name, type_, f"the import spec says {column.type}")


def unusable_schema(file: pa.Schema) -> RejectBatch:
    """The schema of a file that is refused for it."""
    header = ", ".join(f"{field.name}: {field.type}" for field in file)
    return unusable_header(header.encode(errors="backslashreplace"))


def _layout(schema: pa.Schema) -> Layout:
    return Layout(
        columns=[(f.name, _type_of(f.type)) for f in schema],
        local_times=[f.name for f in schema if pa.types.is_timestamp(f.type) and f.type.tz is None],
        file_types={
            f.name: str(f.type)[:TYPE_CHARACTERS]
            for f in schema
            if pa.types.is_decimal(f.type) or _type_of(f.type) is None
        },
    )


def _type_of(type_: pa.DataType) -> ColumnType | None:
    """First type of a file's column; None if the column cannot be kept."""
    if _is_text(type_) or pa.types.is_decimal(type_):
        return "string"
    return next((t for t in ("long", "double", "boolean", "date", "timestamp") if _fits(type_, t)), None)


def _bad_type(name: str, type_: pa.DataType, why: str) -> UserError:
    found = "nested" if pa.types.is_nested(type_) else str(type_)[:TYPE_CHARACTERS]
    return UserError("BAD_COLUMN_TYPE", f"the column {shown([name])} is {found}, but {why}", column=name)


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return any(
        check(type_)
        for check in (
            pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
            pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view,
        )
    )  # fmt: skip


def _fits(type_: pa.DataType, wanted: ColumnType) -> bool:
    match wanted:
        case "string":
            return bool(pa.types.is_decimal(type_))
        case "long":
            return bool(pa.types.is_integer(type_) or (pa.types.is_decimal(type_) and type_.scale == 0))
        case "double":
            return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or _is_exact_decimal(type_))
        case "boolean":
            return bool(pa.types.is_boolean(type_))
        case "date":
            return bool(pa.types.is_date(type_))
        case "timestamp":
            return bool(pa.types.is_timestamp(type_))
        case _:
            assert_never(wanted)


def _is_exact_decimal(type_: pa.DataType) -> bool:
    """Whether every value of a decimal type is a double exactly: a whole number of at most 15 digits."""
    return bool(pa.types.is_decimal(type_) and type_.scale == 0 and type_.precision <= EXACT_DIGITS)


def _decimal_text(array: pa.Array) -> pa.Array:
    """The digits of decimals with their scale, as in 12.30 and -0.05, never with an exponent."""
    texts = array.cast(pa.string())
    scientific = np.flatnonzero(
        pc.fill_null(pc.match_substring(texts, "E"), fill_value=False).to_numpy(zero_copy_only=False)
    )
    if not len(scientific):
        return texts
    values = texts.to_pylist()
    for row in scientific.tolist():
        values[row] = format(Decimal(values[row]), "f")
    return pa.array(values, pa.string())


def _text(array: pa.Array) -> pa.Array:
    """Convert to a string array; text is not checked for UTF-8 here."""
    if pa.types.is_decimal(array.type):
        return _decimal_text(array)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_integer(array.type):
        return array.cast(pa.string())
    if pa.types.is_string(array.type):
        return array
    return array.cast(pa.binary()).view(pa.string())


def _invalid_utf8(array: pa.Array) -> list[int]:
    """Rows of a string array that are not valid UTF-8."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        offsets, data = string_buffers(array)
        records = np.stack([offsets[:-1], offsets[1:]], axis=1).astype(np.int64)
        places = np.empty(len(array), np.int64)
        invalid_utf8_positions(data, records, len(array), places)
        return [int(row) for row in np.flatnonzero(places >= 0)]
    return []


def _converted(array: pa.Array, column: Column, timezone: str | None) -> Converted:
    if pa.types.is_string(array.type):
        return convert_text(array, column, (), timezone)
    nulls = array.is_null().to_numpy(zero_copy_only=False)
    values: npt.NDArray[Any]
    unclear: npt.NDArray[np.bool_] | None = None
    match column.type:
        case "long":
            values, bad = _longs(array)
        case "double":
            values, bad = _doubles(array, rounded=column.rounded)
        case "date":
            values, bad = _days(array)
        case "timestamp":
            values, bad, unclear = _micros(array, timezone)
        case _:
            return Converted(array, None)
    bad &= ~nulls
    return Converted(array_of(values, nulls | bad, ARROW_TYPES[column.type]), bad if bad.any() else None, unclear)


def _filled(array: pa.Array, type_: pa.DataType) -> npt.NDArray[Any]:
    """The values as `type_`, which must be able to hold them all; 0 for null."""
    filled: npt.NDArray[Any] = pc.fill_null(array.cast(type_), 0).to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(filled)


def _longs(array: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    if pa.types.is_uint64(array.type):
        unsigned = _filled(array, pa.uint64())
        return unsigned.astype(np.int64), unsigned > LONG_MAX
    values = _filled(array, pa.int64())
    return values, np.zeros(len(values), np.bool_)


def _doubles(array: pa.Array, *, rounded: bool) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    if pa.types.is_integer(array.type):
        if rounded:
            values = _filled(array, array.type).astype(np.float64)
            return values, np.zeros(len(values), np.bool_)
        longs, bad = _longs(array)
        return longs.astype(np.float64), bad | (np.abs(longs) > EXACT_DOUBLE) | (longs == -LONG_MAX - 1)
    values = _filled(array, pa.float64())
    return values, ~np.isfinite(values)


def _days(array: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    if pa.types.is_date64(array.type):
        millis = _filled(array.view(pa.int64()), pa.int64())
        days = millis // DAY_MS
        bad = days * DAY_MS != millis
    else:
        days = _filled(array.view(pa.int32()), pa.int64())
        bad = np.zeros(len(days), np.bool_)
    bad |= (days < MIN_DAY) | (days > MAX_DAY)
    return np.where(bad, 0, days).astype(np.int32), bad


def _micros(
    array: pa.Array, timezone: str | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.bool_] | None]:
    """Values, and masks `bad` and `unclear` as in `Converted`; rows that are null may have either set."""
    stored = _filled(array.view(pa.int64()), pa.int64())
    factor = PER_US[array.type.unit]
    if factor > 0:
        bad = (stored < MIN_US // factor) | (stored > MAX_US // factor)
        micros = np.where(bad, 0, stored) * factor
    else:
        micros = stored // -factor
        bad = micros * -factor != stored
    bad |= (micros < MIN_US) | (micros > MAX_US)
    unclear = None
    if array.type.tz is None:
        wall = np.where(bad | array.is_null().to_numpy(zero_copy_only=False), 0, micros)
        micros, local = resolve_local(wall, timezone)
        unclear = (local != 0) & ~bad
        bad |= unclear
    return np.ascontiguousarray(micros), bad, unclear


def _shown(array: pa.Array, row: int) -> object:
    """A value to show: dates and timestamps as Arrow's text, since Python may not be able to represent the moment."""
    value = array[row]
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        return value.cast(pa.string()).as_py() if value.is_valid else None
    return value.as_py()
