from datetime import UTC, datetime

import pytest

from connectors.lake.activity_relations import Activity, EndOffsets, PinnedActivity
from schemas.ids import Partition, TenantName
from schemas.topics import EVENTS, PROFILES
from segmentation.expressions.dialects import DUCKDB, SPARK
from segmentation.rules.parser import parse_rule
from segmentation.rules.sql import Relations, members_sql

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
RULE = parse_rule("count(buy where amount > 1, 1d) >= 2 and age >= 18", timezone="UTC")
PINNED = PinnedActivity(tenant=TenantName("acme"), snapshots={EVENTS: 7, PROFILES: None})


@pytest.mark.parametrize(
    ("type_", "duckdb", "spark"),
    [
        ("string", "CAST(? AS VARCHAR)", "CAST(? AS STRING)"),
        ("double", "CAST(? AS DOUBLE)", "CAST(? AS DOUBLE)"),
        ("timestamp", "make_timestamptz(CAST(? AS BIGINT))", "timestamp_micros(CAST(? AS BIGINT))"),
    ],
)
def test_parameters(type_: str, duckdb: str, spark: str) -> None:
    assert (DUCKDB.parameter(type_), SPARK.parameter(type_)) == (duckdb, spark)  # type: ignore[arg-type]


def test_names_cannot_leave_their_quotes() -> None:
    assert DUCKDB.identifier('a"b`c') == '"a""b`c"'
    assert SPARK.identifier('a"b`c') == '`a"b``c`'


def test_text_for_duckdb_is_as_it_was() -> None:
    sql = members_sql(parse_rule("count(buy, 1d) >= 2 and age >= 18"), Relations(known_users=None), NOON)
    assert sql.text == (
        "WITH c AS MATERIALIZED (SELECT * FROM (SELECT e.user_id, count(CASE WHEN e.e0 AND e.occurred_at > "
        "make_timestamptz(CAST(? AS BIGINT)) THEN true END) AS c0 FROM (SELECT user_id, occurred_at, "
        "bool_or((s.event = CAST(? AS VARCHAR))) AS e0 FROM (SELECT user_id, event, occurred_at, event_id FROM "
        '"events" WHERE (event IN (CAST(? AS VARCHAR)) AND occurred_at <= make_timestamptz(CAST(? AS BIGINT)) AND '
        "occurred_at > make_timestamptz(CAST(? AS BIGINT)))) AS s WHERE true GROUP BY user_id, event, occurred_at, "
        "event_id) AS e GROUP BY e.user_id) AS c WHERE (((coalesce(c.c0, 0) >= CAST(? AS BIGINT))))) SELECT c.user_id "
        'AS user_id FROM c LEFT JOIN (SELECT user_id, numbers[CAST(? AS VARCHAR)] AS v0 FROM "profiles" WHERE '
        "(user_id IN (SELECT user_id FROM c))) AS a ON a.user_id = c.user_id WHERE "
        '(((coalesce(c.c0, 0) >= CAST(? AS BIGINT))) AND (("a"."v0" IS NOT NULL AND NOT isnan("a"."v0") AND '
        '"a"."v0" >= CAST(? AS DOUBLE))))'
    )


def test_spark_gets_the_same_values_in_its_own_words() -> None:
    spark = members_sql(RULE, PINNED.relations(RULE), NOON)
    duckdb = members_sql(RULE, Activity(events=(), profiles=()).relations(RULE), NOON)
    assert spark.parameters == duckdb.parameters
    assert "`double`" in spark.text
    assert "map_contains_key(attributes, CAST(? AS STRING))" in spark.text
    assert "max_by(v0, CASE WHEN m0 THEN place END) AS a0" in spark.text
    assert not {"VARCHAR", "MATERIALIZED", "make_timestamptz", "HUGEINT", '"', "::"} & {
        word for word in ("VARCHAR", "MATERIALIZED", "make_timestamptz", "HUGEINT", '"', "::") if word in spark.text
    }


def test_views_are_pinned_and_end_at_positions() -> None:
    below = EndOffsets(ends={Partition(1): 9, Partition(0): 4})
    pinned = PinnedActivity(tenant=TenantName("acme"), snapshots={EVENTS: 7, PROFILES: None}, events_below=below)
    views = pinned.views({EVENTS: "`muster`.`_activity`.`events`", PROFILES: "`p`"})
    assert views["muster_events"] == (
        (
            "SELECT * FROM `muster`.`_activity`.`events` VERSION AS OF 7 WHERE (tenant = CAST(? AS STRING) AND "
            "((`partition` = CAST(? AS BIGINT) AND `offset` < CAST(? AS BIGINT)) OR "
            "(`partition` = CAST(? AS BIGINT) AND `offset` < CAST(? AS BIGINT))))"
        ),
        ("acme", 0, 4, 1, 9),
    )
    assert views["muster_profiles"].text.endswith("WHERE false")
