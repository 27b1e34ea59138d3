"""Backup and restore of an audience, against a real S3 server: the lake is emptied in between."""

import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.lake import archive_tables
from connectors.lake.archive_reading import archived_rows
from connectors.lake.store import IcebergVersionStore
from connectors.storage.access import S3Access
from connectors.storage.listing import delete_objects
from orchestration.catalog import copying
from orchestration.catalog.feed_records import Feed
from orchestration.composition import administration
from orchestration.composition.context import Context
from orchestration.platform.settings import Secret, Settings
from schemas.activity import EVENT_ROWS
from schemas.errors import RetriableError, UserError
from schemas.ids import AudienceName, Version
from schemas.layout import unit_plan_key
from schemas.topics import EVENTS
from segmentation.versions import Published, SupersededBy
from tests.fakes.catalog import migrated
from tests.integration.lake.archiving import HERE, Bucket, event
from tests.integration.lake.support import BUCKET, Parts, audience, new_id, object_server, request, users
from tests.servers.postgres import database


@contextmanager
def catalog(kind: str, home: Path, fixtures: pytest.FixtureRequest | None = None) -> Iterator[Secret]:
    """An empty catalog: an SQLite file or a separate database."""
    with ExitStack() as databases:
        url = Secret(f"sqlite:///{home / 'catalog.db'}")
        if kind == "postgresql":
            assert fixtures is not None
            url = databases.enter_context(database(fixtures.getfixturevalue("session_postgres")))
        migrated(url)
        yield url


def context_of(home: Path, s3: S3Access, url: Secret, bucket: str = BUCKET) -> Context:
    home.mkdir(exist_ok=True)
    settings = Settings(home=home, catalog_url=url, s3_endpoint=s3.endpoint, lake_bucket=bucket)
    return Context(replace(settings, s3_access_key=s3.access_key, s3_secret_key=Secret(s3.secret_key)))


def members(store: Any, s3: S3Access, ref: Any, version: int) -> list[str]:
    import pyarrow.parquet as pq  # noqa: PLC0415

    rows: list[str] = []
    for part in store.files(ref, Version(version)):
        with s3.filesystem().open_input_file(part.uri.removeprefix("s3://")) as file:
            rows += pq.read_table(file).column("user_id").to_pylist()
    return sorted(rows)


POSTGRESQL = pytest.mark.containers


@pytest.fixture
def fixtures(request: pytest.FixtureRequest) -> pytest.FixtureRequest:  # `request` is a publish request here
    return request


