"""Lines of JSON as rows: those that certainly are objects of the spec all together, others one by one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from connectors.sources.acceptance import Candidates
from connectors.sources.fields_seen import FieldsSeen
from connectors.sources.json_values import Refused, converted, shown
from connectors.sources.rejects import RejectCode
from connectors.sources.typed_columns import Converted, convert_text
from schemas.columns import Column, ColumnType
from schemas.import_spec import ImportSpec
from schemas.json_types import json_type
from schemas.kernels.json_objects import scan_objects
from schemas.kernels.members import (
    ABSENT,
    DECIMAL,
    DOUBLE,
    FALSE,
    INTEGER,
    NULL,
    STRING,
    TRUE,
    Bytes,
    Ints,
    Longs,
    Mask,
    Members,
    find_members,
    with_validity,
)
from segmentation.intake.json_records import EXACT

SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_NO_VALUE: Final = (NULL, ABSENT)
_KINDS: Final[Mapping[ColumnType, tuple[int, ...]]] = {
    "string": (STRING,),
    "long": (INTEGER,),
    "double": (INTEGER, DOUBLE, DECIMAL),
    "boolean": (TRUE, FALSE),
    "date": (STRING,),
    "timestamp": (STRING,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Consecutive lines: data[starts[k]:ends[k]] (`schemas.kernels.members.joined`), without their line ends."""

    data: Bytes
    size: int
    starts: Ints
    ends: Ints
    ordinals: Longs
    byte_offsets: Longs

    def content(self, line: int) -> bytes:
        """The bytes of a line."""
        return self.data[self.starts[line] : self.ends[line]].tobytes()


def lines_of(data: Bytes, size: int) -> tuple[Ints, Ints]:
    """Where the lines of data[:size] that end with LF begin, and where their LF is."""
    ends = np.flatnonzero(data[:size] == 10).astype(np.int32)
    starts = np.zeros(len(ends), np.int32)
    starts[1:] = ends[:-1] + 1
    return starts, ends


def without_cr(data: Bytes, starts: Ints, ends: Ints) -> Ints:
    """The ends of lines without the CR that belongs to a line end."""
    last = data[np.maximum(ends - 1, 0)]
    found: Ints = ends - ((ends > starts) & (last == 13)).astype(np.int32)
    return found


def certain_rows(lines: Lines, spec: ImportSpec, limit: int, seen: FieldsSeen) -> tuple[Mask, Candidates]:
    """Which lines are certainly sound, bool[n], and those as candidates; `seen` notes their fields.

    `limit`: bytes of the largest line.
    """
    members = scan_objects(lines.data, lines.size, lines.starts, lines.ends)
    names = [spec.id_column, *(column.file_name for column in spec.columns)]
    found = find_members(members, names)
    certain = members.taken & (lines.ends - lines.starts <= limit)
    if spec.other_columns:
        certain &= ~found.others
    certain &= members.are_kinds(found.by_name[0], STRING, INTEGER, *_NO_VALUE)
    for column, indices in zip(spec.columns, found.by_name[1:], strict=True):
        certain &= members.are_kinds(indices, *_KINDS[column.type], *_NO_VALUE)
        if column.type == "double":
            certain &= np.abs(members.longs(indices)) <= EXACT
    seen.add(members, found, names, certain)
    ids, columns = found.by_name[0][certain], [of_name[certain] for of_name in found.by_name[1:]]
    rows = np.flatnonzero(certain)
    ordinals = lines.ordinals[rows]
    return certain, Candidates(
        ordinals=ordinals,
        ids=_texts(members, ids),
        columns=[_column(members, of, column, spec.timezone) for of, column in zip(columns, spec.columns, strict=True)],
        raw=lambda row: lines.content(rows[row]),
        shown=lambda column, row: members.texts(columns[column][row : row + 1])[0].as_py(),
        lines=ordinals + 1,
        byte_offsets=lines.byte_offsets[rows],
    )


def _texts(members: Members, indices: Ints) -> pa.StringArray:
    return with_validity(members.texts(indices), ~members.are_kinds(indices, *_NO_VALUE))


def _column(members: Members, indices: Ints, column: Column, timezone: str | None) -> Converted:
    """The values of a column; of these kinds, only times and dates may not convert."""
    valid = ~members.are_kinds(indices, *_NO_VALUE)
    match column.type:
        case "string":
            return Converted(_texts(members, indices), None)
        case "long":
            return Converted(with_validity(pa.array(members.longs(indices)), valid), None)
        case "double":
            return Converted(with_validity(pa.array(members.doubles(indices)), valid), None)
        case "boolean":
            return Converted(with_validity(pa.array(members.are_kinds(indices, TRUE)), valid), None)
        case "date" | "timestamp":
            return convert_text(_texts(members, indices), column, (), timezone)


class LineRows:
    """Column-wise values of lines that were read one by one."""

    def __init__(self, spec: ImportSpec) -> None:
        self._spec = spec
        self.ordinals: list[int] = []
        self._offsets: list[int] = []
        self._contents: list[bytes] = []
        self._ids: list[str | None] = []
        self._values: list[list[Any]] = [[] for _ in spec.columns]
        self._known = {spec.id_column, *(c.file_name for c in spec.columns)}

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
        """The lines that were added."""
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
