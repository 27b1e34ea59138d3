"""One suite for every `VersionStore`: in memory, and Iceberg on a real S3 server with SQLite or PostgreSQL."""

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from connectors.lake.store import IcebergVersionStore
from connectors.storage.access import S3Access
from schemas.columns import Column, RowSchema
from schemas.digest import Digest
from schemas.errors import FatalError, UserError
from schemas.ids import Attempt, AudienceName, Partition, Version
from segmentation.versions import (
    AlreadyPublished,
    AudienceRef,
    BaseMoved,
    Published,
    PublishRequest,
    SegmentRule,
    SupersededBy,
    VersionStore,
    emptied_columns,
)
from tests.fakes.version_store import InMemoryVersionStore
from tests.integration.lake.support import (
    AT,
    BUCKET,
    Parts,
    audience,
    counts,
    limits,
    new_id,
    object_server,
    request,
    users,
)

AGE = RowSchema(columns=(Column(name="age", type="long"),))


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Access]:
    with object_server(tmp_path_factory.mktemp("weed")) as access:
        yield access


@dataclasses.dataclass
class Bench:
    """A store and the parts published through it."""

    store: VersionStore
    parts: Parts

    def replace(self, ref: AudienceRef, order: str, *names: str, **changes: Any) -> PublishRequest:
        return request(ref, self.parts.write(ref, new_id(), users(*names)), order, **changes)

    def members(self, ref: AudienceRef, version: int | None = None) -> list[str]:
        """What a reader sees: every user id of the version's files, in file order."""
        if version is None:
            current = self.store.current(ref)
            assert current is not None
            version = current.version
        seen = []
        for part in self.store.files(ref, Version(version)):
            seen += self.parts.tables[part.uri].column("user_id").to_pylist()
        return sorted(seen)

    def values(self, ref: AudienceRef, version: int, column: str) -> list[Any]:
        """Values of a column in a version's files."""
        tables = [self.parts.tables[part.uri] for part in self.store.files(ref, Version(version))]
        return [value for table in tables for value in table.column(column).to_pylist()]


@pytest.fixture(
    params=[
        "memory",
        pytest.param("sqlite", marks=pytest.mark.integration),
        pytest.param("postgresql", marks=[pytest.mark.integration, pytest.mark.containers]),
    ]
)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "memory":
        parts = Parts()
        yield Bench(InMemoryVersionStore(parts.read), parts)
        return
    s3 = request.getfixturevalue("s3")
    local = f"sqlite:///{tmp_path / 'catalog.db'}"
    url = local if request.param == "sqlite" else request.getfixturevalue("postgres_url").reveal()
    store = IcebergVersionStore(catalog_url=url, s3=s3, bucket=BUCKET, limits=limits(tmp_path))
    yield Bench(store, Parts(s3))
    store.close()


def test_audience_table_has_an_address_after_its_first_version(bench: Bench) -> None:
    ref = audience()
    assert bench.store.address(ref) is None
    bench.store.publish(bench.replace(ref, "1", "ann"))
    first = bench.store.address(ref)
    assert first is not None
    assert first.name == f"{ref.tenant}.{ref.audience}"
    assert first.metadata.startswith(f"{first.location}/metadata/")
    bench.store.publish(bench.replace(ref, "2", "ann", "bob"))
    second = bench.store.address(bench.store.rename(ref, AudienceName("another")))
    assert second is not None
    assert (second.name, second.location) == (f"{ref.tenant}.another", first.location)
    assert second.metadata != first.metadata


def test_an_audience_exists_from_its_first_publish(bench: Bench) -> None:
    ref = audience()
    assert bench.store.current(ref) is None
    assert bench.store.versions(ref) == ()
    outcome = bench.store.publish(bench.replace(ref, "10", "ann", "bob", "cy"))
    assert isinstance(outcome, Published)
    assert (outcome.version, outcome.members) == (1, 3)
    assert bench.members(ref) == ["ann", "bob", "cy"]


