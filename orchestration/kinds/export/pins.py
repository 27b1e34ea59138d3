"""Pins the versions that an export reads: of its audience, of others, of consent lists, and of a delta's base."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestration.catalog.records import Lease
from orchestration.catalog.references import ref_of
from orchestration.kinds.consent import applicable_lists, pinned_lists
from orchestration.kinds.export.base import resolve_base
from orchestration.kinds.export.shapes import pinned_shape
from orchestration.kinds.export.versions import resolve_version
from orchestration.kinds.places import DOWNLOAD, AllowedLocations
from orchestration.platform.clock import now_ms
from schemas.export_shape import ConsentLists

if TYPE_CHECKING:
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.consent import ConsentStore
    from orchestration.catalog.exports import ExportStore
    from orchestration.catalog.records import Audience
    from orchestration.kinds.export.request import ExportRequest
    from segmentation.versions import VersionStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """Where versions are looked up."""

    exports: "ExportStore"
    audiences: "AudienceStore"
    versions: "VersionStore"
    consent: "ConsentStore"

    def of(
        self, request: "ExportRequest", audience: "Audience", *, allowed: AllowedLocations
    ) -> "tuple[ExportRequest, tuple[Lease, ...]]":
        """The request with definite versions of `audience` and all others, and the leases that it needs.

        Raises `UserError` NOTHING_PUBLISHED, NO_SUCH_VERSION, UNKNOWN_AUDIENCE, SUPPRESSION_STALE, BAD_CONSENT, and as
        `resolve_base`.
        """
        policy = self.consent.of(allowed.tenant)
        lists = applicable_lists(
            policy.lists, to=request.to, profile=request.profile, downloads=allowed.resolved(DOWNLOAD, "")
        )
        pinned = pinned_lists(
            lists, exported=audience.audience_id, audiences=self.audiences, versions=self.versions, now_ms=now_ms()
        )
        policy_lists = ConsentLists(policy=policy.policy, lists=tuple(pinned)) if policy.policy else None
        request = replace(request, consent=policy_lists)
        version = resolve_version(self.versions, audience, version=request.version, as_of=request.moment)
        request = request.resolved(version, pinned_shape(self.audiences, self.versions, audience.tenant, request.shape))
        others = tuple(
            Lease(audience=ref_of(self.audiences.get(audience.tenant, one.audience)), version=one.version)
            for one in request.other_audiences
            if one.version is not None
        )
        request, base = resolve_base(request, ref_of(audience), others, exports=self.exports, versions=self.versions)
        return request, (Lease(audience=ref_of(audience), version=version), *others, *base)
