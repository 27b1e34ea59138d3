"""The part of a version that an export takes: its other audiences pinned to versions, with their files."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from connectors.sinks.selection import PinnedVersion
from connectors.sinks.shaping import Attributes, Shape, Suppression
from orchestration.kinds.export.versions import resolve_version
from schemas.export_shape import AudienceVersion, ExportShape
from schemas.ids import tenant_name

if TYPE_CHECKING:
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.kinds.export.request import DeliveredView, ExportRequest
    from segmentation.versions import VersionStore


def pinned_shape(audiences: "AudienceStore", versions: "VersionStore", tenant: str, shape: ExportShape) -> ExportShape:
    """Pin every other audience to a version, the current one by default, so that a repeat takes the same.

    All are audiences of `tenant`. Raises `UserError` UNKNOWN_AUDIENCE, NOTHING_PUBLISHED, NO_SUCH_VERSION.
    """

    def pin(one: AudienceVersion) -> AudienceVersion:
        audience = audiences.get(tenant_name(tenant), one.audience)
        return replace(one, version=resolve_version(versions, audience, version=one.version))

    return shape.pin_versions(pin)


def view_of(view: "DeliveredView | ExportRequest", version: PinnedVersion, others: Sequence[PinnedVersion]) -> Shape:
    """A view with its files; `others` are those of `view.other_audiences`. Raises as `Shape` does."""
    shape, count = view.shape, len(view.shape.attributes)
    looked_up, lists = others[:count], others[count:]
    standing = () if view.consent is None else view.consent.lists
    return Shape(
        version=version,
        where=shape.where,
        attributes=tuple(
            Attributes(audience=lookup.source.audience, version=found, columns=lookup.columns)
            for lookup, found in zip(shape.attributes, looked_up, strict=True)
        ),
        suppress=tuple(
            Suppression(audience=one.audience, version=found, standing=number >= len(shape.suppress))
            for number, (one, found) in enumerate(zip((*shape.suppress, *standing), lists, strict=True))
        ),
        columns=shape.columns,
        partition_by=shape.partition_by,
    )