@pytest.mark.parametrize("before", [(), ("ann", "gone")])
def test_parts_that_were_read_apart_make_the_same_version(bench: Bench, before: tuple[str, ...]) -> None:
    whole, apart = audience(), audience()
    for ref in (whole, apart) if before else ():
        bench.store.publish(bench.replace(ref, "1", *before))
    bench.store.publish(bench.replace(whole, "2", "ann", "bob", "cy", "dan"))
    made, reported = bench.replace(apart, "2", "ann", "bob", "cy", "dan"), list[int]()
    read = [bench.store.read_parts(made, {Partition(number)}) for number in range(made.partitions)]
    bench.store.publish(made, reported.append, read=[*read, read[0]])
    one, other = bench.store.current(whole), bench.store.current(apart)
    assert one is not None
    assert other is not None
    assert (one.counts, one.nulls, one.digest) == (other.counts, other.nulls, other.digest)
    assert reported == []


def test_only_parts_as_they_were_read_are_not_read_again(bench: Bench) -> None:
    ref = audience()
    made = bench.replace(ref, "1", "ann", "bob", "cy", "dan")
    read = [bench.store.read_parts(made, {Partition(number)}) for number in range(made.partitions)]
    wrong = dataclasses.replace(made.parts[0], rows=made.parts[0].rows + 1)
    with pytest.raises(FatalError) as error:
        bench.store.publish(dataclasses.replace(made, parts=(wrong, *made.parts[1:])), read=read)
    assert error.value.code == "PART_MISMATCH"
    assert bench.store.current(ref) is None


def test_publishing_reports_rows_read_again(bench: Bench) -> None:
    ref, reported = audience(), list[int]()
    request = bench.replace(ref, "10", "ann", "bob", "cy", "dan")
    bench.store.publish(request, reported.append)
    assert (len(reported), reported, reported[-1]) == (len(request.parts), sorted(reported), 4)
    assert isinstance(bench.store.publish(request, reported.append), AlreadyPublished)
    assert len(reported) == len(request.parts)  # known before any part is read


def test_version_records_its_source(bench: Bench) -> None:
    ref = audience()
    made = bench.replace(ref, "10", "ann", "bob")
    bench.store.publish(made)
    info = bench.store.version(ref, Version(1))
    assert info.import_id == made.import_id
    assert (info.mode, info.order_key, info.partitions, info.partitioner) == ("replace", "10", 2, "murmur2")
    assert (info.members, info.digest, info.counts) == (2, made.digest, counts(0, 2, 0, 0, None))
    assert info.published_at == AT


def test_a_replace_leaves_the_older_version_readable(bench: Bench) -> None:
    ref = audience()
    bench.store.publish(bench.replace(ref, "10", "ann", "bob"))
    bench.store.publish(bench.replace(ref, "20", "cy"))
    assert bench.members(ref, 1) == ["ann", "bob"]
    assert bench.members(ref, 2) == ["cy"]
    assert [v.version for v in bench.store.versions(ref)] == [1, 2]


def test_replace_and_rollback_count_changes_to_the_previous_version(bench: Bench) -> None:
    ref = audience()
    names = [f"user-{n:02}" for n in range(40)]
    ages = [{"user_id": name, "age": 30} for name in names]
    first = bench.parts.write(ref, new_id(), ages, AGE)
    bench.store.publish(request(ref, first, "10", row_schema=AGE))
    came = [{"user_id": f"new-{n}"} for n in range(5)]  # and 10 users go
    bench.store.publish(request(ref, bench.parts.write(ref, new_id(), ages[:30] + came, AGE), "20", row_schema=AGE))
    bench.store.compact(ref, operation_id=new_id(), at=AT, target_bytes=2**20)
    bench.store.rollback(ref, Version(1), operation_id=new_id(), order_key="30", at=AT)
    bench.store.publish(bench.replace(ref, "40", drop_columns=frozenset({"age"})))
    assert [version.counts for version in bench.store.versions(ref)] == [
        counts(0, 40, 0, 0, None),
        counts(40, 5, 10, 30, 1),
        counts(35, 0, 0, 35, 2),
        counts(35, 10, 5, 30, 3),
        counts(40, 0, 40, 0, 4),
    ]


