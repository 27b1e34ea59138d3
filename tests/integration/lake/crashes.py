"""Publishers in their own processes, some of which die at a chosen step."""

import os
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from connectors.lake.store import IcebergVersionStore
from connectors.storage.access import S3Access
from schemas.ids import JobId
from segmentation.versions import AudienceRef, BaseMoved, PublishOutcome, PublishRequest
from tests.integration.lake.support import BUCKET, Parts, counts, limits, request, users

CrashPoint = Literal["never", "before the metadata file", "before the catalog", "after the catalog"]
CRASH_POINTS: tuple[CrashPoint, ...] = ("before the metadata file", "before the catalog", "after the catalog")

# A fork server that has imported everything and opened nothing lets each publisher start at once.
processes = get_context("forkserver")
processes.set_forkserver_preload(
    ["tests.integration.lake.crashes", "pyiceberg.catalog.sql", "pyiceberg.io.pyarrow", "boto3"]
)


def open_store(catalog_url: str, s3: S3Access, directory: Path) -> IcebergVersionStore:
    return IcebergVersionStore(catalog_url=catalog_url, s3=s3, bucket=BUCKET, limits=limits(directory))


def publish_all(
    catalog_url: str,
    s3: S3Access,
    directory: Path,
    requests: Sequence[PublishRequest],
    crash: CrashPoint,
    report: Any,
) -> None:
    """Publish requests one after the other; `report.put` gets "ready", then every outcome."""
    store = open_store(catalog_url, s3, directory)
    store.current(requests[0].audience)
    _arm(crash)
    report.put("ready")
    for each in requests:
        report.put(store.publish(each))
    store.close()


def append_all(
    catalog_url: str,
    s3: S3Access,
    directory: Path,
    ref: AudienceRef,
    appends: Sequence[tuple[JobId, str]],
    report: Any,
) -> None:
    """Append one user per import; build again on the new base whenever another append came first."""
    store, parts = open_store(catalog_url, s3, directory), Parts(s3)
    for import_id, name in appends:
        outcome: PublishOutcome = BaseMoved(current_version=None)
        attempt = 0
        while isinstance(outcome, BaseMoved):
            attempt += 1
            base = store.current(ref)
            old = members_of(store, s3, ref, base.version) if base else []
            made = parts.write(ref, import_id, users(*sorted({*old, name})), attempt=attempt)
            outcome = store.publish(
                request(
                    ref,
                    made,
                    "1",
                    import_id=import_id,
                    mode="append",
                    base_version=base.version if base else None,
                    counts=counts(len(old), 1, 0, len(old), base.version if base else None),
                )
            )
        report.put(outcome)
    store.close()


def members_of(store: IcebergVersionStore, s3: S3Access, ref: AudienceRef, version: Any) -> list[str]:
    """User ids that a reader finds in a version's files."""
    import pyarrow.parquet as pq  # noqa: PLC0415  # the fork server must not start Arrow's threads

    names: list[str] = []
    for part in store.files(ref, version):
        table = pq.read_table(part.uri.removeprefix("s3://"), filesystem=s3.filesystem())
        assert table.num_rows == part.rows
        names += table.column("user_id").to_pylist()
    return names


def _arm(crash: CrashPoint) -> None:
    """Make the process die, as by kill -9, at a step of its first commit."""
    from pyiceberg.catalog.sql import SqlCatalog  # noqa: PLC0415

    write, commit = SqlCatalog._write_metadata, SqlCatalog.commit_table
    real: Any = {"write": write, "commit": commit}

    def die(*_: Any, **__: Any) -> None:
        os._exit(137)

    def write_and_die(*args: Any, **named: Any) -> None:
        real["write"](*args, **named)
        os._exit(137)

    def commit_and_die(*args: Any, **named: Any) -> None:
        real["commit"](*args, **named)
        os._exit(137)

    patches: dict[CrashPoint, tuple[str, Any]] = {
        "before the metadata file": ("commit_table", die),
        "before the catalog": ("_write_metadata", staticmethod(write_and_die)),
        "after the catalog": ("commit_table", commit_and_die),
    }
    if crash in patches:
        name, function = patches[crash]
        setattr(SqlCatalog, name, function)
