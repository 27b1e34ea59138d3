"""S3 objects on the real server: pinned reads, conditional writes, broken connections, and parsing straight from it."""

import gzip
import io
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import boto3
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from connectors.sources.parsing import open_parsed
from connectors.sources.rejects import RejectBatch
from connectors.storage.access import ClientOptions
from connectors.storage.objects import ObjectStore
from connectors.storage.pinned import SourceObject
from orchestration.platform.object_store import s3_access
from orchestration.platform.settings import Settings
from schemas.arrow import arrow_schema
from schemas.errors import MusterError, RetriableError, UserError
from schemas.records import as_record, from_record
from tests.servers.faulty_s3 import Request, Stall, faulty_proxy
from tests.unit.connectors.sources.reading import collect, spec_of

pytestmark = pytest.mark.integration

MIB = 1 << 20


def store_of(
    settings: Settings,
    *,
    endpoint: str | None = None,
    secret: str | None = None,
    timeout_s: float = 20.0,
    attempts: int = 4,
    **limits: float,
) -> ObjectStore:
    access = s3_access(settings)
    return ObjectStore(
        replace(
            access, endpoint=endpoint or access.endpoint, secret_key=access.secret_key if secret is None else secret
        ),
        options=ClientOptions(connect_timeout_s=timeout_s, read_timeout_s=timeout_s, attempts=attempts),
        **limits,
    )


@pytest.fixture
def store(stack: Settings) -> ObjectStore:
    return store_of(stack)


@pytest.fixture
def bucket(stack: Settings) -> str:
    return stack.staging_bucket


@pytest.fixture
def prefix() -> str:
    return f"test-objects/{uuid4().hex}/"


@pytest.fixture
def versioned(stack: Settings) -> str:
    """A bucket that keeps versions."""
    name = f"versioned-{uuid4().hex[:12]}"
    client = boto3.client(
        "s3",
        endpoint_url=stack.s3_endpoint,
        region_name=stack.s3_region,
        aws_access_key_id=stack.s3_access_key,
        aws_secret_access_key=stack.s3_secret_key.reveal(),
    )
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def content_of(store: ObjectStore, source: SourceObject, **settings: int) -> bytes:
    return b"".join(store.stream(source, **settings))


def test_a_pinned_object_is_read_in_ranges_and_survives_its_record(
    store: ObjectStore, bucket: str, prefix: str
) -> None:
    content = random.Random(1).randbytes(1_000_003)
    store.put(bucket, prefix + "f", content)
    source = store.pin(bucket, prefix + "f")
    assert source.size == len(content)
    assert from_record(SourceObject, as_record(source)) == source
    assert [len(b) for b in store.stream(source, block_bytes=400_000)] == [400_000, 400_000, 200_003]
    assert content_of(store, source, block_bytes=400_000) == content
    assert store.read_range(source, 999_999, 4) == content[-4:]


def test_an_empty_object_streams_nothing(store: ObjectStore, bucket: str, prefix: str) -> None:
    store.put(bucket, prefix + "f", b"")
    assert content_of(store, store.pin(bucket, prefix + "f")) == b""


def test_overwritten_and_deleted_objects_are_distinguished(store: ObjectStore, bucket: str, prefix: str) -> None:
    store.put(bucket, prefix + "f", b"one")
    source = store.pin(bucket, prefix + "f")
    store.put(bucket, prefix + "f", b"two")
    with pytest.raises(UserError, match="SOURCE_CHANGED"):
        content_of(store, source)
    store.delete(bucket, prefix + "f")
    with pytest.raises(UserError, match="SOURCE_GONE"):
        content_of(store, source)
    with pytest.raises(UserError, match="SOURCE_GONE"):
        store.pin(bucket, prefix + "f")


def test_version_is_readable_after_overwriting_and_deletion(store: ObjectStore, versioned: str) -> None:
    store.put(versioned, "f", b"one")
    source = store.pin(versioned, "f")
    assert source.version_id
    store.put(versioned, "f", b"two")
    store.delete(versioned, "f")
    assert content_of(store, source) == b"one"
    assert store.pin(versioned, "f", source.version_id) == source
    with pytest.raises(UserError, match="SOURCE_GONE"):
        store.pin(versioned, "f")