def test_version_counts_changed_members_and_members_without_a_value(bench: Bench) -> None:
    ref, columns = audience(), RowSchema(columns=(Column(name="age", type="long"), Column(name="city")))
    first = [{"user_id": f"user-{n}", "age": n, "city": "Osaka" if n else None} for n in range(4)]
    then = [{**row, "age": 9 if number == 2 else row["age"], "city": None} for number, row in enumerate(first[1:])]
    for order, rows in (("10", first), ("20", then)):
        parts = bench.parts.write(ref, new_id(), rows, columns)
        bench.store.publish(request(ref, parts, order, row_schema=columns))
    bench.store.rollback(ref, Version(1), operation_id=new_id(), order_key="30", at=AT)
    found = bench.store.versions(ref)
    assert [v.counts for v in found] == [counts(0, 4, 0, 0, None), counts(4, 0, 1, 3, 1, 3), counts(3, 1, 0, 3, 2, 3)]
    assert [v.nulls for v in found] == [{"age": 0, "city": 1}, {"age": 0, "city": 3}, {"age": 0, "city": 1}]
    assert [emptied_columns(a, b.members, b.nulls) for a, b in pairwise(found)] == [["city"], []]


def test_files_keep_their_rows_bytes_digest_and_partition(bench: Bench) -> None:
    ref = audience()
    made = bench.replace(ref, "10", *(f"user-{n}" for n in range(20)))
    bench.store.publish(made)
    assert tuple(bench.store.files(ref, Version(1))) == made.parts


def test_publishing_the_same_import_twice_is_one_version(bench: Bench) -> None:
    ref = audience()
    made = bench.replace(ref, "10", "ann")
    first = bench.store.publish(made)
    second = bench.store.publish(dataclasses.replace(made, attempt=Attempt(2)))
    assert isinstance(first, Published)
    assert second == AlreadyPublished(
        version=first.version, snapshot_id=first.snapshot_id, members=1, digest=first.digest
    )
    assert len(bench.store.versions(ref)) == 1


def test_an_import_published_before_is_still_found_after_a_newer_one(bench: Bench) -> None:
    ref = audience()
    made = bench.replace(ref, "10", "ann")
    bench.store.publish(made)
    bench.store.publish(bench.replace(ref, "20", "bob"))
    assert isinstance(bench.store.publish(made), AlreadyPublished)


@pytest.mark.parametrize("late", ["10", "20"])
def test_a_replace_that_is_not_newer_is_superseded(bench: Bench, late: str) -> None:
    ref = audience()
    newer = bench.replace(ref, "20", "ann")
    bench.store.publish(newer)
    outcome = bench.store.publish(bench.replace(ref, late, "bob"))
    assert outcome == SupersededBy(import_id=newer.import_id, version=Version(1), order_key="20")
    assert bench.members(ref) == ["ann"]


def test_an_append_is_published_on_its_base_and_refused_on_another(bench: Bench) -> None:
    ref = audience()
    bench.store.publish(bench.replace(ref, "10", "ann"))
    append = bench.replace(
        ref, "20", "ann", "bob", mode="append", base_version=Version(1), counts=counts(1, 1, 0, 1, 1)
    )
    late = bench.replace(ref, "30", "ann", "cy", mode="append", base_version=Version(1), counts=counts(1, 1, 0, 1, 1))
    assert isinstance(bench.store.publish(append), Published)
    assert bench.store.publish(late) == BaseMoved(current_version=Version(2))
    assert bench.members(ref) == ["ann", "bob"]


def test_append_to_an_empty_audience_is_refused_once_a_version_exists(bench: Bench) -> None:
    ref = audience()
    append = bench.replace(ref, "20", "bob", mode="append", counts=counts(0, 1, 0, 0, None))
    bench.store.publish(bench.replace(ref, "10", "ann"))
    assert bench.store.publish(append) == BaseMoved(current_version=Version(1))


def test_an_older_append_does_not_lower_the_order(bench: Bench) -> None:
    ref = audience()
    bench.store.publish(bench.replace(ref, "20", "ann"))
    bench.store.publish(
        bench.replace(ref, "05", "ann", "bob", mode="append", base_version=Version(1), counts=counts(1, 1, 0, 1, 1))
    )
    assert isinstance(bench.store.publish(bench.replace(ref, "15", "cy")), SupersededBy)