@pytest.mark.integration
@pytest.mark.parametrize(
    ("kind", "source", "target"),
    [
        ("directory", "sqlite", "sqlite"),
        ("bucket", "sqlite", "sqlite"),
        pytest.param("directory", "postgresql", "postgresql", marks=POSTGRESQL),
        pytest.param("bucket", "sqlite", "postgresql", marks=POSTGRESQL),
    ],
)
def test_audience_is_restored_with_versions_and_order(
    tmp_path: Path, fixtures: pytest.FixtureRequest, kind: str, source: str, target: str
) -> None:
    (tmp_path / "weed").mkdir()
    with (
        object_server(tmp_path / "weed") as s3,
        catalog(source, tmp_path / "before", fixtures) as old,
        catalog(target, tmp_path / "after", fixtures) as new,
    ):
        before = context_of(tmp_path / "before", s3, old)
        before.audiences.add_tenant(audience().tenant, 1)
        ref, parts = audience(), Parts(s3)
        before.audiences.ensure(ref.tenant, ref.audience, new_id=ref.audience_id, now_ms=1)
        store = before.versions
        for number, names in enumerate((("a", "b"), ("b", "c")), 1):
            written = parts.write(ref, request(ref, (), "1").import_id, users(*names))
            assert isinstance(store.publish(request(ref, written, f"{number * 10}")), Published)
        before.feeds.add(
            Feed(
                feed_id=new_id(),
                tenant=ref.tenant,
                name="crm",
                segment=AudienceName("buyers"),
                target="kafka://acme.buyers",
                shape="changes",
                start="all",
                author="ann",
                created_at_ms=1,
            )
        )
        s3.client().create_bucket(Bucket="backups")
        place = "s3://backups/monday" if kind == "bucket" else str(tmp_path / "backup")
        s3.client().create_bucket(Bucket=before.settings.staging_bucket)
        staged = unit_plan_key(request(ref, (), "1").import_id)
        before.objects.put(before.settings.staging_bucket, staged, b"{}")
        made = administration.backups(before).backup(place)
        assert made.files == len([found for found in before.objects.list(BUCKET) if not found.key.endswith("/")]) > 6
        with pytest.raises(UserError, match="DESTINATION_EXISTS"):
            administration.backups(before).backup(place)
        for found in list(before.objects.list(BUCKET)):
            before.objects.delete(BUCKET, found.key)

        after = context_of(tmp_path / "after", s3, new)
        if kind == "directory":
            victim = (
                tmp_path
                / "backup"
                / "lake"
                / max(json.loads((tmp_path / "backup" / "manifest.json").read_text())["lake"])
            )
            whole = victim.read_bytes()
            victim.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
            with pytest.raises(UserError, match="BACKUP_DAMAGED"):
                administration.backups(after).restore(place)
            assert list(after.objects.list(BUCKET)) == []
            victim.write_bytes(whole)
        assert administration.backups(after).restore(place) == replace(made, paused_feeds=("acme/crm",))
        assert after.feeds.get(ref.tenant, "crm").state == "paused"
        with pytest.raises(UserError, match="NOT_EMPTY"):
            administration.backups(after).restore(place)
        restored = after.versions
        assert isinstance(restored, IcebergVersionStore)
        assert [members(restored, s3, ref, n) for n in (1, 2)] == [["a", "b"], ["b", "c"]]
        late = parts.write(ref, request(ref, (), "1").import_id, users("z"))
        assert isinstance(restored.publish(request(ref, late, "15")), SupersededBy)
        newer = parts.write(ref, request(ref, (), "1").import_id, users("z"))
        third = restored.publish(request(ref, newer, "30"))
        assert isinstance(third, Published)
        assert third.version == 3
        for opened in (store, restored):
            assert isinstance(opened, IcebergVersionStore)
            opened.close()
        for context in (before, after):
            context.database.close()


@pytest.mark.integration
@pytest.mark.parametrize("overtaken", [1, 99], ids=["once", "always"])
def test_backup_during_archive_commits_matches_its_catalog(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, overtaken: int
) -> None:
    monkeypatch.setitem(archive_tables.PROPERTIES, "write.metadata.previous-versions-max", "1")
    with catalog("sqlite", tmp_path / "before") as old, catalog("sqlite", tmp_path / "after") as new:
        before = context_of(tmp_path / "before", bucket.s3, old, bucket.name)
        numbers = itertools.count()

        def append() -> None:
            n = next(numbers)
            before.archive.append(EVENTS, [bucket.write(n, n + 1, [event(n)])])

        dump, left = copying.dump, itertools.repeat(None, overtaken)

        def dump_amid_commits(url: Secret, file: Path) -> None:
            busy = next(left, 1) is None
            append()
            dump(url, file)
            for _ in range(3 if busy else 0):
                append()

        append()
        monkeypatch.setattr(copying, "dump", dump_amid_commits)
        place = str(tmp_path / "backup")
        if overtaken > 1:
            with pytest.raises(RetriableError, match="BACKUP_OVERTAKEN"):
                administration.backups(before).backup(place)
            return
        administration.backups(before).backup(place)
        delete_objects(bucket.s3.client(), bucket.name, sorted(bucket.keys("")))
        after = context_of(tmp_path / "after", bucket.s3, new, bucket.name)
        administration.backups(after).restore(place)
        assert after.archive.archived_to(EVENTS) == {HERE: 6}
        rows = [batch for f in after.archive.files(EVENTS) for batch in archived_rows(bucket.s3, f, EVENT_ROWS)]
        assert [offset for batch in rows for offset in batch["offset"].to_pylist()] == [*range(6)]
        for context in (before, after):
            context.archive.close()
            context.database.close()
