"""Faults in rows of events or profiles: whole columns at once, by the rules of single records (`values`).

Suspicious values of a column are checked one by one, so a file, a chunk and a single record are refused for the same
reasons. A row with several faults reports the one found first.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.activity import EARLIEST_US, MAX_AHEAD_US, PROPERTY_MAX_BYTES
from schemas.activity_columns import DELETED, EVENT, NAME_MAX_CHARACTERS, OCCURRED_AT
from schemas.buffers import string_buffers
from schemas.columns import USER_ID, ImportKind
from schemas.ids import USER_ID_MAX_CHARACTERS
from segmentation.intake.refusals import RefusalCode, Refused
from segmentation.intake.texts import check_text
from segmentation.intake.values import check_time, check_values

RowFaults = dict[int, tuple[str, Refused]]
"""By row: the column and the reason."""
Mask = npt.NDArray[np.bool_]
Received = int | npt.NDArray[np.int64]
_DELETED_WITH_VALUES: Final = Refused(
    RefusalCode.BAD_PROPERTY, "a deleted profile cannot have attributes in the same row"
)


def row_faults(kind: ImportKind, columns: Sequence[tuple[str, pa.Array]], received_at_us: Received) -> RowFaults:
    """Faults of rows of events or profiles, given as named columns, received at one time or each at its own.

    Known by name: user_id; event, occurred_at and event_id of events; deleted of profiles. All other columns are
    values.
    """
    faults: RowFaults = {}
    if kind == "profiles":
        faults = dict.fromkeys(_rows(_deleted_with_values(columns)), (DELETED, _DELETED_WITH_VALUES))
    for name, array in columns:
        judge = _fixed_faults if kind == "events" or name == USER_ID else _value_faults
        for row, refused in judge(name, array, received_at_us).items():
            faults.setdefault(row, (name, refused))
    return faults


def deleted_rows(columns: Mapping[str, pa.Array], rows: int) -> Mask:
    """bool[rows]: True for changes of profiles that remove all attributes."""
    if (deleted := columns.get(DELETED)) is None:
        return np.zeros(rows, np.bool_)
    found: Mask = deleted.fill_null(False).to_numpy(zero_copy_only=False)  # noqa: FBT003  # the value
    return found


def _deleted_with_values(columns: Sequence[tuple[str, pa.Array]]) -> Mask:
    by_name = dict(columns)
    found = np.zeros(len(columns[0][1]) if columns else 0, np.bool_)
    if DELETED in by_name:
        for name, values in columns:
            if name not in {USER_ID, DELETED}:
                found |= values.is_valid().to_numpy(zero_copy_only=False)
        found &= deleted_rows(by_name, len(found))
    return found


def _fixed_faults(name: str, array: pa.Array, received_at_us: Received) -> dict[int, Refused]:
    match name:
        case "user_id":
            return _text_faults(array, RefusalCode.BAD_USER_ID, USER_ID, "the user id", USER_ID_MAX_CHARACTERS)
        case "event":
            return _text_faults(array, RefusalCode.BAD_EVENT, EVENT, "the name of the event", NAME_MAX_CHARACTERS)
        case "event_id":
            return _text_faults(array, RefusalCode.BAD_EVENT_ID, None, "the event id", NAME_MAX_CHARACTERS)
        case "occurred_at":
            return _time_faults(array, received_at_us)
        case _:
            return _value_faults(name, array, received_at_us)


def _text_faults(
    texts: pa.StringArray, code: RefusalCode, needed: str | None, what: str, max_characters: int
) -> dict[int, Refused]:
    faults: dict[int, Refused] = {}
    if needed is not None and texts.null_count:
        missing = Refused(code, f"{needed} is missing")
        faults = dict.fromkeys(_rows(texts.is_null().to_numpy(zero_copy_only=False)), missing)
    offsets, data = string_buffers(texts)
    sizes = np.diff(offsets)
    first = data[np.minimum(offsets[:-1], len(data) - 1)]
    # Blank texts begin with a space, a control or a non-ASCII byte; a text has at least as many bytes as characters.
    suspect = (sizes == 0) | (sizes > max_characters) | (first <= 32) | (first >= 127) | _with_nul(texts)
    if not suspect.any():
        return faults
    # Check each text once: names of events repeat, and in some languages all are suspicious.
    distinct = pc.unique(texts.filter(pa.array(suspect)).drop_null())
    bad = {
        text: why
        for text in distinct.to_pylist()
        if (why := _why(lambda t: check_text(t, code, what, max_characters), text))
    }
    for row in _rows(suspect) if bad else ():
        if (why := bad.get(texts[row].as_py())) is not None:
            faults[row] = why
    return faults


def _time_faults(times: pa.Array, received_at_us: Received) -> dict[int, Refused]:
    missing = Refused(RefusalCode.BAD_TIME, f"{OCCURRED_AT} is missing")
    faults = dict.fromkeys(_rows(times.is_null().to_numpy(zero_copy_only=False)) if times.null_count else (), missing)
    us = times.cast(pa.int64()).fill_null(EARLIEST_US).to_numpy()
    for row in _rows((us < EARLIEST_US) | (us > received_at_us + MAX_AHEAD_US)):
        received = int(received_at_us if isinstance(received_at_us, int) else received_at_us[row])
        if (why := _why(partial(check_time, received_at_us=received), int(us[row]))) is not None:
            faults[row] = why
    return faults


def _value_faults(name: str, values: pa.Array, _: Received) -> dict[int, Refused]:
    if pa.types.is_floating(values.type):
        suspect = ~np.isfinite(values.fill_null(0.0).to_numpy())
    elif pa.types.is_string(values.type):
        suspect = (np.diff(string_buffers(values)[0]) > PROPERTY_MAX_BYTES) | _with_nul(values)
    else:
        return {}
    found = {row: _why(lambda v: check_values({name: v}), values[row].as_py()) for row in _rows(suspect)}
    return {row: why for row, why in found.items() if why is not None}


def _why(check: Callable[..., None], value: object) -> Refused | None:
    try:
        check(value)
    except Refused as refused:
        return refused
    return None


def _rows(mask: Mask) -> list[int]:
    rows: list[int] = np.flatnonzero(mask).tolist()
    return rows


def _with_nul(texts: pa.StringArray) -> Mask:
    offsets, data = string_buffers(texts)
    if (data[offsets[0] : offsets[-1]] != 0).all():
        return np.zeros(len(texts), np.bool_)
    found: Mask = pc.fill_null(pc.match_substring(texts, "\0"), fill_value=False).to_numpy(zero_copy_only=False)
    return found
