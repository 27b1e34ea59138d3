"""Lists of users are written beside large files, match them exactly, and stay as long as they do."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from connectors.lake import archive_users
from connectors.lake.archive import ActivityArchive
from connectors.lake.archive_tables import ArchivedFile
from connectors.lake.archive_upkeep import DEFAULT_GRACE
from connectors.storage.access import S3Access
from connectors.storage.listing import delete_objects
from connectors.storage.writing import put_file
from orchestration.composition import control_plane
from orchestration.composition.context import Context
from orchestration.platform.clock import now_ms
from schemas.errors import FatalError
from schemas.ids import Partition, TenantName
from schemas.layout import split_s3_uri
from schemas.topics import ACTIVITY_TOPICS, EVENTS, PROFILES
from tests.integration.lake.archiving import ACME, HERE, Bucket, change, event

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

OTHER = Partition(0)
SHOP = TenantName("shop")
USERS = "activity/events/users/"


@pytest.fixture
def temp(tmp_path: Path) -> Path:
    return tmp_path / "temp"


@pytest.fixture(autouse=True)
def every_file_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_users, "LARGE_BYTES", 0)


def when_over() -> datetime:
    return datetime.now(UTC) + DEFAULT_GRACE + timedelta(minutes=1)


def users_of(s3: S3Access, file: ArchivedFile) -> list[str]:
    assert file.users is not None
    found = pq.read_table(file.users.removeprefix("s3://"), filesystem=s3.filesystem())
    return sorted(found.column("user_id").to_pylist())


def listed(files: Sequence[ArchivedFile]) -> list[bool]:
    return [file.users is not None for file in files]


def test_user_list_of_a_file_is_distinct(archive: ActivityArchive, bucket: Bucket, temp: Path) -> None:
    rows = [event(n, user) for n, user in enumerate(["bob", "ann", "bob", "cid", "ann"])]
    archive.append(EVENTS, [bucket.write(0, 9, [*rows, event(5, "eve", tenant=SHOP)])])
    archive.append(PROFILES, [bucket.write(0, 2, [change(0, "dan"), change(1, "dan")], topic=PROFILES)])
    assert [archive.write_users(topic, temp_directory=temp) for topic in ACTIVITY_TOPICS] == [2, 1]
    [acme], [shop] = (archive.files(EVENTS, tenant=tenant, with_users=True) for tenant in (ACME, SHOP))
    [profiles] = archive.files(PROFILES, with_users=True)
    found = [users_of(bucket.s3, file) for file in (acme, shop, profiles)]
    assert found == [["ann", "bob", "cid"], ["eve"], ["dan"]]
    assert list(temp.iterdir()) == []


def test_small_files_have_no_user_list(
    archive: ActivityArchive, bucket: Bucket, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [bucket.write(0, 9, [event(n, f"u{n}") for n in range(2)])]
    many = [bucket.write(0, 900, [event(n, f"u{n}") for n in range(900)], partition=OTHER)]
    archive.append(EVENTS, few + many)
    sizes = {file.key.partition: file.bytes for file in archive.files(EVENTS)}
    assert sizes[HERE] < sizes[OTHER]
    monkeypatch.setattr(archive_users, "LARGE_BYTES", sizes[OTHER])
    assert archive.write_users(EVENTS, temp_directory=temp) == 1
    assert listed(archive.files(EVENTS, partition=OTHER, with_users=True)) == [True]
    assert listed(archive.files(EVENTS, tenant=ACME, partition=HERE, with_users=True)) == [False]


def test_user_lists_are_written_once_and_checked_on_request(
    archive: ActivityArchive, bucket: Bucket, temp: Path
) -> None:
    assert archive.write_users(EVENTS, temp_directory=temp) == 0
    assert archive.files(EVENTS, with_users=True) == []
    archive.append(EVENTS, [bucket.write(0, 9, [event(0)])])
    assert listed(archive.files(EVENTS, with_users=True)) == [False]
    assert [archive.write_users(EVENTS, temp_directory=temp) for _ in range(2)] == [1, 0]
    assert listed(archive.files(EVENTS)) == [False]
    archive.append(EVENTS, [bucket.write(9, 18, [event(9)])])
    assert archive.write_users(EVENTS, temp_directory=temp) == 1
    for where in ({}, {"tenant": ACME}, {"tenant": ACME, "partition": HERE}, {"partition": HERE}):
        assert listed(archive.files(EVENTS, with_users=True, **where)) == [True, True]


def test_user_lists_are_written_in_batches(
    archive: ActivityArchive, bucket: Bucket, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.append(EVENTS, [bucket.write(9 * n, 9 * n + 9, [event(9 * n)]) for n in range(3)])
    monkeypatch.setattr(archive_users, "AT_ONCE_BYTES", 1)
    assert [archive.write_users(EVENTS, temp_directory=temp) for _ in range(4)] == [1, 1, 1, 0]


def test_interrupted_listing_is_continued(
    archive: ActivityArchive, bucket: Bucket, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.append(EVENTS, [bucket.write(9 * n, 9 * n + 9, [event(9 * n, f"u{n}")]) for n in range(3)])
    left = iter([True])

    class Died(BaseException):
        pass

    def die(client: "S3Client", bucket: str, key: str, path: Path) -> None:
        if not next(left, False):
            raise Died
        put_file(client, bucket, key, path)

    with monkeypatch.context() as patched:
        patched.setattr(archive_users, "put_file", die)
        with pytest.raises(Died):
            archive.write_users(EVENTS, temp_directory=temp)
    files = archive.files(EVENTS, with_users=True)
    assert listed(files) == [True, False, False]
    assert users_of(bucket.s3, files[0]) == ["u0"]
    assert archive.write_users(EVENTS, temp_directory=temp) == 2
    files = archive.files(EVENTS, with_users=True)
    assert [users_of(bucket.s3, file) for file in files] == [["u0"], ["u1"], ["u2"]]


def test_file_that_contradicts_the_table_has_no_list_and_blocks_no_other(
    archive: ActivityArchive, bucket: Bucket, temp: Path
) -> None:
    archive.append(EVENTS, [bucket.write(9 * n, 9 * n + 9, [event(9 * n), event(9 * n + 1)]) for n in range(3)])
    first, second, _ = (split_s3_uri(file.uri)[1] for file in archive.files(EVENTS))
    one_row = split_s3_uri(bucket.write(100, 110, [event(101)]).files[0])[1]
    bucket.s3.client().copy_object(Bucket=bucket.name, Key=first, CopySource={"Bucket": bucket.name, "Key": one_row})
    delete_objects(bucket.s3.client(), bucket.name, [second])
    assert archive.write_users(EVENTS, temp_directory=temp) == 1
    assert listed(archive.files(EVENTS, with_users=True)) == [False, False, True]
    with pytest.raises(FatalError, match=r"LAKE_MISMATCH: .* has 1 rows, but the table lists 2"):
        archive.write_users(EVENTS, temp_directory=temp)


def test_user_lists_live_as_long_as_their_files(archive: ActivityArchive, bucket: Bucket, temp: Path) -> None:
    archive.append(EVENTS, [bucket.write(9 * n, 9 * n + 9, [event(9 * n, f"u{n}")]) for n in range(8)])
    archive.write_users(EVENTS, temp_directory=temp)
    before = archive.files(EVENTS, with_users=True)
    assert archive.compact(EVENTS, temp_directory=temp).after == 1
    archive.append(EVENTS, [bucket.write(72, 81, [event(72, "last")])])
    archive.write_users(EVENTS, temp_directory=temp)
    archive.expire(EVENTS, now=datetime.now(UTC))
    archive.remove_garbage(EVENTS, now=datetime.now(UTC) + timedelta(days=365))
    assert [users_of(bucket.s3, file) for file in before] == [[f"u{n}"] for n in range(8)]
    archive.expire(EVENTS, now=when_over())
    archive.remove_garbage(EVENTS, now=when_over())
    now = archive.files(EVENTS, with_users=True)
    assert [users_of(bucket.s3, file) for file in now] == [[f"u{n}" for n in range(8)], ["last"]]
    assert bucket.keys(USERS) == {file.key.users_key for file in now}


def test_relay_writes_user_lists_of_merged_files(context: Context, bucket: Bucket) -> None:
    rows = {EVENTS: event, PROFILES: change}
    for topic, row in rows.items():
        ranges = [bucket.write(n, n + 1, [row(n, f"u{n % 2}")], topic=topic) for n in range(8)]
        context.archive.append(topic, ranges)
    control_plane.archive_maintenance(context, threading.Event()).maintain(now_ms())
    for topic in rows:
        [file] = context.archive.files(topic, with_users=True)
        assert (file.rows, users_of(bucket.s3, file)) == (8, ["u0", "u1"])
