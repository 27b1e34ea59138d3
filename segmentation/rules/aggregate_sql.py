"""Aggregates -> SQL over the events that a rule names: which numbers and values count, a row each."""

from collections.abc import Sequence as Several

from segmentation.expressions.sql import BoundSql
from segmentation.rules.aggregates import MAX_NUMBER, STEPS, Total


def amounts_sql(total: Total, match: BoundSql, number: str, scanned: BoundSql, *, counted: bool = True) -> BoundSql:
    """`user_id`, `occurred_at` and `amount`, in steps, of each event with a number that can be summed.

    `scanned`: events of the window, with `number`, the column of the property; `match`: whether a row of `s` is one
    that is asked for. `counted`: only of those that are among the latest ones.
    """
    fits = f"abs(s.{number}) <= {MAX_NUMBER}e0"
    steps = f"max(CASE WHEN {fits} THEN CAST(round(s.{number} * {STEPS}) AS BIGINT) END)"
    of_event = (
        f"SELECT s.user_id AS user_id, s.occurred_at AS occurred_at, {steps} AS amount FROM ({scanned.text}) AS s "  # noqa: S608  # ours
        f"WHERE {match.text} AND {fits} GROUP BY s.user_id, s.occurred_at, s.event_id"
    )
    parameters = (*scanned.parameters, *match.parameters)
    if not counted:
        return BoundSql(of_event, parameters)
    later = "count(*) OVER (PARTITION BY user_id ORDER BY occurred_at DESC RANGE UNBOUNDED PRECEDING)"
    return BoundSql(
        f"SELECT user_id, occurred_at, amount FROM (SELECT user_id, occurred_at, amount, {later} AS later "  # noqa: S608  # ours
        f"FROM ({of_event}) AS i) AS o WHERE later <= {total.latest}",
        parameters,
    )


def values_sql(match: BoundSql, keys: Several[str], scanned: BoundSql) -> BoundSql:
    """`user_id` and `occurred_at`, the latest, of each different value of a property.

    `keys`: its columns by type, in the order of PROPERTY_TYPES. Equal values group as one: 0 and -0 are, NaN is none.
    """
    number, *others = keys
    present = " OR ".join([f"NOT isnan(s.{number})", *(f"s.{name} IS NOT NULL" for name in others)])
    by = ", ".join(["s.user_id", f"s.{number} + 0.0", *(f"s.{name}" for name in others)])
    return BoundSql(
        f"SELECT s.user_id AS user_id, max(s.occurred_at) AS occurred_at FROM ({scanned.text}) AS s "  # noqa: S608  # ours
        f"WHERE {match.text} AND ({present}) GROUP BY {by}",
        (*scanned.parameters, *match.parameters),
    )


def numbers_sql(match: BoundSql, number: str, scanned: BoundSql) -> BoundSql:
    """`user_id`, `occurred_at` and `number` of each event, and each of its copies, that has one."""
    return BoundSql(
        f"SELECT s.user_id AS user_id, s.occurred_at AS occurred_at, s.{number} AS number FROM ({scanned.text}) AS s "  # noqa: S608  # ours
        f"WHERE {match.text} AND s.{number} IS NOT NULL AND NOT isnan(s.{number})",
        (*scanned.parameters, *match.parameters),
    )


def too_large_sql(match: BoundSql, number: str, scanned: BoundSql) -> BoundSql:
    """How many numbers are too large to be summed, copies included."""
    numbers, parameters = numbers_sql(match, number, scanned)
    return BoundSql(f"SELECT count(*) FROM ({numbers}) AS n WHERE abs(number) > {MAX_NUMBER}e0", parameters)  # noqa: S608  # ours
