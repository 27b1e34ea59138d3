"""Connections to S3: one set per process, however many tables it loads."""

import gc
from collections.abc import Iterator
from typing import Any

import psutil
import pyarrow as pa
import pytest
from botocore.exceptions import EndpointConnectionError

from connectors.lake.catalog import LakeCatalog
from connectors.storage.access import S3Access
from connectors.storage.listing import list_objects
from tests.integration.lake.support import BUCKET, new_id

TIMES = 10


@pytest.fixture
def catalog(s3: S3Access, catalog_url: str) -> Iterator[LakeCatalog]:
    made = LakeCatalog(catalog_url=catalog_url, s3=s3, bucket=BUCKET)
    yield made
    made.close()


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Disable the garbage collector, which may free reference cycles late."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_repeatedly_loaded_tables_reuse_connections(catalog: LakeCatalog, without_collector: None) -> None:
    namespace = new_id()
    catalog.ensure_namespace(namespace)
    table = catalog.sql_catalog.create_table((namespace, "t"), pa.schema([("n", pa.int64())]))
    table.append(pa.table({"n": [1, 2, 3]}))
    sql_catalog = []
    for _ in range(TIMES):
        assert catalog.sql_catalog.load_table((namespace, "t")).scan().to_arrow().num_rows == 3
        sql_catalog.append(psutil.Process().num_fds())
    assert sql_catalog[-1] - sql_catalog[0] < TIMES / 2, sql_catalog


def test_deleted_file_leaves_no_folder(catalog: LakeCatalog, s3: S3Access) -> None:
    prefix = f"deleted/{new_id()}/metadata"
    files: Any = catalog.sql_catalog._load_file_io()
    for name in ("a", "b"):
        s3.client().put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=b"x")
    files.delete(f"s3://{BUCKET}/{prefix}/a")
    files.delete(f"s3://{BUCKET}/{prefix}/a")
    assert [entry.key for entry in list_objects(s3.client(), BUCKET, prefix)] == [f"{prefix}/b"]
    files.delete(files.new_input(f"s3://{BUCKET}/{prefix}/b"))
    assert list(list_objects(s3.client(), BUCKET, prefix)) == []


def test_unreachable_store_is_an_os_error(catalog: LakeCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyiceberg deletes after a commit, and ignores file errors there: any other error would fail the commit."""
    monkeypatch.setattr("connectors.lake.file_io.delete_objects", refuse)
    with pytest.raises(OSError, match="was not deleted"):
        catalog.sql_catalog._load_file_io().delete(f"s3://{BUCKET}/nothing")


def refuse(*_: object) -> None:
    raise EndpointConnectionError(endpoint_url="http://away")


def test_tables_of_other_stores_have_separate_file_systems(catalog: LakeCatalog) -> None:
    here = {"s3.endpoint": "http://127.0.0.1:1", "s3.region": "us-east-1"}
    there = here | {"s3.region": "eu-west-1"}
    found: list[Any] = [
        catalog.sql_catalog._load_file_io(properties)
        for properties in (here | {"owner": "a"}, here | {"owner": "b"}, there)
    ]
    first, again, other = (one.fs_by_scheme("s3", "lake") for one in found)
    assert first is again
    assert other.region == "eu-west-1"