def test_a_large_file_is_uploaded_in_parts(store: ObjectStore, bucket: str, prefix: str, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(random.Random(2).randbytes(17 * MIB))
    store.put_file(file, bucket, prefix + "f")
    assert content_of(store, store.pin(bucket, prefix + "f")) == file.read_bytes()
    with pytest.raises(UserError, match="SOURCE_GONE"):
        store.put_file(tmp_path / "nope", bucket, prefix + "f")


def test_upload_survives_an_unresponsive_server(
    stack: Settings, store: ObjectStore, bucket: str, prefix: str, tmp_path: Path
) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(b"user_id\n" + b"u1\n" * 1000)

    def fault(_: Request) -> None:
        if proxy.count("PUT") <= 2:
            raise Stall

    with faulty_proxy(stack.s3_endpoint) as proxy:
        proxy.fault = fault
        sent: list[int] = []
        through = store_of(stack, endpoint=proxy.endpoint, timeout_s=0.2, attempts=1)
        through.put_file(path, bucket, prefix + "f", on_bytes=sent.append)
    assert store.get(bucket, prefix + "f") == path.read_bytes()
    assert sum(sent) == path.stat().st_size
    off = store_of(stack, endpoint=proxy.endpoint, timeout_s=0.2, attempts=1, resume_s=0)
    with pytest.raises(RetriableError, match="S3_UNAVAILABLE"):
        off.put_file(path, bucket, prefix + "f")


def test_server_does_not_compress_text(
    stack: Settings, store: ObjectStore, bucket: str, prefix: str, tmp_path: Path
) -> None:
    """Without a type the server would compress it: then every read costs six times as much."""

    def stored() -> int:
        return sum(file.stat().st_size for file in (stack.home / "s3").rglob("*.dat"))

    file = tmp_path / "users.csv"
    for size in (2 * MIB, 20 * MIB):  # in one request, and in parts
        file.write_bytes(b"user_id,age\n" + b"a,1\n" * (size // 4))
        before = stored()
        store.put_file(file, bucket, prefix + "users.csv")
        assert stored() - before >= size


def test_prefix_is_listed_and_deleted_without_its_neighbours(store: ObjectStore, bucket: str, prefix: str) -> None:
    for name in ("a/1", "a/2", "ab"):
        store.put(bucket, prefix + name, b"x")
    assert [(o.key, o.size) for o in store.list(bucket, prefix + "a/")] == [(prefix + "a/1", 1), (prefix + "a/2", 1)]
    assert store.delete_prefix(bucket, prefix + "a/") == 2
    assert store.delete_prefix(bucket, prefix + "a/") == 0
    assert [o.key for o in store.list(bucket, prefix)] == [prefix + "ab"]
    for dangerous in ("", "/", prefix + "a"):
        with pytest.raises(ValueError, match="more than one directory"):
            store.delete_prefix(bucket, dangerous)


def test_listed_objects_are_pinned_as_each_by_itself(
    store: ObjectStore, bucket: str, versioned: str, prefix: str
) -> None:
    for place in (bucket, versioned):
        for number, size in enumerate((1, 5 * MIB, 2, 9 * MIB)):  # the server keeps large ones in chunks
            store.put(place, f"{prefix}{number}", b"x" * size)
        found = [*store.pin_below(place, prefix)]
        assert len(found) == 4
        assert found == [store.pin(place, one.key) for one in found]


def test_wrong_credentials_and_missing_buckets_are_user_errors(
    stack: Settings, store: ObjectStore, bucket: str
) -> None:
    wrong = store_of(stack, secret="wrong")  # the point of the test
    for call in (lambda: wrong.pin(bucket, "x"), lambda: wrong.get(bucket, "x"), lambda: wrong.put(bucket, "x", b"")):
        with pytest.raises(UserError, match="ACCESS_DENIED"):
            call()
    with pytest.raises(UserError, match="NO_SUCH_BUCKET"):
        store.get("there-is-no-such-bucket", "x")
    with pytest.raises(UserError, match="BAD_OBJECT_NAME"):
        store.pin(bucket, "")


def test_absent_server_is_an_outage(stack: Settings, bucket: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        off = store_of(stack, endpoint=f"http://127.0.0.1:{unused.getsockname()[1]}", timeout_s=5)
        for call in (lambda: off.pin(bucket, "x"), lambda: off.put(bucket, "x", b"")):
            with pytest.raises(RetriableError, match="S3_UNAVAILABLE"):
                call()


class CuttingProxy:
    """Forwards TCP connections; the first `cuts` connections with so many bytes are cut after `after` bytes."""

    def __init__(self, target: str, *, after: int, cuts: int) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self.after = after
        self._lock = threading.Lock()
        self.cuts_left = cuts
        self.sent = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            for pump in (self._upstream, self._downstream):
                threading.Thread(target=pump, args=(client, server), daemon=True).start()

    @staticmethod
    def _upstream(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)

    def _downstream(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
                passed += len(data)
                self.sent += len(data)
                if passed > self.after:
                    with self._lock:
                        cut = self.cuts_left > 0
                        self.cuts_left -= cut
                    if cut:
                        break
        for side in (client, server):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()


@pytest.fixture
def cutting(stack: Settings) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(stack.s3_endpoint, after=600_000, cuts=5)
    yield proxy
    proxy.close()


def test_broken_stream_resumes_at_its_byte(
    stack: Settings, cutting: CuttingProxy, store: ObjectStore, bucket: str, prefix: str
) -> None:
    content = random.Random(3).randbytes(6_000_000)
    store.put(bucket, prefix + "f", content)
    through = store_of(stack, endpoint=cutting.endpoint)
    assert content_of(through, through.pin(bucket, prefix + "f"), block_bytes=3_000_000) == content
    assert cutting.cuts_left == 0
    assert cutting.sent < len(content) + 5 * MIB  # starting over each time would send 3 MB more per cut


def csv_bytes(rows: int) -> bytes:
    return b"user_id,n\n" + b"".join(b"user-%020d,%d\n" % (i, i) for i in range(rows))


@pytest.fixture(scope="module")
def large() -> bytes:
    """More than the read-ahead of the parser, so that a later fault hits in the middle."""
    return csv_bytes(1_500_000)


def test_object_is_parsed_while_streaming(store: ObjectStore, bucket: str, prefix: str) -> None:
    spec = spec_of("n:long")
    rows = 100_000
    content = csv_bytes(rows)
    for name, stored in (("f.csv", content), ("f.csv.gz", gzip.compress(content, 1))):
        store.put(bucket, prefix + name, stored)
        with open_parsed(store.pin(bucket, prefix + name), spec, store=store) as parsed:
            accepted = sum(batch.num_rows for batch in parsed)
        assert accepted == parsed.summary.rows == rows
        assert (parsed.summary.source_bytes, parsed.summary.decoded_bytes) == (len(stored), len(content))


def test_a_parquet_object_is_copied_first(store: ObjectStore, bucket: str, prefix: str) -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"user_id": ["a", "b"], "n": [1, 2]}), out)
    store.put(bucket, prefix + "f", out.getvalue())
    spec = spec_of("n:long")
    with open_parsed(store.pin(bucket, prefix + "f"), spec, store=store) as parsed:
        assert collect(parsed, arrow_schema(spec.row_schema, ordinal=True)).rows == [(0, "a", 1), (1, "b", 2)]


def check_ids(batches: Iterator[pa.RecordBatch | RejectBatch]) -> None:
    for batch in batches:
        assert not isinstance(batch, RejectBatch)
        assert pc.all(pc.starts_with(batch.column(1), "user-")).as_py()


@pytest.mark.parametrize("what", ["overwritten", "deleted"])
def test_object_changed_during_parsing_is_never_a_mixture(
    store: ObjectStore, bucket: str, prefix: str, large: bytes, what: str
) -> None:
    store.put(bucket, prefix + "f.csv", large)
    source = store.pin(bucket, prefix + "f.csv")
    with open_parsed(source, spec_of("n:long"), store=store) as parsed:
        batches = iter(parsed)
        next(batches)
        if what == "overwritten":
            store.put(bucket, prefix + "f.csv", large.replace(b"user-", b"else-"))
        else:
            store.delete(bucket, prefix + "f.csv")
        with pytest.raises(UserError) as caught:
            check_ids(batches)
        assert caught.value.code == ("SOURCE_CHANGED" if what == "overwritten" else "SOURCE_GONE")
        with pytest.raises(RuntimeError):
            _ = parsed.summary


def test_outage_during_parsing_is_not_the_end_of_the_file(
    stack: Settings, store: ObjectStore, bucket: str, prefix: str, large: bytes
) -> None:
    store.put(bucket, prefix + "f.csv", large)
    proxy = CuttingProxy(stack.s3_endpoint, after=9 * MIB, cuts=1_000_000)
    try:
        through = store_of(stack, endpoint=proxy.endpoint, timeout_s=5, resume_s=3)
        with open_parsed(through.pin(bucket, prefix + "f.csv"), spec_of("n:long"), store=through) as parsed:
            batches = iter(parsed)
            next(batches)
            proxy.close()
            proxy.after = 0
            with pytest.raises(MusterError) as caught:
                check_ids(batches)
        assert caught.value.code == "S3_UNAVAILABLE"
        assert isinstance(caught.value, RetriableError)
    finally:
        proxy.close()
