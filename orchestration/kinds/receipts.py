"""The receipt of a job: the rows of its source, what became of each, and the result. All sums are checked."""

from collections.abc import Iterable, Mapping
from typing import Any

from connectors.lake.activity_receipts import StoredRows
from connectors.verification.evidence import Evidence
from orchestration.catalog.records import Job
from orchestration.kinds.builds import VersionBuild
from orchestration.platform.clock import iso
from schemas.digest import Digest
from schemas.errors import FatalError
from schemas.records import as_record, from_record
from segmentation.columns import ColumnChanges
from segmentation.completion import Complete
from segmentation.versions import VersionInfo, emptied_columns


def make_receipt(
    job: Job, found: Complete, version: VersionInfo, before: VersionInfo | None, *, finished_at_ms: int
) -> dict[str, Any]:
    """The receipt as plain JSON data; `before` is the version that `version` followed, if it is kept.

    Raises `FatalError` RECEIPT_DOES_NOT_ADD_UP naming the sum.
    """
    if job.evidence is None:
        raise FatalError("NOT_VERIFIED", f"job {job.job_id} has no evidence", job=job.job_id)
    evidence = from_record(Evidence, job.evidence)
    distinct = sum(message.distinct for message in found.partitions)
    receipt: dict[str, Any] = {
        **_head(job),
        "version": version.version,
        "snapshot_id": version.snapshot_id,
        "attempt": found.attempt,
        **_counts(evidence),
        "duplicates": evidence.accepted - distinct,
        "distinct": distinct,
        "members": version.members,
        "digest": str(version.digest),
        "membership": None if version.counts is None else as_record(version.counts),
        "schema": job.spec.row_schema.as_record(),
        "columns": version.row_schema.as_record(),
        "column_changes": column_changes(before, version),
        "nulls_by_column": version.nulls,
        "emptied_columns": emptied_columns(before, version.members, version.nulls),
        "partitions": [
            {
                "partition": message.partition,
                "chunks": message.chunks,
                "records": message.records,
                "distinct": message.distinct,
                "digest": str(message.digest),
                "distinct_digest": str(message.distinct_digest),
            }
            for message in found.partitions
        ],
        "started_at": iso(job.created_at_ms),
        "finished_at": iso(finished_at_ms),
    }
    if job.segment is not None:
        receipt |= _snapshot(job, receipt["partitions"])
    if (fault := receipt_fault(receipt)) is not None:
        raise FatalError("RECEIPT_DOES_NOT_ADD_UP", f"job {job.job_id}: {fault}", job=job.job_id)
    return receipt


def make_activity_receipt(
    job: Job, report: Mapping[str, Any], stored: Iterable[StoredRows], *, finished_at_ms: int
) -> dict[str, Any]:
    """The receipt of an import of events or profiles; `report` is what the attempt has sent.

    `stored` are the rows that are new: of events, those that no row before them, and nothing that was sent before the
    file, says already. Raises `FatalError` ROWS_NOT_STORED, RECEIPT_DOES_NOT_ADD_UP.
    """
    if job.evidence is None:
        raise FatalError("NOT_VERIFIED", f"job {job.job_id} has no evidence", job=job.job_id)
    evidence, found = from_record(Evidence, job.evidence), tuple(stored)
    if (arrived := sum(partition.ordinals for partition in found)) != evidence.accepted:
        raise FatalError(
            "ROWS_NOT_STORED",
            f"job {job.job_id}: the archive has {arrived} of {evidence.accepted} accepted rows; `muster dead-letters "
            "list` shows refused records",
            job=job.job_id,
            accepted=evidence.accepted,
            stored=arrived,
        )
    receipt = {
        **_head(job),
        "attempt": job.attempt,
        **_counts(evidence),
        "stored": (new := sum(partition.new for partition in found)),
        "duplicates": arrived - new,
        "schema": job.spec.row_schema.as_record(),
        "partitions": [dict(sent) for sent in report["partitions"]],
        "started_at": iso(job.created_at_ms),
        "finished_at": iso(finished_at_ms),
    }
    if (fault := receipt_fault(receipt)) is not None:
        raise FatalError("RECEIPT_DOES_NOT_ADD_UP", f"job {job.job_id}: {fault}", job=job.job_id)
    return receipt


