"""Random rules over random archives, each of a tenant of its own, in one lake: for Spark and DuckDB to count alike."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from connectors.lake.activity_relations import Activity, EndOffsets, PinnedActivity
from connectors.lake.archive import ActivityArchive
from connectors.lake.segment_queries import Question, SegmentQueries
from connectors.lake.spark_queries import PinnedQuestion, PinnedTable, SparkQueries
from connectors.lake.store import IcebergVersionStore
from schemas.errors import MusterError
from schemas.ids import AudienceName, Partition, TenantName, Version
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES
from segmentation.rules.nodes import Group, Rule
from segmentation.rules.parser import parse_rule
from segmentation.rules.printer import rule_text
from segmentation.rules.references import names
from segmentation.rules.sequences import MAX_LATEST
from segmentation.versions import AudienceRef
from tests.integration.lake.archiving import Bucket
from tests.integration.lake.support import BUCKET, Parts, limits, new_id, object_server, request, users
from tests.naive_rules import World
from tests.property.rule_cases import NEAR, NOW, rules, sequences
from tests.property.test_rules import USERS, worlds
from tests.property.test_segment_queries import STALE, P, event_rows, place_of, profile_rows
from tests.servers.spark import spark_connect

SHOWN: Final = 3
OF_SEQUENCES: Final = st.builds(
    lambda sequence, negated: Rule(groups=(Group(conditions=(sequence,), negated=negated),)),
    sequences(latest=(1, 2, MAX_LATEST)),
    st.booleans(),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A rule, the rule of each segment that it names, and the world. `whole`: not only rows below a position."""

    rule: Rule
    inner: Rule
    world: World
    stale: Mapping[str, Mapping[str, Any]]
    at: datetime
    deleted: bool
    whole: bool


