"""Exports with a manifest that this process carries out."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from connectors.sinks.exporting import ExportOrder, export
from connectors.sinks.selection import PinnedVersion
from orchestration.kinds.export.destinations import destination_of
from orchestration.kinds.export.request import ExportRequest
from orchestration.kinds.export.shapes import pinned_shape, shape_with_files
from orchestration.kinds.export.versions import resolve_version
from orchestration.operations.audiences import find
from orchestration.operations.queries import version_files
from orchestration.platform.clock import iso, now_ms
from schemas.export_shape import AudienceVersion
from schemas.manifest import Manifest

if TYPE_CHECKING:
    from connectors.storage.access import S3Access
    from connectors.storage.duck import DuckLimits
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.records import Audience
    from orchestration.platform.settings import Settings
    from segmentation.versions import VersionStore

RowsListener = Callable[[int], None]


def pinned(
    versions: "VersionStore", audience: "Audience", *, version: int | None = None, as_of: datetime | None = None
) -> PinnedVersion:
    """A version and its files. Raises as `resolve_version`."""
    number = resolve_version(versions, audience, version=version, as_of=as_of)
    info, parts = version_files(versions, audience, number)
    return PinnedVersion(info=info, parts=parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalExports:
    """Exports that this process carries out, without a workflow."""

    audiences: "AudienceStore"
    limits: "DuckLimits"
    s3: "S3Access"
    settings: "Settings"
    versions: "VersionStore"

    def run(self, audience: "Audience", request: ExportRequest, *, on_rows: RowsListener = lambda _: None) -> Manifest:
        """Carry out a request in this process. Raises as `pinned`, `pinned_shape`, `ExportOrder` and `export` do."""

        def files(one: AudienceVersion) -> PinnedVersion:
            return pinned(self.versions, find(self.audiences, audience.tenant, one.audience), version=one.version)

        version = pinned(self.versions, audience, version=request.version, as_of=request.moment)
        shape = pinned_shape(self.audiences, self.versions, audience.tenant, request.shape)
        order = ExportOrder(
            export_id=request.export_id,
            tenant=audience.tenant,
            audience=audience.name,
            version=version,
            base=None if request.delta_from is None else pinned(self.versions, audience, version=request.delta_from),
            format=request.format,
            created_at=iso(now_ms()),
            target_bytes=request.target_bytes,
            shape=shape_with_files(shape, version, files),
            row_group_rows=request.row_group_rows,
        )
        destination = destination_of(request, s3=self.s3, settings=self.settings)
        return export(order, destination, s3=self.s3, limits=self.limits, on_rows=on_rows)
