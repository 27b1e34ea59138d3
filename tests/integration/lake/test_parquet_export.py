"""Exports: their content, and that a half-written one is never visible."""

import dataclasses
import hashlib
import resource
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from connectors.lake.faults import lake_faults
from connectors.lake.store import IcebergVersionStore
from connectors.sinks.parquet_export import _put, export_parquet
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
def exports(s3: S3Access, tmp_path: Path) -> Exports:
    store = IcebergVersionStore(
        catalog_url=f"sqlite:///{tmp_path / 'c.db'}", s3=s3, bucket=BUCKET, limits=limits(tmp_path)
    )
    ref = audience()
    rows = [{"user_id": f"user-{n:03d}", "age": n} for n in range(100)]
    parts = Parts(s3).write(ref, new_id(), rows, AGE, partitions=4)
    store.publish(request(ref, parts, "1", row_schema=AGE, partitions=4))
    version = store.version(ref, Version(1))
    files = list(store.files(ref, Version(1)))
    store.close()
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


def test_a_local_export_is_one_sorted_file_with_the_digest_of_the_version(exports: Exports) -> None:
    path = exports.directory / "new" / "vip.parquet"
    rows, size, sha256 = _export(exports, str(path))
    table = pq.read_table(path)
    assert table.column("user_id").to_pylist() == [f"user-{n:03d}" for n in range(100)]
    assert digest_rows(table, AGE) == exports.version.digest
    assert (rows, size, sha256) == (100, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    assert list(path.parent.iterdir()) == [path]


def test_an_export_to_s3_is_one_object(exports: Exports) -> None:
    uri = f"s3://{BUCKET}/exports/{new_id()}/vip.parquet"
    rows, _, sha256 = _export(exports, uri)
    body = exports.s3.client().get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
    assert (rows, sha256) == (100, hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("where", ["local", "s3"])
def test_what_exists_is_not_overwritten_unless_asked(exports: Exports, where: str) -> None:
    destination = (
        str(exports.directory / "vip.parquet") if where == "local" else f"s3://{BUCKET}/exports/{new_id()}.parquet"
    )
    _export(exports, destination)
    with pytest.raises(UserError) as caught:
        _export(exports, destination)
    assert caught.value.code == "DESTINATION_EXISTS"
    _export(exports, destination, overwrite=True)


def test_an_export_that_lost_a_member_never_becomes_visible(exports: Exports) -> None:
    path = exports.directory / "vip.parquet"
    exports.files.pop()
    with pytest.raises(FatalError) as caught:
        _export(exports, str(path))
    assert caught.value.code == "EXPORT_MISMATCH"
    assert not path.exists()
    assert [p.name for p in exports.directory.iterdir() if "vip" in p.name] == []


@pytest.mark.parametrize(
    ("destination", "code"),
    [
        ("s3://bucket-only", "BAD_URI"),
        ("ftp://host/file", "BAD_URI"),
        ("s3://bucket/../vip.parquet", "BAD_URI"),
        ("s3:/bucket/vip.parquet", "BAD_URI"),
        ("/proc/nowhere/vip.parquet", "DESTINATION_NOT_WRITABLE"),
    ],
)
def test_a_destination_that_cannot_be_written_is_a_user_error(exports: Exports, destination: str, code: str) -> None:
    with pytest.raises(UserError) as caught:
        _export(exports, destination)
    assert caught.value.code == code


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("key", ["reader", "nobody"])
def test_a_store_that_refuses_the_file_is_no_outage(exports: Exports, key: str, *, overwrite: bool) -> None:
    theirs = dataclasses.replace(exports.s3, access_key=key, secret_key=secret_of(key))
    with pytest.raises(UserError) as caught, lake_faults("writing"):
        _put(theirs, Path(__file__), f"s3://{PARTNER}/{new_id()}.parquet", overwrite=overwrite)
    assert caught.value.code == "DESTINATION_NOT_WRITABLE"


def test_a_single_file_without_room_says_where(exports: Exports) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(UserError) as caught:
            _export(exports, str(exports.directory / "full" / "vip.parquet"))
        with pytest.raises(RetriableError) as ours:
            _export(exports, f"s3://{BUCKET}/exports/{new_id()}/vip.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (caught.value.code, caught.value.detail["path"]) == ("DESTINATION_FULL", str(exports.directory / "full"))
    assert list((exports.directory / "full").iterdir()) == []
    assert ours.value.code == "SCRATCH_FULL"
