"""The rows of a query, as the service streams them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from muster.errors import ApiError

Rows = tuple[Sequence[Mapping[str, str]], Iterator[Sequence[Any]]]
"""Columns with name and type, and the rows."""


def rows_of(records: Iterator[Any]) -> Rows:
    """What the lines of a stream say. Raises `ApiError`, also while rows are read."""
    first = _checked(next(records, {}))
    return first.get("columns") or (), _rows(records, ended="end" in first)


def _rows(records: Iterator[Any], *, ended: bool) -> Iterator[Sequence[Any]]:
    while not ended:
        record = _checked(next(records, {}))
        yield from record.get("rows") or ()
        ended = "end" in record


def _checked(record: Mapping[str, Any]) -> Mapping[str, Any]:
    if not record:
        raise ApiError("API_UNREACHABLE", "the answer of the service was cut off; try again", kind="retriable")
    if (problem := record.get("error")) is not None:
        raise ApiError(
            problem["code"],
            problem["detail"],
            kind=problem["kind"],
            status=problem["status"],
            values=problem["values"],
            request_id=problem["instance"],
        )
    return record
