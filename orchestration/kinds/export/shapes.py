"""The part of a version that an export takes: its other audiences pinned to versions, with their files."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from connectors.sinks.selection import PinnedVersion
from connectors.sinks.shaping import Attributes, Shape, Suppression
from orchestration.kinds.export.versions import resolve_version
from schemas.export_shape import AudienceVersion, ExportShape
from schemas.ids import tenant_name

if TYPE_CHECKING:
    from orchestration.catalog.audiences import AudienceStore
    from segmentation.versions import VersionStore


def pinned_shape(audiences: "AudienceStore", versions: "VersionStore", tenant: str, shape: ExportShape) -> ExportShape:
    """Pin every other audience to a version, the current one by default, so that a repeat takes the same.

    All are audiences of `tenant`. Raises `UserError` UNKNOWN_AUDIENCE, NOTHING_PUBLISHED, NO_SUCH_VERSION.
    """

    def pin(one: AudienceVersion) -> AudienceVersion:
        audience = audiences.get(tenant_name(tenant), one.audience)
        return replace(one, version=resolve_version(versions, audience, version=one.version))

    return shape.pin_versions(pin)


def shape_with_files(
    shape: ExportShape, version: PinnedVersion, files: Callable[[AudienceVersion], PinnedVersion]
) -> Shape | None:
    """A pinned shape with its files. None if the export takes everything. Raises as `Shape` and `files` do."""
    if shape == ExportShape():
        return None
    return Shape(
        version=version,
        where=shape.where,
        attributes=tuple(
            Attributes(audience=lookup.source.audience, version=files(lookup.source), columns=lookup.columns)
            for lookup in shape.attributes
        ),
        suppress=tuple(Suppression(audience=one.audience, version=files(one)) for one in shape.suppress),
        columns=shape.columns,
        partition_by=shape.partition_by,
    )