def cases(number: int, first: int = 7) -> list[Case]:
    """As many, always the same of a seed."""
    found: list[Case] = []

    @settings(
        max_examples=number,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        database=None,
    )
    @seed(first)
    @given(
        st.builds(
            Case,
            rule=rules() | OF_SEQUENCES,
            inner=rules(),
            world=worlds(),
            stale=st.dictionaries(st.sampled_from(USERS), STALE, max_size=3),
            at=NEAR | st.just(NOW),
            deleted=st.booleans(),
            whole=st.booleans(),
        )
    )
    def collect(case: Case) -> None:
        flat = parse_rule("ever(nothing)") if names(case.inner).segments else case.inner
        found.append(replace(case, inner=flat))

    collect()
    return found[:number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One case as each engine is asked."""

    case: Case
    duckdb: Question
    spark: PinnedQuestion


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """A lake with cases, DuckDB over its files, and a cluster over its tables. `remote`: of the cluster."""

    remote: str
    duckdb: SegmentQueries
    spark: SparkQueries
    asked: Sequence[Asked]
    store: IcebergVersionStore

    def differences(self, one: Asked) -> list[str]:
        """What the engines answer differently, or cannot answer."""
        try:
            return self._differences(one)
        except MusterError as exc:
            return [f"{rule_text(one.case.rule)!r}, with {rule_text(one.case.inner)!r} in its segments: {exc}"]

    def _differences(self, one: Asked) -> list[str]:
        at, found = one.case.at, []
        for what, ours, theirs in (
            ("counts", self.duckdb.breakdown(one.duckdb, at, SHOWN), self.spark.breakdown(one.spark, at, SHOWN)),
            ("types", self.duckdb.mistyped(one.duckdb), self.spark.mistyped(one.spark)),
            ("outside", self.duckdb.unknown_members(one.duckdb), self.spark.unknown_members(one.spark)),
            ("strangers", self.duckdb.strangers(one.duckdb), self.spark.strangers(one.spark)),
        ):
            if plain(ours) != plain(theirs):
                found.append(f"{what} of {rule_text(one.case.rule)!r}: DuckDB {plain(ours)}, Spark {plain(theirs)}")
        return found


def plain(value: object) -> object:
    """Comparable whatever the kind of its sequences."""
    return json.loads(json.dumps(value, default=lambda one: getattr(one, "__dict__", None) or _fields(one)))


def _fields(value: Any) -> object:
    return value.as_record() if hasattr(value, "as_record") else [getattr(value, n) for n in value.__slots__]


@contextmanager
def engines(folder: Path, given_: Sequence[Case]) -> Iterator[Engines]:
    """Both engines over the cases."""
    (folder / "weed").mkdir()
    catalog = folder / "catalog.db"
    url = f"sqlite:///{catalog}"
    with object_server(folder / "weed") as s3:
        store = IcebergVersionStore(catalog_url=url, s3=s3, bucket=BUCKET, limits=limits(folder))
        archive = ActivityArchive(catalog_url=url, s3=s3, bucket=BUCKET)
        ends = [_rows(case, number) for number, case in enumerate(given_)]
        bucket = Bucket(s3=s3, name=BUCKET)
        for topic in ACTIVITY_TOPICS:
            ranges = []
            for partition in map(Partition, range(P)):
                rows = [row for one in ends for row in one[topic] if place_of(row["user_id"]) == partition]
                for offset, row in enumerate(rows):
                    row["offset"] = offset
                ranges.append(bucket.write(0, len(rows), rows, topic=topic, partition=partition))
            archive.append(topic, ranges)
        asked = [_asked(case, number, ends[number], archive, store, Parts(s3)) for number, case in enumerate(given_)]
        with spark_connect(folder, s3, catalog) as remote:
            yield Engines(
                remote=remote,
                duckdb=SegmentQueries(s3, limits(folder)),
                spark=SparkQueries(remote, "muster"),
                asked=asked,
                store=store,
            )
        archive.close()
        store.close()


def _tenant(number: int) -> TenantName:
    return TenantName(f"t{number}")


def _rows(case: Case, number: int) -> dict[str, list[dict[str, Any]]]:
    common = {"tenant": _tenant(number), "received_at": NOW}
    profiles = profile_rows(case.world, case.stale, deleted=case.deleted)
    return {
        EVENTS: [{**row, **common} for row in event_rows(case.world)],
        PROFILES: [{**row, **common} for row in profiles],
    }


def _asked(
    case: Case,
    number: int,
    rows: Mapping[str, list[dict[str, Any]]],
    archive: ActivityArchive,
    store: IcebergVersionStore,
    parts: Parts,
) -> Asked:
    tenant = _tenant(number)
    files: dict[str, list[str]] = {}
    tables: dict[str, PinnedTable | None] = {}
    for name in sorted({*names(case.rule).audiences, *names(case.inner).audiences}):
        members = sorted(user for kind, other, user in case.world.members if (kind, other) == ("audience", name))
        files[name], tables[name] = [], None
        if members:
            ref = AudienceRef(tenant=tenant, audience=AudienceName(name), audience_id=new_id())
            store.publish(request(ref, parts.write(ref, new_id(), users("gone", *members)), "1"))
            store.publish(request(ref, parts.write(ref, new_id(), users(*members)), "2"))
            store.publish(request(ref, parts.write(ref, new_id(), users("later")), "3"))
            version, address = store.version(ref, Version(2)), store.address(ref)
            assert address is not None
            files[name] = [part.uri for part in store.files(ref, Version(2))]
            tables[name] = PinnedTable(name=address.name, snapshot=version.snapshot_id)
    below = {topic: None if case.whole else _middle(rows[topic]) for topic in ACTIVITY_TOPICS}
    activity = Activity(
        events=archive.files(EVENTS, tenant=tenant),
        profiles=archive.files(PROFILES, tenant=tenant),
        events_below=below[EVENTS],
        profiles_below=below[PROFILES],
    )
    pinned = PinnedActivity(
        tenant=tenant,
        snapshots={topic: archive.snapshot(topic) for topic in ACTIVITY_TOPICS},
        events_below=below[EVENTS],
        profiles_below=below[PROFILES],
    )
    segments = dict.fromkeys(names(case.rule).segments, case.inner)
    return Asked(
        case=case,
        duckdb=Question(rule=case.rule, activity=activity, segments=segments, audiences=files),
        spark=PinnedQuestion(rule=case.rule, activity=pinned, segments=segments, audiences=tables),
    )


def _middle(rows: Sequence[Mapping[str, Any]]) -> EndOffsets:
    """Ends of partitions behind which three of four rows of the tenant are."""
    ends = {}
    for partition in map(Partition, range(P)):
        offsets = [row["offset"] for row in rows if place_of(row["user_id"]) == partition]
        if offsets:
            ends[partition] = offsets[len(offsets) * 3 // 4]
    return EndOffsets(ends=ends)


def members_of(tables: Iterator[pa.Table]) -> list[str]:
    """The users in tables of user_id."""
    return sorted(user for table in tables for user in table.column("user_id").to_pylist())