def test_append_can_reuse_parts_of_its_base(bench: Bench) -> None:
    ref = audience()
    base = bench.replace(ref, "10", *(f"user-{n}" for n in range(6)))
    bench.store.publish(base)
    import_id = new_id()
    kept = base.parts[0]
    grown = bench.parts.write(ref, import_id, users(*(f"user-{n}" for n in range(12))))[1]
    assert kept.rows > 0
    assert grown.rows > base.parts[1].rows
    added = grown.rows - base.parts[1].rows
    outcome = bench.store.publish(
        request(
            ref,
            (kept, grown),
            "20",
            import_id=import_id,
            mode="append",
            base_version=Version(1),
            counts=counts(6, added, 0, 6, 1),
        )
    )
    assert isinstance(outcome, Published)
    assert outcome.members == 6 + added
    assert tuple(bench.store.files(ref, Version(2))) == (kept, grown)
    assert tuple(bench.store.files(ref, Version(1))) == base.parts


def test_an_empty_audience_can_be_published_and_filled_again(bench: Bench) -> None:
    ref = audience()
    for order, names in (("10", ()), ("20", ("ann",)), ("30", ()), ("40", ())):
        assert isinstance(bench.store.publish(bench.replace(ref, order, *names)), Published)
    assert [bench.members(ref, n) for n in (1, 2, 3, 4)] == [[], ["ann"], [], []]
    assert bench.store.files(ref, Version(3)) == []


def test_shrink_guard_reports_the_counts(bench: Bench) -> None:
    ref = audience()
    bench.store.publish(bench.replace(ref, "10", "ann", "bob", "cy", "dan"))
    with pytest.raises(UserError, match=r"from 4 to 1 members, 75\.0 % fewer; at most 50 % are allowed") as caught:
        bench.store.publish(bench.replace(ref, "20", "ann", max_shrink_percent=50.0))
    assert caught.value.code == "AUDIENCE_WOULD_SHRINK"
    assert caught.value.detail["members"] == 1
    assert bench.members(ref) == ["ann", "bob", "cy", "dan"]
    assert isinstance(bench.store.publish(bench.replace(ref, "30", "ann", "bob", max_shrink_percent=50.0)), Published)


def test_replace_adds_columns_and_drops_allowed_ones(bench: Bench) -> None:
    ref = audience()
    seen = RowSchema(columns=(Column(name="seen", type="timestamp"),))
    bench.store.publish(bench.replace(ref, "10", "ann"))
    with_age = bench.parts.write(ref, new_id(), [{"user_id": "ann", "age": 30}, {"user_id": "bob"}], AGE)
    bench.store.publish(request(ref, with_age, "20", row_schema=AGE))
    without = request(ref, bench.parts.write(ref, new_id(), users("cy"), seen), "30", row_schema=seen)
    with pytest.raises(UserError, match=r"would lose age \(long\).*--column age:long.*--drop-column age") as caught:
        bench.store.publish(without)
    assert (caught.value.code, caught.value.detail["lost"]) == ("COLUMNS_WOULD_CHANGE", ["age"])
    assert [v.version for v in bench.store.versions(ref)] == [1, 2]
    bench.store.publish(dataclasses.replace(without, drop_columns=frozenset({"age"})))
    assert [v.row_schema.names for v in bench.store.versions(ref)] == [
        ("user_id",),
        ("user_id", "age"),
        ("user_id", "seen"),
    ]


