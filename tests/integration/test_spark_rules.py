"""Random rules are counted alike by DuckDB over the files of a lake, and by Spark over its tables."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.lake.spark_queries import SparkQueries
from schemas.errors import FatalError, RetriableError
from segmentation.rules.parser import parse_rule
from tests.servers.ports import free_ports
from tests.spark_cases import Engines, cases, engines, members_of

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    with engines(tmp_path_factory.mktemp("spark"), cases(20)) as found:
        yield found


def test_random_rules_count_the_same(both: Engines) -> None:
    found = [difference for one in both.asked for difference in both.differences(one)]
    assert found == []
    counted = [both.duckdb.breakdown(one.duckdb, one.case.at, 0).members for one in both.asked]
    assert len({*counted}) > 1, counted


def test_members_are_those_of_duckdb(both: Engines, tmp_path: Path) -> None:
    for one in both.asked[:5]:
        members = members_of(both.spark.members(one.spark, one.case.at))
        first = both.duckdb.breakdown(one.duckdb, one.case.at, 100)
        assert members == sorted(first.users)
        compared = both.duckdb.compare_members(both.spark.members(one.spark, one.case.at), [], 2)
        assert (compared.by_rule, compared.by_stream, compared.missing) == (len(members), 0, len(members))


def test_unknown_names_and_suggestions_are_those_of_duckdb(both: Engines) -> None:
    rule = parse_rule("ever(nothing) or amount = 7 or nobody_has = 1")
    one = both.asked[0]
    ours = both.duckdb.unknown_names(replace(one.duckdb, rule=rule, segments={}))
    assert both.spark.unknown_names(replace(one.spark, rule=rule, segments={})) == ours
    assert ours.events == ("nothing",)


def test_cluster_that_is_away_is_named(both: Engines) -> None:
    [port] = free_ports(1)
    with pytest.raises(RetriableError, match=f"no answer from Spark at sc://127.0.0.1:{port}: ") as caught:
        SparkQueries(f"sc://127.0.0.1:{port}", "muster").breakdown(both.asked[0].spark, both.asked[0].case.at, 0)
    assert caught.value.code == "SPARK_UNAVAILABLE"


def test_table_that_the_catalog_lacks_is_named(both: Engines) -> None:
    with pytest.raises(FatalError, match=r"does not know a table of the lake: .*elsewhere.*spark_catalog") as caught:
        SparkQueries(both.remote, "elsewhere").breakdown(both.asked[0].spark, both.asked[0].case.at, 0)
    assert caught.value.code == "SPARK_TABLE_UNKNOWN"


def test_expired_snapshot_is_asked_again(both: Engines) -> None:
    one = both.asked[0]
    snapshots = dict.fromkeys(one.spark.activity.snapshots, 1)
    gone = replace(one.spark, activity=replace(one.spark.activity, snapshots=snapshots))
    with pytest.raises(RetriableError, match="expired before"):
        both.spark.breakdown(gone, one.case.at, 0)
