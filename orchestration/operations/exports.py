"""Exports with a manifest, and their verification."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from connectors.sinks.checking import Difference, check, import_spec
from connectors.sinks.exporting import ExportOrder, export
from connectors.sinks.receiving import read_manifest
from connectors.sinks.selection import PinnedVersion
from connectors.sources.fork_server import PARSERS
from orchestration.kinds.export.destinations import destination_of, profile_of
from orchestration.kinds.export.request import ExportRequest
from orchestration.kinds.export.shapes import pinned_shape, shape_at_hand
from orchestration.kinds.export.versions import resolve_version
from orchestration.operations.audiences import find
from orchestration.operations.reading import version_files
from orchestration.platform.clock import iso, now_ms
from schemas.errors import UserError
from schemas.export_shape import AudienceVersion
from schemas.manifest import Manifest

if TYPE_CHECKING:
    from orchestration.catalog.records import Audience
    from orchestration.context import Context

RowsListener = Callable[[int], None]


def pinned(
    context: "Context", audience: "Audience", *, version: int | None = None, as_of: datetime | None = None
) -> PinnedVersion:
    """A version and its files. Raises as `resolve_version`."""
    number = resolve_version(context.versions, audience, version=version, as_of=as_of)
    info, parts = version_files(context, audience, number)
    return PinnedVersion(info=info, parts=parts)


def export_audience(
    context: "Context", audience: "Audience", request: ExportRequest, *, on_rows: RowsListener = lambda _: None
) -> Manifest:
    """Carry out a request in this process. Raises as `pinned`, `pinned_shape`, `ExportOrder` and `export` do."""

    def files(one: AudienceVersion) -> PinnedVersion:
        return pinned(context, find(context, audience.tenant, one.audience), version=one.version)

    version = pinned(context, audience, version=request.version, as_of=request.moment)
    shape = pinned_shape(context.audiences, context.versions, audience.tenant, request.shape)
    order = ExportOrder(
        export_id=request.export_id,
        tenant=audience.tenant,
        audience=audience.name,
        version=version,
        base=None if request.delta_from is None else pinned(context, audience, version=request.delta_from),
        format=request.format,
        created_at=iso(now_ms()),
        target_bytes=request.target_bytes,
        shape=shape_at_hand(shape, version, files),
        row_group_rows=request.row_group_rows,
    )
    place = destination_of(request, s3=context.s3, settings=context.settings)
    return export(order, place, s3=context.s3, limits=context.duck_limits, on_rows=on_rows)


def verify_export(
    context: "Context", address: str, *, profile: str | None = None, on_rows: RowsListener = lambda _: None
) -> tuple[Manifest, Difference | None]:
    """Read an export back from its manifest; returns the first difference, if any. Uses no audience and no catalog.

    Raises `UserError` NO_MANIFEST, BAD_MANIFEST, UNKNOWN_PROFILE, BAD_PROFILES, ACCESS_DENIED; `RetriableError`
    S3_UNAVAILABLE.
    """
    access = context.s3 if profile is None else profile_of(context.settings, profile).access
    PARSERS.prepare()  # starts while the manifest is read
    with read_manifest(address, access, context.duck_limits.temp_directory) as (manifest, files):
        return manifest, check(manifest, files, limits=context.parse_limits(), on_rows=on_rows)


def written_as(context: "Context", address: str, source: str) -> dict[str, Any]:
    """How an import reads a file of an export: its columns, format and null token, as keys of an import spec.

    `source` is a path or a URI; its last part is looked up in the manifest. Raises `UserError` NO_MANIFEST,
    BAD_MANIFEST, NOT_IN_MANIFEST, ESCAPED_EXPORT.
    """
    with read_manifest(address, context.s3, context.duck_limits.temp_directory) as (manifest, _):
        name = source.rpartition("/")[2]
        if not any(file.key.rpartition("/")[2] == name for file in manifest.files):
            raise UserError("NOT_IN_MANIFEST", f"{address} names no file {name}", manifest=address, file=name)
        if manifest.format.formulas == "escape":
            raise UserError(
                "ESCAPED_EXPORT",
                "the texts of this export have apostrophes in front of what looks like a formula: they are not the "
                "audience's values; export it with --formulas as-is to import it",
                manifest=address,
            )
        spec = import_spec(manifest).as_record()
    return {name: spec[name] for name in ("id_column", "columns", "format", "null_values")}