def test_column_is_retyped_only_on_request_and_restored_by_a_rollback(bench: Bench) -> None:
    ref = audience()
    text = RowSchema(columns=(Column(name="age", type="string"),))
    bench.store.publish(
        request(ref, bench.parts.write(ref, new_id(), [{"user_id": "ann", "age": 30}], AGE), "10", row_schema=AGE)
    )
    retyped = bench.parts.write(ref, new_id(), [{"user_id": "ann", "age": "old"}], text)
    with pytest.raises(UserError, match=r"age would change from long to string.*--retype age") as caught:
        bench.store.publish(request(ref, retyped, "20", row_schema=text))
    assert (caught.value.code, caught.value.detail["retyped"]) == ("COLUMNS_WOULD_CHANGE", ["age"])
    bench.store.publish(request(ref, retyped, "20", row_schema=text, retype_columns=frozenset({"age"})))
    bench.store.rollback(ref, Version(1), operation_id=new_id(), order_key="30", at=AT)
    bench.store.rollback(ref, Version(2), operation_id=new_id(), order_key="40", at=AT)
    assert [v.row_schema.columns[0].type for v in bench.store.versions(ref)] == ["long", "string", "long", "string"]
    assert [bench.values(ref, n, "age") for n in (1, 2, 3, 4)] == [[30], ["old"], [30], ["old"]]
    assert [v.counts and (v.counts.kept, v.counts.updated) for v in bench.store.versions(ref)][1:] == [(1, 1)] * 3


def test_dropped_column_returns_with_another_type_or_case_only_on_request(bench: Bench) -> None:
    ref = audience()
    bench.store.publish(request(ref, bench.parts.write(ref, new_id(), users("ann"), AGE), "10", row_schema=AGE))
    bench.store.publish(dataclasses.replace(bench.replace(ref, "20", "ann"), drop_columns=frozenset({"age"})))
    for order, column in (("30", Column(name="age", type="string")), ("40", Column(name="Age", type="long"))):
        other = RowSchema(columns=(column,))
        again = request(ref, bench.parts.write(ref, new_id(), users("ann"), other), order, row_schema=other)
        with pytest.raises(UserError, match="age as long") as caught:
            bench.store.publish(again)
        assert caught.value.code == "SCHEMA_MISMATCH"
    bench.store.publish(dataclasses.replace(again, retype_columns=frozenset({"Age"})))
    assert [v.row_schema.names[1:] for v in bench.store.versions(ref)] == [("age",), (), ("Age",)]


def _table(*names: str) -> pa.Table:
    return pa.table({"user_id": pa.array(names, pa.string())})


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("not sorted and distinct", ("u3", "u1")),
        ("not sorted and distinct", ("u1", "u1")),
        ("belong to other partitions", ("u1", "u2", "u3", "u4", "u5")),
    ],
)
def test_part_with_rows_of_another_partition_is_refused(bench: Bench, fault: str, names: tuple[str, ...]) -> None:
    ref, import_id = audience(), new_id()
    part = bench.parts.put(ref, import_id, _table(*names), RowSchema(), 1)
    with pytest.raises(FatalError, match=fault) as caught:
        bench.store.publish(request(ref, (part,), "10"))
    assert caught.value.code == "PART_MISMATCH"
    assert (caught.value.detail["part"], caught.value.detail["partition"]) == (part.uri, 1)
    assert bench.store.current(ref) is None


@pytest.mark.parametrize("fault", ["digest", "rows"])
def test_a_part_with_other_rows_than_announced_is_refused(bench: Bench, fault: str) -> None:
    ref = audience()
    made = bench.replace(ref, "10", "ann", "bob", "cy", "dan")
    part = made.parts[1]
    wrong = (
        dataclasses.replace(part, rows=part.rows + 1)
        if fault == "rows"
        else dataclasses.replace(part, digest=part.digest + Digest(schema_id=part.digest.schema_id, sum1=1))
    )
    with pytest.raises(FatalError, match=f"{fault}.* announced") as caught:
        bench.store.publish(dataclasses.replace(made, parts=(made.parts[0], wrong)))
    assert caught.value.code == "PART_MISMATCH"
    assert bench.store.current(ref) is None


