"""What the lake refuses: each code, reached through the store."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError

from connectors.lake.optimistic import TRIES
from connectors.lake.store import IcebergVersionStore
from connectors.storage.access import S3Access
from connectors.storage.duck import extension_path
from schemas.errors import FatalError, RetriableError
from schemas.ids import Version
from tests.integration.lake.support import AT, BUCKET, Parts, audience, limits, new_id, request, users
from tests.raising import code_of


def _lose(*_: Any) -> None:
    raise CommitFailedException("somebody else was quicker")


def test_constantly_losing_publisher_gives_up_without_changes(
    s3: S3Access, catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    store = IcebergVersionStore(
        catalog_url=catalog_url, s3=s3, bucket=BUCKET, limits=limits(tmp_path), sleep=waits.append
    )
    ref, parts = audience(), Parts(s3)
    store.publish(request(ref, parts.write(ref, new_id(), users("old")), "1"))
    made = request(ref, parts.write(ref, new_id(), users("ann")), "2")
    with monkeypatch.context() as losing:
        losing.setattr(SqlCatalog, "commit_table", _lose)
        assert code_of(RetriableError, lambda: store.publish(made)) == "PUBLISH_CONFLICT"
    assert len(waits) == TRIES - 1
    assert [v.version for v in store.versions(ref)] == [1]
    store.close()


def test_constantly_losing_expiry_gives_up_without_deleting(
    s3: S3Access, catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    store = IcebergVersionStore(
        catalog_url=catalog_url, s3=s3, bucket=BUCKET, limits=limits(tmp_path), sleep=waits.append
    )
    ref, parts = audience(), Parts(s3)
    for order in ("1", "2"):
        store.publish(request(ref, parts.write(ref, new_id(), users(f"user-{order}")), order))

    def expire() -> object:
        return store.expire(ref, keep_last=1, keep_younger_than=timedelta(0), now=AT + timedelta(days=9000))

    with monkeypatch.context() as losing:
        losing.setattr(SqlCatalog, "commit_table", _lose)
        assert code_of(RetriableError, expire) == "EXPIRE_CONFLICT"
    assert len(waits) == TRIES - 1
    assert [v.version for v in store.versions(ref)] == [1, 2]
    assert [part.rows for version in store.versions(ref) for part in store.files(ref, version.version)] == [1, 1]
    store.close()


def test_constantly_losing_hold_gives_up(
    s3: S3Access, catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    store = IcebergVersionStore(
        catalog_url=catalog_url, s3=s3, bucket=BUCKET, limits=limits(tmp_path), sleep=waits.append
    )
    ref, leaseholder = audience(), new_id()
    store.publish(request(ref, Parts(s3).write(ref, new_id(), users("ann")), "1"))
    with monkeypatch.context() as losing:
        losing.setattr(SqlCatalog, "commit_table", _lose)
        assert code_of(RetriableError, lambda: store.lease(ref, Version(1), leaseholder)) == "HOLD_CONFLICT"
    assert len(waits) > 1
    with pytest.raises(FatalError, match="NOT_HELD"):
        store.leased(ref, Version(1), leaseholder)
    store.close()


def test_constantly_renamed_audience_is_busy(
    s3: S3Access, store: IcebergVersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = audience()
    store.publish(request(ref, Parts(s3).write(ref, new_id(), users("ann")), "1"))

    def gone(*_: Any) -> None:
        raise NoSuchTableError("it had that name a moment ago")

    with monkeypatch.context() as renaming:
        renaming.setattr(SqlCatalog, "load_table", gone)
        assert code_of(RetriableError, lambda: store.current(ref)) == "AUDIENCE_BUSY"
    assert store.current(ref) is not None


def test_missing_extension_is_named() -> None:
    assert code_of(FatalError, lambda: extension_path("spatial")) == "DUCKDB_EXTENSION_MISSING"