def activity_outcome(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """The outcome of a READY import of events or profiles."""
    return {name: receipt[name] for name in ("stored", "duplicates", "attempt")}


def column_changes(before: VersionInfo | None, version: VersionInfo) -> dict[str, Any] | None:
    """Changes of columns since the previous version. None for a first version, or if the previous one has expired."""
    return None if before is None else ColumnChanges.between(before.row_schema, version.row_schema).as_record()


def _head(job: Job) -> dict[str, Any]:
    return {
        "job": job.job_id,
        "kind": job.shown_kind,
        "audience": job.audience,
        "tenant": job.tenant,
        "state": "READY",
        "mode": job.mode,
        "source": _source(job),
    }


def _source(job: Job) -> dict[str, Any]:
    if job.segment is not None:
        return {"segment": job.segment}
    return {
        "bucket": job.source["bucket"],
        "key": job.source["key"],
        "version_id": job.source.get("version_id"),
        "etag": job.source.get("etag"),
        "bytes": job.source["size"],
        **{name: job.source[name] for name in ("files", "left_out", "left_out_names", "query") if name in job.source},
    }


def _snapshot(job: Job, partitions: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The rule and its instant, and the log position of each partition."""
    build = VersionBuild.of(job)
    assert build is not None and build.snapshot is not None  # noqa: S101, PT018  # none is published before it is built
    snapshot = build.snapshot
    cuts = {cut["partition"]: cut for cut in snapshot.cuts}
    return {
        "snapshot": as_record(snapshot.rule),
        "outside": snapshot.outside,
        "known_only_by": snapshot.known_only_by,
        "partitions": [{**partition, **cuts[partition["partition"]]} for partition in partitions],
    }


def _counts(evidence: Evidence) -> dict[str, Any]:
    return {
        "rows": evidence.rows,
        "accepted": evidence.accepted,
        "rejected": evidence.rejected,
        "rejected_by_code": dict(evidence.rejected_by_code),
    }


def outcome_of(version: VersionInfo) -> dict[str, Any]:
    """The outcome of a READY job that made a version."""
    return {
        "version": version.version,
        "snapshot_id": version.snapshot_id,
        "members": version.members,
        "digest": str(version.digest),
        "attempt": version.attempt,
    }


def receipt_fault(receipt: dict[str, Any]) -> str | None:
    """The first sum of a receipt that does not add up. None if all do."""
    partitions = receipt["partitions"]
    checks = {
        "rows = accepted + rejected": (receipt["rows"], receipt["accepted"] + receipt["rejected"]),
        "rejected = its codes": (receipt["rejected"], sum(receipt["rejected_by_code"].values())),
        "accepted = records of the partitions": (receipt["accepted"], sum(p["records"] for p in partitions)),
    }
    if "stored" in receipt:
        checks["accepted = stored + duplicates"] = (receipt["accepted"], receipt["stored"] + receipt["duplicates"])
    else:
        checks |= _version_checks(receipt)
    for name, (left, right) in checks.items():
        if left != right:
            return f"{name} does not hold: {left} is not {right}"
    return None


def _version_checks(receipt: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    partitions = receipt["partitions"]
    checks: dict[str, tuple[Any, Any]] = {
        "distinct = distinct of the partitions": (receipt["distinct"], sum(p["distinct"] for p in partitions)),
        "accepted = distinct + duplicates": (receipt["accepted"], receipt["distinct"] + receipt["duplicates"]),
    }
    if receipt["mode"] == "replace":
        total = Digest.total(
            Digest.parse(receipt["digest"]).schema_id, (Digest.parse(p["distinct_digest"]) for p in partitions)
        )
        checks["distinct = members"] = (receipt["distinct"], receipt["members"])
        checks["digest of the partitions = digest of the members"] = (str(total), receipt["digest"])
    if (counts := receipt.get("membership")) is not None:
        checks["base = removed + kept"] = (counts["base"], counts["removed"] + counts["kept"])
        checks["members = added + kept"] = (receipt["members"], counts["added"] + counts["kept"])
    return checks
