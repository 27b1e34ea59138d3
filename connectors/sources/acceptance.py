"""The last check for every format: structurally sound rows are accepted, or rejected for their values."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from connectors.sources.rejects import Reject, RejectBatch, RejectCode, raw_text
from connectors.sources.typed_columns import EXPECTED, Converted, string_buffers
from schemas.columns import USER_ID
from schemas.ids import USER_ID_MAX_CHARACTERS
from schemas.import_spec import ImportSpec
from schemas.kernels import values as value_kernel
from schemas.topics import ROW_MAX_BYTES
from segmentation.intake.row_faults import RowFaults, row_faults

VALUE_BYTES: Final = 8
"""Bytes that a non-text value counts towards `ROW_MAX_BYTES`."""
VALUE_SHOWN_CHARACTERS: Final = 80
FINER: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.(?=\d{6}\d*[1-9])\d{7,9}(?:Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
"""A time with a fraction of a microsecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Structurally sound rows. All sequences have one entry per row.

    `ids`: string array, null where the id is missing. `columns`: converted, in the order of the spec. `raw(row)`: bytes
    of the record, for the reject. `shown(column, row)`: text of a bad value.
    """

    ordinals: npt.NDArray[np.int64]
    ids: pa.Array
    columns: Sequence[Converted]
    raw: Callable[[int], bytes]
    shown: Callable[[int, int], str]
    lines: npt.NDArray[np.int64] | None = None
    byte_offsets: npt.NDArray[np.int64] | None = None
    may_be_large: bool = True
    may_have_nul: bool = False


def accept(
    rows: Candidates, spec: ImportSpec, schema: pa.Schema, received_at_us: int
) -> tuple[pa.RecordBatch, list[Reject]]:
    """Accepted rows in file order, and rejects for the rest.

    `schema`: that of the accepted rows; its columns that `spec` lacks, because the file does, become null.
    `received_at_us` (microseconds since 1970 UTC): events must not be far ahead of it.
    """
    faults = id_faults(rows.ids)
    refused: npt.NDArray[np.bool_] | None = None if faults is None else np.array([f is not None for f in faults])
    for column in rows.columns:
        if column.bad is not None:
            refused = column.bad if refused is None else refused | column.bad
    large = _too_large(rows) if rows.may_be_large else None
    if large is not None:
        refused = large if refused is None else refused | large
    nul = _with_nul(rows) if rows.may_have_nul else None
    if nul is not None:
        refused = nul if refused is None else refused | nul
    activity = _activity_faults(rows, spec, received_at_us)
    if activity:
        faulty = np.zeros(len(rows.ordinals), np.bool_)
        faulty[list(activity)] = True
        refused = faulty if refused is None else refused | faulty
    arrays = [pa.Array.from_buffers(pa.int64(), len(rows.ordinals), [None, pa.py_buffer(rows.ordinals)], 0)]
    values = {USER_ID: rows.ids, **{c.name: v.values for c, v in zip(spec.columns, rows.columns, strict=True)}}
    arrays += [
        values[field.name] if field.name in values else pa.nulls(len(rows.ordinals), field.type)
        for field in list(schema)[1:]
    ]
    if refused is None:
        return pa.RecordBatch.from_arrays(arrays, schema=schema), []
    keep = pa.array(~refused)
    batch = pa.RecordBatch.from_arrays([pc.filter(a, keep) for a in arrays], schema=schema)
    where = np.flatnonzero(refused).tolist()
    return batch, [_reject(rows, spec, row, _fault(row, faults, large, nul, spec), activity) for row in where]


def id_faults(ids: pa.Array) -> list[tuple[RejectCode, str] | None] | None:
    """Code and reason for each invalid id; None if all ids are valid. Ids are never trimmed, folded or normalised."""
    offsets, data = string_buffers(ids)
    suspect = np.empty(len(ids), np.uint8)
    if not value_kernel.suspect_ids(offsets, data, USER_ID_MAX_CHARACTERS, suspect):
        return None
    where = np.flatnonzero(suspect)
    suspects = ids.take(pa.array(where))
    lengths = pc.utf8_length(suspects).to_numpy(zero_copy_only=False)
    blank = pc.fill_null(pc.utf8_is_space(suspects), fill_value=False).to_numpy(zero_copy_only=False)
    missing = suspects.is_null().to_numpy(zero_copy_only=False)
    odd = np.flatnonzero(missing | blank | (lengths == 0) | (lengths > USER_ID_MAX_CHARACTERS))
    if not len(odd):
        return None
    faults: list[tuple[RejectCode, str] | None] = [None] * len(ids)
    for k in odd.tolist():
        if missing[k]:
            fault = (RejectCode.ID_MISSING, "the id is missing")
        elif lengths[k] == 0:
            fault = (RejectCode.ID_EMPTY, "the id is empty")
        elif lengths[k] > USER_ID_MAX_CHARACTERS:
            fault = (
                RejectCode.ID_TOO_LONG,
                f"the id has {int(lengths[k])} characters; {USER_ID_MAX_CHARACTERS} are allowed",
            )
        else:
            fault = (RejectCode.ID_BLANK, "the id is only white space")
        faults[int(where[k])] = fault
    return faults


def reject_batches(rejects: Sequence[Reject]) -> list[RejectBatch]:
    """A list with one batch of all rejects; empty if there are no rejects."""
    return [RejectBatch.of(rejects)] if rejects else []


def _too_large(rows: Candidates) -> npt.NDArray[np.bool_] | None:
    sizes = np.zeros(len(rows.ordinals), np.int64)
    for array in (rows.ids, *(c.values for c in rows.columns)):
        if pa.types.is_string(array.type):
            sizes += pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False)
        else:
            sizes += VALUE_BYTES
    large = sizes > ROW_MAX_BYTES
    return large if large.any() else None


def _with_nul(rows: Candidates) -> npt.NDArray[np.bool_] | None:
    found: npt.NDArray[np.bool_] | None = None
    for array in (rows.ids, *(c.values for c in rows.columns)):
        if not pa.types.is_string(array.type):
            continue
        offsets, data = string_buffers(array)
        if (data[offsets[0] : offsets[-1]] != 0).all():
            continue
        faulty = pc.fill_null(pc.match_substring(array, "\0"), fill_value=False).to_numpy(zero_copy_only=False)
        found = faulty if found is None else found | faulty
    return found if found is not None and found.any() else None


def _fault(
    row: int,
    faults: list[tuple[RejectCode, str] | None] | None,
    large: npt.NDArray[np.bool_] | None,
    nul: npt.NDArray[np.bool_] | None,
    spec: ImportSpec,
) -> tuple[RejectCode, str, str | None] | None:
    """(code, reason, column) of a NUL, a bad id or excess size, before bad values; the same order for every format."""
    if nul is not None and nul[row]:
        return RejectCode.NUL_BYTE, "a NUL character", None
    if faults is not None and (fault := faults[row]) is not None:
        return *fault, spec.id_column
    if large is not None and large[row]:
        return RejectCode.ROW_TOO_LARGE, f"the values are larger than {ROW_MAX_BYTES} bytes", None
    return None


def _activity_faults(rows: Candidates, spec: ImportSpec, received_at_us: int) -> RowFaults:
    """Faults by the rules for events and profile changes, in rows whose values converted; ids are checked elsewhere."""
    if spec.kind == "audience":
        return {}
    named = [(column.name, converted.values) for column, converted in zip(spec.columns, rows.columns, strict=True)]
    return row_faults(spec.kind, named, received_at_us)


def _bad_column(rows: Candidates, row: int) -> int | None:
    """Index of the first column whose value did not convert; None if all values did."""
    return next((k for k, c in enumerate(rows.columns) if c.bad is not None and c.bad[row]), None)


def _bad_value(rows: Candidates, spec: ImportSpec, index: int, row: int) -> tuple[RejectCode, str]:
    """Code and reason for a value that did not convert."""
    text = rows.shown(index, row)
    shown = repr(text[:VALUE_SHOWN_CHARACTERS] + ("..." if len(text) > VALUE_SHOWN_CHARACTERS else ""))
    unclear, type_ = rows.columns[index].unclear, spec.columns[index].type
    if unclear is None or not unclear[row]:
        if type_ == "timestamp" and FINER.fullmatch(text):
            return (
                RejectCode.BAD_VALUE,
                f"{shown} is finer than a microsecond: write the file with times in microseconds",
            )
        return RejectCode.BAD_VALUE, f"{shown} is not {EXPECTED[type_]}"
    if spec.timezone is None:
        return RejectCode.NO_TIMEZONE, f"{shown} has no offset: give its zone with --timezone"
    return RejectCode.BAD_VALUE, f"{shown} does not exist, or exists twice, in {spec.timezone}: write it with an offset"


def _reject(
    rows: Candidates,
    spec: ImportSpec,
    row: int,
    fault: tuple[RejectCode, str, str | None] | None,
    activity: RowFaults,
) -> Reject:
    if fault is not None:
        code, reason, column = fault
    elif (index := _bad_column(rows, row)) is None:
        name, refusal = activity[row]
        code, reason = RejectCode(refusal.code.value), refusal.reason
        column = next(c.file_name for c in spec.columns if c.name == name)
    else:
        code, reason = _bad_value(rows, spec, index, row)
        column = spec.columns[index].file_name
    return Reject(
        ordinal=int(rows.ordinals[row]),
        line=None if rows.lines is None else int(rows.lines[row]),
        byte_offset=None if rows.byte_offsets is None else int(rows.byte_offsets[row]),
        column=column,
        code=code,
        reason=reason,
        raw=raw_text(rows.raw(row)),
    )
