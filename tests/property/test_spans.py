"""Tests of attributes that time changes: stream, filter of SQL and naive evaluation agree at every instant.

Instants are near midnights, leap days and the moments at which an answer changes.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from segmentation.evaluation.spans import Spans
from segmentation.expressions.literals import EPOCH, micros
from segmentation.expressions.masks import mask_of
from segmentation.rules.relative import AttributeCondition, compares_days, is_relative
from segmentation.rules.typed import typed_at
from tests.examples import examples
from tests.naive_rules import is_relatively
from tests.property.rule_cases import RELATIVE, ZONES

MICRO = timedelta(microseconds=1)
LAST = datetime(2400, 1, 1, tzinfo=UTC)
LATER = st.timedeltas(timedelta(), timedelta(days=800))
DAYS = st.builds(
    lambda year, of_year, shift: date(year, *of_year) + timedelta(days=shift),
    st.sampled_from([1896, 1900, 1996, 2000, 2023, 2024, 2025, 2026, 2027, 2028, 2029]),
    st.sampled_from([(2, 28), (3, 1), (10, 25), (11, 1), (12, 31)]),
    st.integers(-1, 1),
)
SHIFTS = st.sampled_from([timedelta(), MICRO, -MICRO, timedelta(hours=1), timedelta(hours=-3)])


@st.composite
def near_midnights(draw: st.DrawFn, zone: str) -> datetime:
    day = draw(DAYS.filter(lambda day: day.year > 2000))
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC) + draw(SHIFTS)


def columns_of(values: list[Any]) -> tuple[pa.Array, pa.Array]:
    dates = pa.array([value if type(value) is date else None for value in values], pa.date32())
    return dates, pa.array([value if type(value) is datetime else None for value in values], pa.timestamp("us", "UTC"))


def filtered(test: AttributeCondition, zone: str | None, at: datetime, values: list[Any]) -> list[bool]:
    """What SQL answers: the same filter over columns."""
    columns = dict(zip(("date", "timestamp"), columns_of(values), strict=True))
    of: Callable[[str], pa.Array] = columns.__getitem__
    found: list[bool] = mask_of(typed_at(test, lambda _, type_: type_, zone, at), of).tolist()
    return found


@examples(150)
@given(test=RELATIVE.filter(is_relative), zone=st.sampled_from([*ZONES, "America/Sao_Paulo"]), data=st.data())
def test_a_test_that_follows_the_clock_is_answered_alike_at_every_instant(
    test: AttributeCondition, zone: str, data: st.DataObject
) -> None:
    midnights = near_midnights(zone)
    values = data.draw(st.lists(st.none() | DAYS | midnights, min_size=1, max_size=5))
    zone_given = zone if compares_days(test) else None
    spans, users = Spans(test, zone_given), np.arange(len(values), dtype=np.int32)
    spans.grow(len(values))
    at = data.draw(midnights)
    spans.set(users, *columns_of(values), micros(at))
    for _ in range(5):
        expected = [is_relatively(test, {test.column: value}, at, zone) for value in values]
        assert spans.true(users, np.full(len(users), micros(at))).tolist() == expected
        assert filtered(test, zone_given, at, values) == expected
        due = spans.due(users, np.full(len(users), micros(at)))
        assert (due > micros(at)).all()
        later = at + data.draw(LATER)
        if (first := int(due.min())) < micros(LAST):
            comes = EPOCH + timedelta(microseconds=first)
            later = data.draw(st.sampled_from([comes, comes - MICRO, min(later, comes - MICRO)]))
        at = max(at, later)
        for user, value in enumerate(values):
            if micros(at) < due[user]:
                now = is_relatively(test, {test.column: value}, at, zone)
                assert now == expected[user], "changed before it was due"
