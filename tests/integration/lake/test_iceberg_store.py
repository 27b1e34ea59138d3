"""Behaviour of the Iceberg adapter alone: unknown outcomes, races of maintenance, files, and other engines' view."""

import io
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pytest
import sqlalchemy.exc
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import ManifestFile
from pyiceberg.table.update.snapshot import _OverwriteFiles

from connectors.lake.audience_sql import rows_sql
from connectors.lake.overwriting import Overwrite
from connectors.lake.store import IcebergVersionStore
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits, connect, extension_path
from connectors.storage.listing import list_objects
from schemas.columns import Column, RowSchema
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import Attempt, Version
from schemas.layout import audience_prefix
from segmentation.versions import (
    AlreadyPublished,
    AudienceRef,
    BaseMoved,
    Published,
    PublishRequest,
    SupersededBy,
)
from tests.integration.lake.crashes import members_of
from tests.integration.lake.support import AT, BUCKET, Parts, audience, counts, limits, new_id, request, users

AGE = RowSchema(columns=(Column(name="age", type="long"),))
LATER = datetime.now(UTC) + timedelta(days=30)  # object ages follow the server's clock, so "now" must be later


def _replace(s3: S3Access, ref: AudienceRef, order: str, *names: str, **changes: Any) -> PublishRequest:
    return request(ref, Parts(s3).write(ref, new_id(), users(*names)), order, **changes)


def _listed(store: IcebergVersionStore, ref: AudienceRef) -> list[ManifestFile]:
    """The manifests of the newest version."""
    table = store._tables.find(ref)
    snapshot = None if table is None else table.current_snapshot()
    assert table is not None
    assert snapshot is not None
    return snapshot.manifests(table.io)


def _keys(s3: S3Access, ref: AudienceRef, below: str = "") -> set[str]:
    return {o.key for o in list_objects(s3.client(), BUCKET, audience_prefix(ref.tenant, ref.audience_id) + below)}


def _after_first_commit(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None], *, before: bool) -> None:
    """Run something right before or after the next commit reaches the catalog."""
    commit = SqlCatalog.commit_table
    todo = [act]

    def patched(self: SqlCatalog, *args: Any) -> Any:
        mine = todo.pop() if todo else None
        if mine and before:
            mine()
        answer = commit(self, *args)
        if mine and not before:
            mine()
        return answer

    monkeypatch.setattr(SqlCatalog, "commit_table", patched)


def _lose_connection() -> None:
    raise sqlalchemy.exc.OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))


@pytest.mark.parametrize("carried_over", [False, True])
def test_files_removed_by_earlier_versions_are_not_listed(
    s3: S3Access, store: IcebergVersionStore, monkeypatch: pytest.MonkeyPatch, *, carried_over: bool
) -> None:
    """Also in a table whose manifests pyiceberg has carried over, as releases before did."""
    ref = audience()
    with monkeypatch.context() as patched:
        if carried_over:
            patched.setattr(Overwrite, "_process_manifests", _OverwriteFiles._process_manifests)
        for order in "1234":
            store.publish(_replace(s3, ref, order, f"user-{order}"))
    assert len(_listed(store, ref)) == (4 if carried_over else 2)
    store.publish(_replace(s3, ref, "5", "ann", "bob"))
    assert [(m.has_added_files(), m.deleted_files_count) for m in _listed(store, ref)] == [(True, 0), (False, 1)]
    assert [sum(part.rows for part in store.files(ref, v.version)) for v in store.versions(ref)] == [1, 1, 1, 1, 2]
    assert sorted(members_of(store, s3, ref, Version(5))) == ["ann", "bob"]


