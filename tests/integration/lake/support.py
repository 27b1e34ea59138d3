"""SeaweedFS for the test session, and audiences in it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from orchestration.local import processes
from schemas.arrow import arrow_schema
from schemas.columns import RowSchema
from schemas.ids import Attempt, AudienceName, JobId, Partition, TenantName, Version, new_job_id
from schemas.layout import audience_prefix, part_name, s3_uri
from schemas.partitioning import partition_users
from schemas.row_digest import digest_rows
from segmentation.versions import AudienceRef, MembershipCounts, Part, PublishRequest
from tests.servers.ports import free_ports

BUCKET = "lake"
PARTNER = "partner"
"""A third party's bucket: only there, `partner` has all rights, `writer` may only write, `reader` only read."""
AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
START_S = 60


@contextmanager
def object_server(home: Path) -> Iterator[S3Access]:
    """SeaweedFS on free loopback ports, with our bucket and a third party's. It encrypts objects on request."""
    secret = secret_of("lake")
    allowed = {
        "lake": ["Admin"],
        "role": ["Admin"],
        "partner": [f"{action}:{PARTNER}" for action in ("Read", "Write", "List")],
        "writer": [f"Write:{PARTNER}"],
        "reader": [f"{action}:{PARTNER}" for action in ("Read", "List")],
    }
    identities = [
        {"name": key, "credentials": [{"accessKey": key, "secretKey": secret_of(key)}], "actions": actions}
        for key, actions in allowed.items()
    ]
    (home / "s3.json").write_text(json.dumps({"identities": identities}))
    (home / "data").mkdir()
    p = free_ports(8)
    command = [
        str(Path(sys.executable).parent / "weed"), "-logtostderr=true", "server", f"-dir={home / 'data'}",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={p[0]}", f"-master.port.grpc={p[1]}",
        f"-volume.port={p[2]}", f"-volume.port.grpc={p[3]}", "-filer", f"-filer.port={p[4]}",
        f"-filer.port.grpc={p[5]}", "-s3", f"-s3.port={p[6]}", f"-s3.port.grpc={p[7]}",
        f"-s3.config={home / 's3.json'}", "-volume.max=30", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=64", "-master.telemetry=false",
    ]  # fmt: skip
    process = processes.spawn(command, env={**os.environ, "WEED_S3_SSE_KEY": "5e" * 32}, output=home / "weed.log")
    access = S3Access(endpoint=f"http://127.0.0.1:{p[6]}", region="us-east-1", access_key="lake", secret_key=secret)
    try:
        _wait_until_it_stores(access, process, home / "weed.log")
        yield access
    finally:
        process.kill()  # nothing of it is needed again, and a clean stop takes ten seconds
        process.wait()
        for left in (left for port in p for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")):
            left.unlink(missing_ok=True)  # the server has no option for their path


def secret_of(access_key: str) -> str:
    return f"{access_key}-secret"


def _wait_until_it_stores(access: S3Access, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            for bucket in (BUCKET, PARTNER):
                access.client().create_bucket(Bucket=bucket)
            access.client().put_object(Bucket=BUCKET, Key="exports/ready", Body=b"1")
        except Exception as exc:
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"SeaweedFS did not start: {log.read_text()[-2000:]}") from exc
            time.sleep(0.2)
        else:
            return


def limits(directory: Path) -> DuckLimits:
    return DuckLimits(memory_bytes=256 * 2**20, threads=2, temp_directory=directory / "duckdb", temp_bytes=2**30)


_numbers = iter(range(1, 1_000_000))


def new_id() -> JobId:
    return new_job_id(1_764_000_000_000 + next(_numbers), b"0123456789")


def audience(name: str = "vip", tenant: str = "acme") -> AudienceRef:
    """An audience for one test."""
    identity = new_id()
    return AudienceRef(
        tenant=TenantName(tenant),
        audience=AudienceName(f"{name}-{identity[-12:]}-{identity[:10]}"),
        audience_id=identity,
    )


@dataclass
class Parts:
    """Writes parts to memory, and to S3 if given."""

    s3: S3Access | None = None

    def __post_init__(self) -> None:
        self.tables: dict[str, pa.Table] = {}

    def read(self, part: Part, schema: RowSchema) -> Iterator[pa.RecordBatch]:
        yield from self.tables[part.uri].select(list(schema.names)).to_batches()

    def write(
        self,
        ref: AudienceRef,
        import_id: JobId,
        rows: Sequence[dict[str, Any]],
        schema: RowSchema = RowSchema(),  # noqa: B008
        partitions: int = 2,
        attempt: int = 1,
    ) -> tuple[Part, ...]:
        table = pa.Table.from_pylist(list(rows), schema=arrow_schema(schema)).sort_by("user_id")
        ids = table.column("user_id").combine_chunks() if len(table) else pa.array([], pa.string())
        place = partition_users(ids, partitions)
        parts = []
        for p in range(partitions):
            rows_of_p = table.take(pa.array(place.order[place.starts[p] : place.starts[p + 1]]))
            parts.append(self.put(ref, import_id, rows_of_p, schema, p, attempt))
        return tuple(parts)

    def put(
        self, ref: AudienceRef, import_id: JobId, table: pa.Table, schema: RowSchema, partition: int, attempt: int = 1
    ) -> Part:
        digest = digest_rows(table.combine_chunks(), schema)
        name = part_name(import_id, Attempt(attempt), Partition(partition), f"{digest.sum0:016x}{digest.sum1:016x}")
        uri = s3_uri(BUCKET, audience_prefix(ref.tenant, ref.audience_id) + "data/" + name)
        self.tables[uri] = table
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        body = sink.getvalue()
        if self.s3 is not None:
            with self.s3.filesystem().open_output_stream(uri.removeprefix("s3://")) as stream:
                stream.write(body)
        return Part(uri=uri, rows=len(table), bytes=body.size, digest=digest, partition=Partition(partition))


def users(*names: str) -> list[dict[str, Any]]:
    return [{"user_id": name} for name in names]


def request(ref: AudienceRef, parts: tuple[Part, ...], order: str, **changes: Any) -> PublishRequest:
    """A replace; its import id is the one in the names of the parts."""
    values: dict[str, Any] = {
        "audience": ref,
        "import_id": JobId(parts[0].uri.rpartition("/")[2][:26]) if parts else new_id(),
        "attempt": Attempt(1),
        "mode": "replace",
        "order_key": order,
        "parts": parts,
        "partitions": 2,
        "row_schema": RowSchema(),
        "base_version": None,
        "counts": None,
        "max_shrink_percent": None,
        "published_at": AT,
    }
    return PublishRequest(**(values | changes))


def counts(
    base: int, added: int, removed: int, kept: int, base_version: int | None, updated: int | None = 0
) -> MembershipCounts:
    return MembershipCounts(
        base=base,
        added=added,
        removed=removed,
        kept=kept,
        members=added + kept,
        updated=updated,
        base_version=None if base_version is None else Version(base_version),
    )
