"""Versions of an audience: their differences, and one as a file."""

from typing import Any, Final

from connectors.sinks.comparing import KINDS, Change, Sample, compare
from connectors.sinks.parquet_export import ExportedFile, export_parquet
from connectors.sinks.selection import PinnedVersion
from orchestration.answers.reading import Reading
from orchestration.catalog.records import Audience
from orchestration.composition.context import Context
from orchestration.kinds.export.request import moment_of
from orchestration.kinds.export.versions import resolve_version
from orchestration.kinds.places import require_export_prefix
from orchestration.kinds.query_data import version_files
from orchestration.readers.questions import CompareVersions, WriteFile
from segmentation.versions import VersionInfo


def compare_versions(reading: Reading, asked: CompareVersions) -> dict[str, Any]:
    """Members added, removed, changed and kept, and some ids of each. Raises `UserError` NO_SUCH_VERSION."""
    context = reading.context
    audience = context.audiences.get(asked.tenant, asked.audience)
    sides = [_pinned(context, audience, number) for number in (asked.earlier, asked.later)]
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


def _pinned(context: Context, audience: Audience, number: int) -> PinnedVersion:
    version = resolve_version(context.versions, audience, version=number, as_of=None)
    info, parts = version_files(context.versions, audience, version)
    return PinnedVersion(info=info, parts=parts)


def _change_record(one: Change) -> dict[str, Any]:
    values = {name: {"earlier": earlier, "later": later} for name, (earlier, later) in one.columns.items()}
    return {"user": one.user, "columns": values}


def write_file(reading: Reading, asked: WriteFile) -> dict[str, Any]:
    """The file, as `muster export --to FILE.parquet --json`. Raises as `export` and `resolve_version`."""
    context = reading.context
    audience = context.audiences.get(asked.tenant, asked.audience)
    moment = moment_of(asked.as_of)
    version = resolve_version(context.versions, audience, version=asked.version, as_of=moment)
    info, done = export(context, audience, version=version, to=asked.to, overwrite=asked.overwrite)
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


def export(
    context: Context, audience: Audience, *, version: int | None, to: str, overwrite: bool
) -> tuple[VersionInfo, ExportedFile]:
    """Write a version (default: the current one) as one Parquet file to `s3://bucket/key`.

    Raises `UserError` NOTHING_PUBLISHED, NO_SUCH_VERSION, BAD_DESTINATION, and as `export_parquet` does.
    """
    require_export_prefix(context.settings, audience.tenant, to)
    info, parts = version_files(context.versions, audience, version)
    return info, export_parquet(info, parts, to, s3=context.s3, limits=context.duck_limits, overwrite=overwrite)


ANSWERS: Final = {CompareVersions: compare_versions, WriteFile: write_file}