def test_commit_with_a_lost_answer_is_found(
    s3: S3Access, store: IcebergVersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = audience()
    store.publish(_replace(s3, ref, "1", "old"))
    _after_first_commit(monkeypatch, _lose_connection, before=False)
    outcome = store.publish(_replace(s3, ref, "2", "ann"))
    assert isinstance(outcome, AlreadyPublished)
    assert outcome.version == 2
    assert [v.version for v in store.versions(ref)] == [1, 2]


def test_commit_that_missed_the_catalog_is_repeated(
    s3: S3Access, store: IcebergVersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = audience()
    store.publish(_replace(s3, ref, "1", "old"))
    _after_first_commit(monkeypatch, _lose_connection, before=True)
    outcome = store.publish(_replace(s3, ref, "2", "ann"))
    assert isinstance(outcome, Published)
    assert [v.version for v in store.versions(ref)] == [1, 2]
    assert members_of(store, s3, ref, outcome.version) == ["ann"]


def test_lasting_catalog_outage_is_a_retriable_error(
    s3: S3Access, catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    store = IcebergVersionStore(
        catalog_url=catalog_url, s3=s3, bucket=BUCKET, limits=limits(tmp_path), sleep=waits.append
    )
    ref = audience()
    store.publish(_replace(s3, ref, "1", "old"))
    monkeypatch.setattr(SqlCatalog, "commit_table", lambda *_: _lose_connection())
    with pytest.raises(RetriableError) as caught:
        store.publish(_replace(s3, ref, "2", "ann"))
    assert caught.value.code == "CATALOG_UNAVAILABLE"
    assert len(waits) == 19
    assert max(waits) <= 2
    store.close()


@pytest.mark.parametrize(("mine", "theirs"), [("2", "3"), ("3", "2")])
def test_replace_that_loses_a_race_checks_the_order_again(
    s3: S3Access,
    store: IcebergVersionStore,
    catalog_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mine: str,
    theirs: str,
) -> None:
    ref = audience()
    store.publish(_replace(s3, ref, "1", "old"))
    other = IcebergVersionStore(catalog_url=catalog_url, s3=s3, bucket=BUCKET, limits=limits(tmp_path))
    _after_first_commit(monkeypatch, lambda: _ok(other.publish(_replace(s3, ref, theirs, "theirs"))), before=True)
    outcome = store.publish(_replace(s3, ref, mine, "mine"))
    assert isinstance(outcome, Published if mine > theirs else SupersededBy)
    current = store.current(ref)
    assert current is not None
    assert members_of(store, s3, ref, current.version) == ["mine" if mine > theirs else "theirs"]
    assert current.counts == counts(1, 1, 1, 0, 2 if mine > theirs else 1)  # relative to the version that it follows
    other.close()


def test_counting_beyond_the_limits_does_not_stop_a_version(
    s3: S3Access, catalog_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ref, names = audience(), [f"user-{n}" for n in range(5_000)]
    small = DuckLimits(memory_bytes=2**20, threads=1, temp_directory=tmp_path / "duckdb", temp_bytes=0)
    with closing(IcebergVersionStore(catalog_url=catalog_url, s3=s3, bucket=BUCKET, limits=small)) as store:
        store.publish(_replace(s3, ref, "1", *names))
        assert isinstance(store.publish(_replace(s3, ref, "2", *names)), Published)
        assert [version.counts for version in store.versions(ref)] == [counts(0, 5_000, 0, 0, None), None]
    assert "version 2 of vip" in caplog.text
    assert "without counts" in caplog.text


def test_concurrent_attempts_of_one_import_make_one_version(
    s3: S3Access, store: IcebergVersionStore, catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = audience()
    store.publish(_replace(s3, ref, "1", "old"))
    made = _replace(s3, ref, "2", "ann")
    other = IcebergVersionStore(catalog_url=catalog_url, s3=s3, bucket=BUCKET, limits=limits(tmp_path))
    _after_first_commit(monkeypatch, lambda: _ok(other.publish(replace(made, attempt=Attempt(2)))), before=True)
    outcome = store.publish(made)
    assert isinstance(outcome, AlreadyPublished)
    assert [(v.version, v.attempt) for v in store.versions(ref)] == [(1, 1), (2, 2)]
    other.close()


def test_threads_sharing_a_store_publish_one_version_each(s3: S3Access, store: IcebergVersionStore) -> None:
    made = [_replace(s3, audience(), "1", f"user-{n}") for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(store.publish, made))
    assert [(type(o), getattr(o, "version", None)) for o in outcomes] == [(Published, 1)] * 6


def test_append_that_loses_a_race_is_refused(
    s3: S3Access, store: IcebergVersionStore, catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = audience()
    store.publish(_replace(s3, ref, "1", "old"))
    other = IcebergVersionStore(catalog_url=catalog_url, s3=s3, bucket=BUCKET, limits=limits(tmp_path))
    _after_first_commit(monkeypatch, lambda: _ok(other.publish(_replace(s3, ref, "2", "theirs"))), before=True)
    append = _replace(s3, ref, "3", "old", "mine", mode="append", base_version=Version(1), counts=counts(1, 1, 0, 1, 1))
    assert store.publish(append) == BaseMoved(current_version=Version(2))
    other.close()


def _ok(outcome: object) -> None:
    assert isinstance(outcome, Published)


def test_an_expiry_during_a_rollback_never_takes_its_files(
    s3: S3Access, store: IcebergVersionStore, catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = audience()
    for order in ("1", "2", "3"):
        store.publish(_replace(s3, ref, order, f"user-{order}"))
    other = IcebergVersionStore(catalog_url=catalog_url, s3=s3, bucket=BUCKET, limits=limits(tmp_path))

    def expire() -> None:
        gone = other.expire(ref, keep_last=2, keep_younger_than=timedelta(0), now=LATER, grace=timedelta(0))
        assert gone.versions == (1,)

    _after_first_commit(monkeypatch, expire, before=True)
    with pytest.raises(UserError) as caught:
        store.rollback(ref, Version(1), operation_id=new_id(), order_key="4", at=AT)
    assert caught.value.code == "NO_SUCH_VERSION"
    assert [v.version for v in store.versions(ref)] == [2, 3]
    assert members_of(store, s3, ref, 3) == ["user-3"]
    other.close()


@pytest.mark.parametrize("hold_first", [True, False])
def test_an_expiry_during_a_hold_never_takes_its_files(
    s3: S3Access, store: IcebergVersionStore, monkeypatch: pytest.MonkeyPatch, *, hold_first: bool
) -> None:
    """The loser has looked before the winner's commit, and commits after it."""
    ref, leaseholder = audience(), new_id()
    for order in ("1", "2"):
        store.publish(_replace(s3, ref, order, f"user-{order}"))

    def lease() -> None:
        store.lease(ref, Version(1), leaseholder)

    def expire() -> None:
        store.expire(ref, keep_last=1, keep_younger_than=timedelta(0), now=LATER, grace=timedelta(0))

    if hold_first:
        _after_first_commit(monkeypatch, lease, before=True)
        expire()
        info, files = store.leased(ref, Version(1), leaseholder)
        assert (info.members, {part.uri.partition(f"{BUCKET}/")[2] for part in files} - _keys(s3, ref)) == (1, set())
    else:
        _after_first_commit(monkeypatch, expire, before=True)
        with pytest.raises(UserError, match="NO_SUCH_VERSION"):
            lease()


def test_hold_and_release_with_lost_answers_took_effect(
    s3: S3Access, store: IcebergVersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref, leaseholder = audience(), new_id()
    store.publish(_replace(s3, ref, "1", "ann"))
    _after_first_commit(monkeypatch, _lose_connection, before=False)
    store.lease(ref, Version(1), leaseholder)
    assert store.leaseholders(ref) == {leaseholder}
    _after_first_commit(monkeypatch, _lose_connection, before=False)
    store.release(ref, leaseholder)
    assert store.leaseholders(ref) == set()


def test_expiry_with_a_lost_answer_reports_expired_versions(
    s3: S3Access, store: IcebergVersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = audience()
    for order in ("1", "2"):
        store.publish(_replace(s3, ref, order, f"user-{order}"))
    _after_first_commit(monkeypatch, _lose_connection, before=False)
    expired = store.expire(ref, keep_last=1, keep_younger_than=timedelta(0), now=LATER, grace=timedelta(0))
    assert expired.versions == (1,)
    assert [v.version for v in store.versions(ref)] == [2]


def test_overtaken_expiry_continues(s3: S3Access, store: IcebergVersionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other expiry removes the snapshots that this one has just found to be untagged."""
    ref = audience()
    for order in ("1", "2"):
        store.publish(_replace(s3, ref, order, f"user-{order}"))

    def expire() -> tuple[Version, ...]:
        return store.expire(ref, keep_last=1, keep_younger_than=timedelta(0), now=LATER, grace=timedelta(0)).versions

    _after_first_commit(
        monkeypatch, lambda: _after_first_commit(monkeypatch, lambda: _none(expire()), before=True), before=False
    )
    assert expire() == (1,)
    assert members_of(store, s3, ref, 2) == ["user-2"]


def _none(versions: tuple[Version, ...]) -> None:
    assert versions == ()


def test_expiry_deletes_only_files_of_expired_versions(s3: S3Access, store: IcebergVersionStore) -> None:
    ref = audience()
    made = [_replace(s3, ref, str(n), f"user-{n}") for n in range(1, 5)]
    for each in made:
        store.publish(each)
    store.rollback(ref, Version(2), operation_id=new_id(), order_key="9", at=AT)
    expired = store.expire(
        ref, keep_last=1, keep_younger_than=timedelta(0), now=LATER, pins={Version(3)}, grace=timedelta(0)
    )
    assert expired.versions == (1, 2, 4)
    kept = {p.uri.removeprefix(f"s3://{BUCKET}/") for n in (1, 2) for p in made[n].parts if p.rows}
    assert _keys(s3, ref, "data/") == kept
    assert members_of(store, s3, ref, 5) == ["user-2"]
    assert members_of(store, s3, ref, 3) == ["user-3"]
    assert expired.files > 0
    assert expired.bytes > 0


def test_unreferenced_metadata_is_removed_and_the_table_still_works(s3: S3Access, store: IcebergVersionStore) -> None:
    ref = audience()
    for n in range(1, 9):
        store.publish(_replace(s3, ref, str(n), f"user-{n}"))
    before = len(_keys(s3, ref, "metadata/"))
    store.expire(ref, keep_last=1, keep_younger_than=timedelta(0), now=LATER, grace=timedelta(0))
    assert len(_keys(s3, ref, "metadata/")) < before
    store.publish(_replace(s3, ref, "9", "user-9"))
    assert members_of(store, s3, ref, 9) == ["user-9"]


def _manifests(s3: S3Access, ref: AudienceRef) -> dict[str, bytes]:
    keys = [key for key in _keys(s3, ref, "metadata/") if key.endswith(".avro") and "/snap-" not in key]
    return {key: s3.client().get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def _bounds(manifests: Mapping[str, bytes]) -> set[bytes]:
    """Ids that occur in the manifests."""
    entries: list[Any] = [entry for content in manifests.values() for entry in fastavro.reader(io.BytesIO(content))]
    named = [entry["data_file"][name] or () for entry in entries for name in ("lower_bounds", "upper_bounds")]
    return {bound["value"] for bounds in named for bound in bounds}


def test_manifests_contain_no_ids_as_bounds(s3: S3Access, store: IcebergVersionStore) -> None:
    ref = audience()
    for order, names in enumerate((("ann", "bob"), ("bob", "cid"), ("cid", "dan"))):
        store.publish(_replace(s3, ref, str(order), *names))
    assert len(manifests := _manifests(s3, ref)) >= 3
    assert _bounds(manifests) == set()


def test_ids_are_removed_from_manifests_of_earlier_releases(
    s3: S3Access, store: IcebergVersionStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ref = audience()
    with monkeypatch.context() as earlier:
        earlier.setattr("connectors.lake.tables.COUNTS", {})
        earlier.setattr("connectors.lake.tables.WITHOUT_BOUNDS", {})
        earlier.setattr("connectors.lake.commit.COUNTS", {})
        base = store.publish(_replace(s3, ref, "1", "ann", "bob"))
        assert isinstance(base, Published)
        added = counts(base=2, added=1, removed=0, kept=2, base_version=1)
        parts = Parts(s3).write(ref, new_id(), users("ann", "bob", "zoe"))
        store.publish(request(ref, parts, "2", mode="append", counts=added, base_version=Version(1)))
        store.publish(_replace(s3, ref, "3", *(f"user-{n:04}" for n in range(500))))
    before = _manifests(s3, ref)
    assert {b"ann", b"zoe", b"user-0000"} <= _bounds(before)
    store.publish(_replace(s3, ref, "4", "eve"))
    assert b"eve" not in _bounds(_manifests(s3, ref))

    def expire() -> str:
        store.expire(ref, keep_last=10, keep_younger_than=timedelta(days=30), now=datetime.now(UTC))
        table = store._tables.find(ref)
        assert table is not None
        return table.metadata_location

    expire()
    after = _manifests(s3, ref)
    assert _bounds(after) == set()
    assert {key: len(after[key]) for key in before} == {key: len(content) for key, content in before.items()}
    assert [key for key in _keys(s3, ref) if key.endswith(".stripped")] == []
    assert [members_of(store, s3, ref, Version(n)) for n in (1, 2, 4)] == [
        ["ann", "bob"],
        ["ann", "bob", "zoe"],
        ["eve"],
    ]
    marked = expire()
    assert expire() == marked, "once nothing is found, nothing is looked for"
    with connect(limits(tmp_path), s3) as connection:
        for name in ("avro", "iceberg"):
            connection.execute(f"LOAD '{extension_path(name)}'")
        for version, rows in ((1, 2), (2, 3), (3, 500), (4, 1)):
            snapshot = store.version(ref, Version(version)).snapshot_id
            scan = f"select count(*) from iceberg_scan('{marked}', snapshot_from_id = {snapshot})"
            assert connection.execute(scan).fetchall() == [(rows,)]


def test_files_of_a_young_or_live_publish_survive_expiry(s3: S3Access, store: IcebergVersionStore) -> None:
    ref = audience()
    store.publish(_replace(s3, ref, "1", "ann"))
    unfinished = _replace(s3, ref, "2", "bob")
    store.expire(ref, keep_last=1, keep_younger_than=timedelta(0), now=LATER, grace=timedelta(days=60))
    store.expire(
        ref,
        keep_last=1,
        keep_younger_than=timedelta(0),
        now=LATER,
        grace=timedelta(0),
        live_imports={unfinished.import_id},
    )
    assert isinstance(store.publish(unfinished), Published)
    forgotten = _replace(s3, ref, "3", "cy")
    store.expire(ref, keep_last=9, keep_younger_than=timedelta(0), now=LATER, grace=timedelta(0))
    with pytest.raises(FatalError) as caught:
        store.publish(forgotten)
    assert caught.value.code == "LAKE_FILE_MISSING"


def test_drop_deletes_every_object_except_its_tombstone(s3: S3Access, store: IcebergVersionStore) -> None:
    ref = audience()
    store.publish(_replace(s3, ref, "1", "ann"))
    store.drop(ref)
    assert _keys(s3, ref) == {audience_prefix(ref.tenant, ref.audience_id) + "dropped"}


def test_first_publish_racing_a_drop_leaves_no_table_or_name(
    s3: S3Access, store: IcebergVersionStore, catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = audience()
    other = IcebergVersionStore(catalog_url=catalog_url, s3=s3, bucket=BUCKET, limits=limits(tmp_path))
    _after_first_commit(monkeypatch, lambda: other.drop(ref), before=True)
    with pytest.raises(UserError) as caught:
        store.publish(_replace(s3, ref, "1", "ann"))
    assert caught.value.code == "AUDIENCE_DELETED"
    successor = replace(ref, audience_id=new_id())
    assert isinstance(store.publish(_replace(s3, successor, "1", "bob")), Published)
    other.close()


def test_non_parquet_part_is_named(s3: S3Access, store: IcebergVersionStore) -> None:
    ref = audience()
    made = _replace(s3, ref, "1", "ann", "bob", "cy", "dan")
    part = made.parts[1]
    s3.client().put_object(Bucket=BUCKET, Key=part.uri.removeprefix(f"s3://{BUCKET}/"), Body=b"PAR1 not really PAR1")
    with pytest.raises(FatalError, match="p00001") as caught:
        store.publish(made)
    assert caught.value.code == "LAKE_UNREADABLE"
    assert store.current(ref) is None


def test_a_part_with_other_columns_is_named(s3: S3Access, store: IcebergVersionStore) -> None:
    ref, import_id = audience(), new_id()
    parts = Parts(s3).write(ref, import_id, [{"user_id": "ann", "age": 3}], AGE)
    with pytest.raises(FatalError, match="columns") as caught:
        store.publish(request(ref, parts, "1"))
    assert caught.value.code == "PART_MISMATCH"


def test_disagreement_of_summary_and_manifests_is_detected(
    s3: S3Access, store: IcebergVersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = audience()
    store.publish(_replace(s3, ref, "1", "ann", "bob"))
    monkeypatch.setattr("connectors.lake.leases.data_files", lambda *_: {})
    with pytest.raises(FatalError) as caught:
        store.files(ref, Version(1))
    assert caught.value.code == "LAKE_MISMATCH"


def test_a_publish_is_one_snapshot_with_one_tag(s3: S3Access, store: IcebergVersionStore) -> None:
    ref = audience()
    for n in range(1, 4):
        store.publish(_replace(s3, ref, f"0{n}", f"user-{n}"))
    table = store._tables.find(ref)
    assert table is not None
    tags = {name: r.snapshot_id for name, r in table.refs().items() if name != "main"}
    assert sorted(tags) == ["v1", "v2", "v3"]
    assert sorted(tags.values()) == sorted(s.snapshot_id for s in table.snapshots())
    assert table.metadata.current_snapshot_id == tags["v3"]
    assert table.properties["muster.high-water-sequence"] == "03"
    assert table.properties["commit.retry.num-retries"] == "0"
    summary = table.snapshots()[-1].summary
    assert summary is not None
    assert {
        "muster.import-id", "muster.attempt", "muster.sequence", "muster.mode", "muster.partitions",
        "muster.partitioner", "muster.schema-id", "muster.members", "muster.digest",
    } <= summary.additional_properties.keys()  # fmt: skip


def test_other_engines_read_equal_members_across_a_schema_change(s3: S3Access, store: IcebergVersionStore) -> None:
    ref = audience()
    store.publish(_replace(s3, ref, "1", "ann", "bob", "cy"))
    aged = Parts(s3).write(ref, new_id(), [{"user_id": "ann", "age": 30}, {"user_id": "dan"}], AGE)
    store.publish(request(ref, aged, "2", row_schema=AGE))
    table = store._tables.find(ref)
    assert table is not None
    first = store.version(ref, Version(1)).snapshot_id
    assert sorted(table.scan().to_arrow().to_pylist(), key=lambda r: r["user_id"]) == [
        {"user_id": "ann", "age": 30},
        {"user_id": "dan", "age": None},
    ]
    assert sorted(table.scan(snapshot_id=first).to_arrow()["user_id"].to_pylist()) == ["ann", "bob", "cy"]


def test_duckdb_reads_the_table_as_iceberg_and_the_files_as_parquet(
    s3: S3Access, store: IcebergVersionStore, tmp_path: Path
) -> None:
    ref = audience()
    store.publish(_replace(s3, ref, "1", "ann", "bob", "cy"))
    store.publish(_replace(s3, ref, "2", "dan"))
    table = store._tables.find(ref)
    assert table is not None
    snapshot = store.version(ref, Version(1)).snapshot_id
    with connect(limits(tmp_path), s3) as connection:
        for name in ("avro", "iceberg"):
            connection.execute(f"LOAD '{extension_path(name)}'")
        scan = f"select count(*) from iceberg_scan('{table.metadata_location}'"
        assert connection.execute(scan + ")").fetchall() == [(1,)]
        assert connection.execute(f"{scan}, snapshot_from_id = {snapshot})").fetchall() == [(3,)]
        info = store.version(ref, Version(1))
        files = [part.uri for part in store.files(ref, Version(1))]
        assert sorted(connection.execute(rows_sql(files, info.row_schema)).fetchall()) == [("ann",), ("bob",), ("cy",)]


def test_a_version_survives_the_replacement_of_the_library_objects(
    s3: S3Access, store: IcebergVersionStore, catalog_url: str, tmp_path: Path
) -> None:
    ref = audience()
    store.publish(_replace(s3, ref, "1", "ann"))
    other = IcebergVersionStore(catalog_url=catalog_url, s3=s3, bucket=BUCKET, limits=limits(tmp_path))
    assert other.versions(ref) == store.versions(ref)
    other.close()


def test_compaction_of_files_without_a_member_is_refused(
    s3: S3Access, store: IcebergVersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = audience()
    store.publish(_replace(s3, ref, "1", *(f"user-{n}" for n in range(20))))
    files = store.files(ref, Version(1))
    monkeypatch.setattr("connectors.lake.store.merge_files", lambda *_, **__: files[:1])
    with pytest.raises(FatalError, match="do not match version 1"):
        store.compact(ref, operation_id=new_id(), at=AT, target_bytes=2**20)


def test_unreachable_object_store_is_a_retriable_error(catalog_url: str, tmp_path: Path) -> None:
    away = S3Access(endpoint="http://127.0.0.1:9", region="us-east-1", access_key="a", secret_key="b")
    store = IcebergVersionStore(catalog_url=catalog_url, s3=away, bucket=BUCKET, limits=limits(tmp_path))
    part = Parts().write(audience(), new_id(), users("ann"))
    with pytest.raises(RetriableError) as caught:
        store.publish(request(audience(), part, "1"))
    assert caught.value.code == "LAKE_UNAVAILABLE"
    store.close()


def test_unopenable_catalog_is_a_retriable_error(s3: S3Access, tmp_path: Path) -> None:
    url = "postgresql+psycopg://nobody:secret@127.0.0.1:9/none"
    store = IcebergVersionStore(catalog_url=url, s3=s3, bucket=BUCKET, limits=limits(tmp_path), sleep=lambda _: None)
    with pytest.raises(RetriableError) as caught:
        store.current(audience())
    assert caught.value.code == "CATALOG_UNAVAILABLE"
    assert "secret" not in str(caught.value)


def test_secrets_are_not_in_the_representation() -> None:
    assert "very secret" not in repr(S3Access(endpoint="", region="r", access_key="a", secret_key="very secret"))
