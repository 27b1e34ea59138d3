"""Versions of an audience: their differences, and one as a file."""

from typing import Any, Final

from connectors.sinks.comparing import KINDS, Change, Sample, compare
from orchestration.answers.reading import Reading
from orchestration.kinds.export.request import moment_of
from orchestration.kinds.export.versions import resolve_version
from orchestration.operations import queries
from orchestration.operations.queries import pinned
from orchestration.readers.questions import CompareVersions, WriteFile


def compare_versions(reading: Reading, asked: CompareVersions) -> dict[str, Any]:
    """Members added, removed, changed and kept, and some ids of each. Raises `UserError` NO_SUCH_VERSION."""
    context = reading.context
    audience = context.audiences.get(asked.tenant, asked.audience)
    sides = [pinned(context.versions, audience, version=number) for number in (asked.earlier, asked.later)]
    kinds = KINDS if asked.change is None else (asked.change,)
    sample = Sample(size=asked.sample, after=asked.after, kinds=kinds, values=asked.values)
    found = compare(*sides, s3=context.s3, limits=context.duck_limits, sample=sample)
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
        **({"changes": [_change_record(one) for one in found.changes]} if asked.values else {}),
    }


def _change_record(one: Change) -> dict[str, Any]:
    values = {name: {"earlier": earlier, "later": later} for name, (earlier, later) in one.columns.items()}
    return {"user": one.user, "columns": values}


def write_file(reading: Reading, asked: WriteFile) -> dict[str, Any]:
    """The file, as `muster export --to FILE.parquet --json`. Raises as `queries.export` and `resolve_version`."""
    context = reading.context
    audience = context.audiences.get(asked.tenant, asked.audience)
    moment = moment_of(asked.as_of)
    version = resolve_version(context.versions, audience, version=asked.version, as_of=moment)
    info, done = queries.export(
        audience,
        version=version,
        destination=asked.to,
        overwrite=asked.overwrite,
        limits=context.duck_limits,
        s3=context.s3,
        settings=context.settings,
        versions=context.versions,
    )
    return {
        "audience": audience.name,
        "tenant": audience.tenant,
        "version": info.version,
        "to": done.uri,
        "rows": done.rows,
        "bytes": done.bytes,
        "sha256": done.sha256,
        "digest": str(done.digest),
    }


ANSWERS: Final = {CompareVersions: compare_versions, WriteFile: write_file}
