"""Exports: their content, and that a half-written one is never visible."""

import dataclasses
import hashlib
import resource
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from s3transfer.manager import TransferCoordinatorController

from connectors.lake.faults import lake_faults
from connectors.lake.store import IcebergVersionStore
from connectors.sinks.parquet_export import export_parquet, put_object
from connectors.storage.access import S3Access
from schemas.columns import Column, RowSchema
from schemas.errors import FatalError, RetriableError, UserError
from schemas.ids import Version
from schemas.row_digest import digest_rows
from segmentation.versions import Part, VersionInfo
from tests.integration.lake.support import BUCKET, PARTNER, Parts, audience, limits, new_id, request, secret_of

AGE = RowSchema(columns=(Column(name="age", type="long"),))


@dataclasses.dataclass
class Exports:
    s3: S3Access
    directory: Path
    version: VersionInfo
    files: list[Part]


@pytest.fixture
def exports(s3: S3Access, store: IcebergVersionStore, tmp_path: Path) -> Exports:
    ref = audience()
    rows = [{"user_id": f"user-{n:03d}", "age": n} for n in range(100)]
    parts = Parts(s3).write(ref, new_id(), rows, AGE, partitions=4)
    store.publish(request(ref, parts, "1", row_schema=AGE, partitions=4))
    version = store.version(ref, Version(1))
    files = list(store.files(ref, Version(1)))
    return Exports(s3, tmp_path, version, files)


def _export(exports: Exports, destination: str, *, overwrite: bool = False) -> tuple[int, int, str]:
    done = export_parquet(
        exports.version,
        exports.files,
        destination,
        s3=exports.s3,
        limits=limits(exports.directory),
        overwrite=overwrite,
    )
    assert (done.uri, done.digest) == (destination, exports.version.digest)
    return done.rows, done.bytes, done.sha256


def test_an_export_is_one_sorted_object_with_the_digest_of_the_version(exports: Exports) -> None:
    key = f"exports/{new_id()}/vip.parquet"
    rows, size, sha256 = _export(exports, f"s3://{BUCKET}/{key}")
    body = exports.s3.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
    table = pq.read_table(BytesIO(body))
    assert table.column("user_id").to_pylist() == [f"user-{n:03d}" for n in range(100)]
    assert digest_rows(table, AGE) == exports.version.digest
    assert (rows, size, sha256) == (100, len(body), hashlib.sha256(body).hexdigest())


def test_existing_object_is_overwritten_only_on_request(exports: Exports) -> None:
    destination = f"s3://{BUCKET}/exports/{new_id()}.parquet"
    _export(exports, destination)
    with pytest.raises(UserError) as caught:
        _export(exports, destination)
    assert caught.value.code == "DESTINATION_EXISTS"
    _export(exports, destination, overwrite=True)


def test_export_without_a_member_never_becomes_visible(exports: Exports) -> None:
    prefix = f"exports/{new_id()}/"
    exports.files.pop()
    with pytest.raises(FatalError) as caught:
        _export(exports, f"s3://{BUCKET}/{prefix}vip.parquet")
    assert caught.value.code == "EXPORT_MISMATCH"
    assert exports.s3.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)["KeyCount"] == 0


@pytest.mark.parametrize(
    "destination",
    ["s3://bucket-only", "ftp://host/file", "s3://bucket/../vip.parquet", "s3:/bucket/vip.parquet", "vip.parquet"],
)
def test_destination_without_an_object_is_a_user_error(exports: Exports, destination: str) -> None:
    with pytest.raises(UserError) as caught:
        _export(exports, destination)
    assert caught.value.code == "BAD_URI"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("key", ["reader", "nobody"])
def test_refusal_by_the_store_is_not_an_outage(
    exports: Exports, key: str, monkeypatch: pytest.MonkeyPatch, *, overwrite: bool
) -> None:
    # As when the thread of an upload ends after its manager, which then raises the refusal again.
    monkeypatch.setattr(TransferCoordinatorController, "remove_transfer_coordinator", lambda *_: None)
    theirs = dataclasses.replace(exports.s3, access_key=key, secret_key=secret_of(key))
    with pytest.raises(UserError) as caught, lake_faults("writing"):
        put_object(theirs, Path(__file__), PARTNER, f"{new_id()}.parquet", overwrite=overwrite)
    assert caught.value.code == "DESTINATION_NOT_WRITABLE"


def test_export_without_scratch_space_is_retried(exports: Exports) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(RetriableError, match="SCRATCH_FULL"):
            _export(exports, f"s3://{BUCKET}/exports/{new_id()}/vip.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
