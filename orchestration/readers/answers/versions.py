"""Differences between versions of an audience."""

from typing import Any, Final

from connectors.sinks.comparing import compare
from orchestration.operations.exports import pinned
from orchestration.readers.questions import CompareVersions
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


ANSWERS: Final = {CompareVersions: compare_versions}
