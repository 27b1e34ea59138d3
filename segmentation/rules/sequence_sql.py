"""A sequence -> SQL: one pass over its events for each step, with windows over whole microseconds.

It needs no joins, lists or engine's own constructs: ranges of an integer order mean the same everywhere.
"""

from collections.abc import Sequence as Several

from segmentation.expressions.dialects import Dialect
from segmentation.expressions.literals import SECOND_US
from segmentation.expressions.sql import BoundSql
from segmentation.rules.sequences import Sequence


def sequence_sql(
    sequence: Sequence, at_us: int, matches: Several[BoundSql], keys: Several[str], scanned: BoundSql, dialect: Dialect
) -> BoundSql:
    """`user_id` of each user for whom a sequence is true at an instant. Arguments as of `sequence_steps_sql`."""
    steps = sequence_steps_sql(sequence, at_us, matches, keys, scanned, dialect)
    last = len(sequence.steps) - 1
    reached = f"us + {sequence.delay_s(last) * SECOND_US}"
    where = f"v{last} AND {reached} <= {at_us} AND {reached} > {at_us - sequence.window_s * SECOND_US}"
    return BoundSql(f"SELECT DISTINCT user_id FROM ({steps.text}) AS z WHERE {where}", steps.parameters)  # noqa: S608  # ours


def sequence_steps_sql(
    sequence: Sequence, at_us: int, matches: Several[BoundSql], keys: Several[str], scanned: BoundSql, dialect: Dialect
) -> BoundSql:
    """A row for each moment `us` of a user, and each value of `same`, with a flag `v<n>` for each step.

    The flag says whether the step was reached at the moment; of a step with `not`, whether it will be at the end of its
    time (`Sequence.delay_s` later), unless more events come until then. `scanned`: events up to the instant with
    user_id, occurred_at and `keys`, the columns of `same` by type, in the order of PROPERTY_TYPES; `matches`: of each
    step, whether a row of `s` is one of its events.
    """
    numbers = range(len(sequence.steps))
    moments, parameters = _moments(sequence, at_us, matches, keys, scanned, dialect)
    key = "".join(f", {name}" for name in key_columns(keys))
    capped = ", ".join(
        f"(s{i} AND count(CASE WHEN s{i} THEN 1 END) OVER (PARTITION BY user_id ORDER BY us DESC "
        f"RANGE UNBOUNDED PRECEDING) <= {sequence.latest}) AS k{i}"
        if sequence.is_bounded(i)
        else f"s{i} AS k{i}"
        for i in numbers
    )
    kept = ", ".join(f"k{i}" for i in numbers)
    query = f"SELECT user_id{key}, us, {capped} FROM ({moments}) AS m"  # noqa: S608  # ours
    query = f"SELECT user_id{key}, us, {kept}, k0 AS v0 FROM ({query}) AS q0"  # noqa: S608  # ours
    over, flags = f"PARTITION BY user_id{key} ORDER BY us", "v0"
    for i in numbers[1:]:
        step, before, moved = sequence.steps[i], f"v{i - 1}", sequence.delay_s(i - 1) * SECOND_US
        nearest = moved + (0 if sequence.takes_ties(i) else step.gap_s * SECOND_US + 1)
        farthest = moved + step.within_s * SECOND_US
        if step.negated:
            frame = f"RANGE BETWEEN {_bound(nearest, 'FOLLOWING')} AND {_bound(farthest, 'FOLLOWING')}"
            test = f"({before} AND count(CASE WHEN k{i} THEN 1 END) OVER ({over} {frame}) = 0)"
        else:
            frame = f"RANGE BETWEEN {_bound(farthest, 'PRECEDING')} AND {_bound(nearest, 'PRECEDING')}"
            test = f"(k{i} AND count(CASE WHEN {before} THEN 1 END) OVER ({over} {frame}) > 0)"
        query = f"SELECT user_id{key}, us, {kept}, {flags}, {test} AS v{i} FROM ({query}) AS q{i}"  # noqa: S608  # ours
        flags = f"{flags}, v{i}"
    return BoundSql(query, parameters)


def key_columns(keys: Several[str]) -> list[str]:
    """The columns of the value of `same`, by type."""
    return [f"{name}k" for name in keys]


def _moments(
    sequence: Sequence, at_us: int, matches: Several[BoundSql], keys: Several[str], scanned: BoundSql, dialect: Dialect
) -> tuple[str, tuple[object, ...]]:
    """A row for each moment, and with `same` for each of its values, with the steps whose events are there.

    Equal values group as one: 0 and -0 are, NaN equals nothing.
    """
    us = dialect.micros("s.occurred_at")
    flags, parameters = [], list[object]()
    for number, match in enumerate(matches):
        since = at_us - sequence.horizon_s(number) * SECOND_US
        flags.append(f"bool_or({match.text} AND {us} > {since}) AS s{number}")
        parameters += match.parameters
    number_key, *others = keys or ("",)
    columns = (
        [f"s.{number_key} + 0.0 AS {key_columns(keys)[0]}", *(f"s.{name} AS {name}k" for name in others)]
        if keys
        else []
    )
    there = ""
    if keys:
        present = " OR ".join([f"NOT isnan(s.{number_key})", *(f"s.{name} IS NOT NULL" for name in others)])
        there = f" WHERE ({present})"
    grouped = ", ".join(["1", "2", *(str(n + 3) for n in range(len(columns)))])
    selected = ", ".join(["s.user_id AS user_id", f"{us} AS us", *columns, *flags])
    text = f"SELECT {selected} FROM ({scanned.text}) AS s{there} GROUP BY {grouped}"  # noqa: S608  # ours
    return text, (*parameters, *scanned.parameters)


def _bound(micros: int, word: str) -> str:
    return f"{micros} {word}" if micros else "CURRENT ROW"
