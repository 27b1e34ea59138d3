"""What the materialiser needs from an object store, for the in-memory and the real one."""

import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from connectors.storage.access import S3Access
from connectors.storage.objects import ObjectStore
from orchestration.platform.object_store import s3_access
from orchestration.platform.settings import Settings
from schemas.errors import FatalError, RetriableError
from streams.staging import OPTIONS, S3StagingStore, StagingStore, staging_store
from tests.fakes.object_store import InMemoryObjectStore

BUCKET = "staging"


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest) -> Iterator[StagingStore]:
    if request.param == "memory":
        yield InMemoryObjectStore()
    else:
        yield staging_store(s3_access(request.getfixturevalue("stack")))


@pytest.fixture
def prefix() -> str:
    return f"contract/{random.randbytes(8).hex()}/"


def test_stored_object_is_read_whole_and_by_its_tail(store: StagingStore, prefix: str) -> None:
    assert store.put_new(BUCKET, prefix + "a", b"0123456789")
    assert store.get(BUCKET, prefix + "a") == b"0123456789"
    assert store.get_tail(BUCKET, prefix + "a", 3) == b"789"
    assert store.get_tail(BUCKET, prefix + "a", 100) == b"0123456789"


def test_a_key_is_written_once(store: StagingStore, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"second")
    assert store.put_new(BUCKET, prefix + "a", b"first")
    assert not store.put_new(BUCKET, prefix + "a", b"second")
    assert not store.put_new_file(BUCKET, prefix + "a", tmp_path / "f")
    assert store.get(BUCKET, prefix + "a") == b"first"


def test_empty_object_counts_as_absent(store: StagingStore, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"second")
    for key in (prefix + "a", prefix + "b"):
        store.put_new(BUCKET, key, b"")
        assert store.get(BUCKET, key) is None
        assert store.get_tail(BUCKET, key, 3) is None
    assert store.put_new(BUCKET, prefix + "a", b"first")
    assert store.put_new_file(BUCKET, prefix + "b", tmp_path / "f")
    assert not store.put_new(BUCKET, prefix + "a", b"later")
    assert store.get(BUCKET, prefix + "a") == b"first"
    assert store.get_tail(BUCKET, prefix + "b", 3) == b"ond"


@pytest.mark.integration
@pytest.mark.parametrize("sent", [b"", b"some"])
def test_writer_death_during_a_put_leaves_nothing_that_counts(stack: Settings, prefix: str, sent: bytes) -> None:
    store, key = staging_store(s3_access(stack)), prefix + "a"
    url = urlsplit(store._objects._client.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": key}))
    head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection((url.hostname, url.port)) as connection:
        connection.sendall(head.encode() + sent)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):  # until the server has noticed the end
            pass
    assert store.get_tail(BUCKET, key, 3) is None
    assert store.put_new(BUCKET, key, b"whole")
    assert store.get(BUCKET, key) == b"whole"


def test_file_is_stored_unchanged(store: StagingStore, prefix: str, tmp_path: Path) -> None:
    body = random.randbytes(3_000_000)
    (tmp_path / "f").write_bytes(body)
    assert store.put_new_file(BUCKET, prefix + "f", tmp_path / "f")
    assert store.get(BUCKET, prefix + "f") == body


def test_one_of_many_writers_wins(store: StagingStore, prefix: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: store.put_new(BUCKET, prefix + "race", bytes([n])), range(8)))
    assert won.count(True) == 1
    assert store.get(BUCKET, prefix + "race") == bytes([won.index(True)])


def test_missing_staged_object_is_none(store: StagingStore, prefix: str) -> None:
    assert store.get(BUCKET, prefix + "none") is None
    assert store.get_tail(BUCKET, prefix + "none", 5) is None
    assert store.list_keys(BUCKET, prefix) == []


def test_listing_has_exactly_the_keys_below_the_prefix(store: StagingStore, prefix: str) -> None:
    keys = [f"{prefix}runs/{n:04d}" for n in range(5)]
    for key in [*keys, prefix + "other"]:
        store.put_new(BUCKET, key, b"x")
    assert store.list_keys(BUCKET, prefix + "runs/") == keys


def test_repeated_deletion_succeeds(store: StagingStore, prefix: str) -> None:
    store.put_new(BUCKET, prefix + "a", b"x")
    store.delete(BUCKET, [prefix + "a", prefix + "none"])
    store.delete(BUCKET, [prefix + "a"])
    store.delete(BUCKET, [])
    assert store.list_keys(BUCKET, prefix) == []


@pytest.mark.integration
def test_wrong_credentials_are_immediately_fatal(stack: Settings, prefix: str) -> None:
    access = S3Access(endpoint=stack.s3_endpoint, region="us-east-1", access_key="x", secret_key="y")
    with pytest.raises(FatalError, match="STORE_REFUSED"):
        staging_store(access).get(BUCKET, prefix)


def test_unresponsive_store_times_out() -> None:
    now = iter(range(0, 1000, 20))
    access = S3Access(endpoint="http://127.0.0.1:1", region="us-east-1", access_key="x", secret_key="y")
    objects = ObjectStore(access, options=OPTIONS)
    store = S3StagingStore(objects, give_up_after_s=30, monotonic=lambda: float(next(now)), jitter=lambda: 0.0)
    with pytest.raises(RetriableError, match="STORE_UNAVAILABLE: get of s3://staging/key failed for 30 s"):
        store.get(BUCKET, "key")
    assert next(now) == 60  # the first try, one retry, and the end


def test_an_access_does_not_print_its_secret() -> None:
    access = S3Access(endpoint="http://127.0.0.1:1", region="us-east-1", access_key="x", secret_key="hush")
    assert "hush" not in repr(access)