def test_inconsistent_counts_are_refused(bench: Bench) -> None:
    ref = audience()
    for mode, wrong, fault in (
        ("append", counts(0, 3, 0, 0, None), "members 3, but the parts have 2"),
        ("append", None, "append of .* came without counts"),
        ("append", counts(0, -1, 0, 3, None), "a count is negative"),
        ("append", counts(5, 2, 0, 0, None), "removed 0 .* kept 0 does not equal base 5"),
        (
            "append",
            dataclasses.replace(counts(0, 1, 0, 0, None), members=2),
            "added 1 .* kept 0 does not equal members 2",
        ),
        ("append", counts(0, 2, 0, 0, 3), "counted against version 3, but built on None"),
        ("append", counts(1, 2, 1, 0, None), "an append removed 1"),
        ("remove", counts(0, 2, 0, 0, None), "a remove added 2"),
        ("replace", counts(0, 3, 0, 0, None), "members 3, but the parts have 2"),
    ):
        with pytest.raises(FatalError, match=fault) as caught:
            bench.store.publish(bench.replace(ref, "10", "ann", "bob", mode=mode, counts=wrong))
        assert caught.value.code == "COUNTS_MISMATCH"


def test_duplicate_parts_of_a_partition_are_refused(bench: Bench) -> None:
    ref = audience()
    made = bench.replace(ref, "10", "ann")
    for others, fault in (
        (bench.replace(ref, "10", "bob").parts, "one part per partition"),
        (made.parts, "is listed twice"),
    ):
        with pytest.raises(FatalError, match=fault):
            bench.store.publish(dataclasses.replace(made, parts=(made.parts[0], *others)))


def test_a_rollback_is_a_new_version_of_the_old_files(bench: Bench) -> None:
    ref = audience()
    first = bench.replace(ref, "10", "ann", "bob")
    bench.store.publish(first)
    bench.store.publish(bench.replace(ref, "20", "cy"))
    outcome = bench.store.rollback(ref, Version(1), operation_id=new_id(), order_key="30", at=AT, reason="bad file")
    assert isinstance(outcome, Published)
    assert (outcome.version, outcome.members, outcome.digest) == (3, 2, first.digest)
    assert bench.members(ref) == ["ann", "bob"]
    assert bench.members(ref, 2) == ["cy"]
    info = bench.store.version(ref, Version(3))
    assert (info.mode, info.source_version, info.reason) == ("rollback", 1, "bad file")


def test_rule_of_a_snapshot_stays_with_exactly_its_members(bench: Bench) -> None:
    ref = audience()
    rule = SegmentRule(segment=AudienceName("buyers"), rule_version=2, rule_hash="ab" * 32, as_of=AT)
    bench.store.publish(bench.replace(ref, "10", "ann", "bob", rule=rule))
    bench.store.publish(bench.replace(ref, "20", "cy"))
    bench.store.rollback(ref, Version(1), operation_id=new_id(), order_key="30", at=AT)
    assert [info.rule for info in bench.store.versions(ref)] == [rule, None, rule]


def test_a_rollback_twice_is_one_version(bench: Bench) -> None:
    ref, operation = audience(), new_id()
    bench.store.publish(bench.replace(ref, "10", "ann"))
    bench.store.publish(bench.replace(ref, "20", "bob"))
    bench.store.rollback(ref, Version(1), operation_id=operation, order_key="30", at=AT)
    again = bench.store.rollback(ref, Version(1), operation_id=operation, order_key="30", at=AT)
    assert isinstance(again, AlreadyPublished)
    assert len(bench.store.versions(ref)) == 3


def test_late_writer_does_not_undo_a_rollback(bench: Bench) -> None:
    ref = audience()
    bench.store.publish(bench.replace(ref, "10", "ann"))
    bench.store.publish(bench.replace(ref, "20", "bob"))
    slept = bench.replace(ref, "25", "cy")
    slept_append = bench.replace(
        ref, "26", "bob", "dan", mode="append", base_version=Version(2), counts=counts(1, 1, 0, 1, 2)
    )
    bench.store.rollback(ref, Version(1), operation_id=new_id(), order_key="30", at=AT)
    assert isinstance(bench.store.publish(slept), SupersededBy)
    assert bench.store.publish(slept_append) == BaseMoved(current_version=Version(3))
    assert bench.members(ref) == ["ann"]
    assert isinstance(bench.store.publish(bench.replace(ref, "40", "eve")), Published)


