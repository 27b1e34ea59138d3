"""Versions of an audience: differences, and the changes that commit to the lake."""

from typing import Any, Final

from connectors.sinks.comparing import compare
from orchestration.operations import audiences as operations
from orchestration.operations.exports import pinned
from orchestration.readers.questions import Compact, CompareVersions, Expire, RollBack
from orchestration.readers.reading import Reading


def compare_versions(reading: Reading, asked: CompareVersions) -> dict[str, Any]:
    """Members added, removed, changed and kept, and some ids of each. Raises `UserError` NO_SUCH_VERSION."""
    context = reading.context
    audience = context.audiences.get(asked.tenant, asked.audience)
    sides = [pinned(context.versions, audience, version=number) for number in (asked.earlier, asked.later)]
    found = compare(*sides, s3=context.s3, limits=context.duck_limits, sample=asked.sample)
    counts, changed = found.counts, found.counts.updated or 0
    return {
        "audience": asked.audience,
        "tenant": asked.tenant,
        "earlier": asked.earlier,
        "later": asked.later,
        "added": counts.added,
        "removed": counts.removed,
        "changed": changed,
        "kept": counts.kept - changed,
        "sample": {kind: list(ids) for kind, ids in found.sample.items()},
    }


def roll_back(reading: Reading, asked: RollBack) -> dict[str, Any]:
    """The new version. Raises `UserError` NO_SUCH_VERSION, `RetriableError` VERSION_MOVED."""
    context = reading.context
    audience = context.audiences.get(asked.tenant, asked.audience)
    done = operations.rollback(context.versions, audience, asked.to, asked.reason)
    return {"version": done.version, "snapshot_id": done.snapshot_id, "members": done.members}


def compact(reading: Reading, asked: Compact) -> dict[str, Any]:
    """The new version. Raises `UserError` NOTHING_PUBLISHED, `RetriableError`."""
    context = reading.context
    audience = context.audiences.get(asked.tenant, asked.audience)
    done = operations.compact(context.versions, audience, asked.target_bytes)
    return {"version": done.version, "members": done.members}


def expire(reading: Reading, asked: Expire) -> dict[str, Any]:
    """What has been expired. Raises `UserError` BAD_RETENTION."""
    context = reading.context
    audience = context.audiences.get(asked.tenant, asked.audience)
    done = operations.expire(
        context.audiences, context.jobs, context.versions, audience, versions=asked.versions, days=asked.days
    )
    return {"versions": list(done.versions), "files": done.files, "bytes": done.bytes}


ANSWERS: Final = {CompareVersions: compare_versions, RollBack: roll_back, Compact: compact, Expire: expire}