def test_rollback_from_an_outdated_version_is_refused(bench: Bench) -> None:
    ref = audience()
    for order in ("10", "20", "30"):
        bench.store.publish(bench.replace(ref, order, f"user-{order}"))
    outcome = bench.store.rollback(
        ref, Version(1), operation_id=new_id(), order_key="40", at=AT, expected_current=Version(2)
    )
    assert outcome == BaseMoved(current_version=Version(3))


@pytest.mark.parametrize("published", [0, 1])
def test_unknown_version_is_a_user_error(bench: Bench, published: int) -> None:
    ref = audience()
    for n in range(published):
        bench.store.publish(bench.replace(ref, str(n), "ann"))
    for call in (
        lambda: bench.store.version(ref, Version(7)),
        lambda: bench.store.files(ref, Version(7)),
        lambda: bench.store.rollback(ref, Version(7), operation_id=new_id(), order_key="9", at=AT),
    ):
        with pytest.raises(UserError) as caught:
            call()
        assert caught.value.code == "NO_SUCH_VERSION"


def test_expiry_keeps_last_young_and_pinned_versions(bench: Bench) -> None:
    ref = audience()
    for n in range(1, 7):
        bench.store.publish(bench.replace(ref, f"{n}0", f"user-{n}", published_at=AT + timedelta(days=n)))
    expired = bench.store.expire(
        ref,
        keep_last=1,
        keep_younger_than=timedelta(days=3),
        now=AT + timedelta(days=7),
        pins={Version(2)},
    )
    assert expired.versions == (1, 3, 4)
    assert [v.version for v in bench.store.versions(ref)] == [2, 5, 6]
    assert bench.members(ref, 2) == ["user-2"]


def test_store_records_the_progress_of_expiry(bench: Bench) -> None:
    ref = audience()
    assert bench.store.expired_through(ref) == 0
    for n in range(1, 5):
        bench.store.publish(bench.replace(ref, f"{n}0", f"user-{n}"))
    bench.store.expire(
        ref, keep_last=1, keep_younger_than=timedelta(0), now=AT + timedelta(days=9), pins={Version(1), Version(3)}
    )
    assert bench.store.expired_through(ref) == 2
    bench.store.publish(bench.replace(ref, "50", "user-5"))
    assert bench.store.expired_through(ref) == 2
    bench.store.expire(ref, keep_last=2, keep_younger_than=timedelta(0), now=AT + timedelta(days=9))
    assert bench.store.expired_through(ref) == 3
    assert [v.version for v in bench.store.versions(ref)] == [4, 5]


def test_held_version_survives_expiry_until_released(bench: Bench) -> None:
    ref, first, second = audience(), new_id(), new_id()
    for order in ("1", "2", "3"):
        bench.store.publish(bench.replace(ref, order, f"user-{order}"))

    def expire() -> tuple[int, ...]:
        now = AT + timedelta(days=9)
        gone = bench.store.expire(ref, keep_last=1, keep_younger_than=timedelta(0), now=now, grace=timedelta(0))
        return gone.versions

    for leaseholder in (first, second, second):
        bench.store.lease(ref, Version(1), leaseholder)
    bench.store.lease(ref, Version(2), first)
    assert expire() == ()
    assert bench.store.leaseholders(ref) == {first, second}
    bench.store.release(ref, first)
    info, files = bench.store.leased(ref, Version(1), second)
    assert (info.version, files) == (1, bench.store.files(ref, Version(1)))
    assert expire() == (2,)
    assert bench.members(ref, 1) == ["user-1"]
    with pytest.raises(FatalError, match="NOT_HELD"):
        bench.store.leased(ref, Version(1), first)
    bench.store.release(ref, second)
    bench.store.release(ref, second)
    assert bench.store.leaseholders(ref) == set()
    assert expire() == (1,)
    with pytest.raises(UserError, match="NO_SUCH_VERSION"):
        bench.store.lease(ref, Version(1), first)


def test_held_version_of_a_deleted_audience_is_a_user_error(bench: Bench) -> None:
    ref, leaseholder = audience(), new_id()
    bench.store.publish(bench.replace(ref, "1", "a"))
    bench.store.lease(ref, Version(1), leaseholder)
    bench.store.drop(ref)
    with pytest.raises(UserError, match="AUDIENCE_DELETED"):
        bench.store.leased(ref, Version(1), leaseholder)
    bench.store.release(ref, leaseholder)


def test_the_current_version_never_expires(bench: Bench) -> None:
    ref = audience()
    bench.store.publish(bench.replace(ref, "10", "ann"))
    expired = bench.store.expire(ref, keep_last=0, keep_younger_than=timedelta(0), now=AT + timedelta(days=900))
    assert expired.versions == ()
    assert bench.members(ref) == ["ann"]


def test_numbers_and_order_survive_expiry(bench: Bench) -> None:
    ref = audience()
    for order in ("10", "20", "30"):
        bench.store.publish(bench.replace(ref, order, f"user-{order}"))
    bench.store.expire(ref, keep_last=1, keep_younger_than=timedelta(0), now=AT + timedelta(days=9))
    assert isinstance(bench.store.publish(bench.replace(ref, "25", "late")), SupersededBy)
    outcome = bench.store.publish(bench.replace(ref, "40", "eve"))
    assert isinstance(outcome, Published)
    assert outcome.version == 4


def test_a_renamed_audience_is_found_by_its_old_reference_too(bench: Bench) -> None:
    ref = audience()
    bench.store.publish(bench.replace(ref, "10", "ann"))
    renamed = bench.store.rename(ref, AudienceName(f"{ref.audience}-new"))
    assert renamed.audience == f"{ref.audience}-new"
    assert bench.members(renamed) == ["ann"]
    outcome = bench.store.publish(bench.replace(ref, "20", "bob"))
    assert isinstance(outcome, Published)
    assert outcome.version == 2
    assert bench.members(renamed) == ["bob"]


def test_taken_name_is_refused(bench: Bench) -> None:
    one, two = audience(), audience()
    for ref in (one, two):
        bench.store.publish(bench.replace(ref, "10", "ann"))
    with pytest.raises(UserError, match="choose another name") as caught:
        bench.store.rename(one, two.audience)
    assert caught.value.code == "AUDIENCE_NAME_TAKEN"


def test_compaction_is_a_new_version_with_fewer_files(bench: Bench) -> None:
    ref, operation = audience(), new_id()
    made = bench.replace(ref, "20", *(f"user-{n}" for n in range(20)))
    bench.store.publish(made)
    outcome = bench.store.compact(ref, operation_id=operation, at=AT, target_bytes=2**20)
    assert isinstance(outcome, Published)
    assert (outcome.version, outcome.members, outcome.digest) == (2, 20, made.digest)
    info = bench.store.version(ref, Version(2))
    assert (info.mode, info.source_version, info.partitions) == ("compact", 1, 0)
    files = bench.store.files(ref, Version(2))
    assert sum(part.rows for part in files) == 20
    assert {part.partition for part in files} == {None}
    assert isinstance(bench.store.compact(ref, operation_id=operation, at=AT, target_bytes=2**20), AlreadyPublished)
    assert bench.members(ref, 1) == sorted(f"user-{n}" for n in range(20))


def test_a_compaction_does_not_change_the_order_of_imports(bench: Bench) -> None:
    ref = audience()
    bench.store.publish(bench.replace(ref, "20", *(f"user-{n}" for n in range(20))))
    bench.store.compact(ref, operation_id=new_id(), at=AT, target_bytes=2**20)
    assert isinstance(bench.store.publish(bench.replace(ref, "15", "late")), SupersededBy)
    assert isinstance(bench.store.publish(bench.replace(ref, "25", "ann")), Published)


def test_a_dropped_audience_is_gone_and_cannot_come_back_through_a_late_publish(bench: Bench) -> None:
    ref = audience()
    bench.store.publish(bench.replace(ref, "10", "ann"))
    late = bench.replace(ref, "20", "bob")
    bench.store.drop(ref)
    assert bench.store.current(ref) is None
    late = request(ref, bench.parts.write(ref, late.import_id, users("bob")), "20")
    with pytest.raises(UserError) as caught:
        bench.store.publish(late)
    assert caught.value.code == "AUDIENCE_DELETED"
    bench.store.drop(ref)
