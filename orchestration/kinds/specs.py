"""How the files of an audience, or of events or profiles of a tenant, are read, and how imports change that."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.records import Audience, Job
from orchestration.catalog.references import ref_of
from schemas.columns import ImportKind, RowSchema
from schemas.errors import UserError
from schemas.ids import TenantName
from schemas.import_spec import ImportSpec
from schemas.import_targets import RESERVED, activity_spec, learned_spec
from segmentation.columns import check_change, first_spec, ordered, updated_spec, with_version_columns
from segmentation.publishing import check_columns
from segmentation.versions import AudienceRef, VersionInfo


def import_spec(name: str, stored: ImportSpec, overrides: Mapping[str, Any]) -> ImportSpec:
    """The spec of an import into an audience whose stored spec is `stored`.

    Raises `UserError` BAD_SPEC, COLUMNS_WOULD_CHANGE, SCHEMA_MISMATCH.
    """
    spec = stored.with_changes(overrides)
    if spec.kind != "audience":
        raise UserError("BAD_SPEC", f"{spec.kind} cannot be imported as an audience", kind=spec.kind)
    spec = replace(spec, columns=ordered(spec.columns, stored.columns))
    if untyped := sorted(set(overrides.get("retype_columns", ())) - {column.name for column in spec.columns}):
        raise UserError("BAD_SPEC", f"give the new type: --column {untyped[0]}:TYPE", columns=untyped)
    _check_kept(spec, overrides)
    if spec.mode == "replace":
        drop, retype = {*spec.drop_columns}, {*spec.retype_columns}
        check_change(name, stored.row_schema, spec.row_schema, drop=drop, retype=retype)
    elif spec.mode == "append":
        check_columns(stored.row_schema, spec.row_schema)
    return spec


def _check_kept(spec: ImportSpec, overrides: Mapping[str, Any]) -> None:
    """Refuse to let a file lack a column that is not kept: its name may be misspelt. Raises `UserError` BAD_SPEC."""
    kept = {column.name for column in spec.columns}
    if unknown := sorted({*overrides.get("allow_missing_columns", ())} - kept):
        raise UserError(
            "BAD_SPEC",
            f"a file may lack a kept column, but {', '.join(unknown)} is not; name it with --column, or one of: "
            f"{', '.join(sorted(kept)) or 'none'}",
            columns=unknown,
        )


class CurrentVersions(Protocol):
    """Part of `VersionStore`, which the service has without the lake."""

    def current(self, audience: AudienceRef) -> VersionInfo | None:
        """See `VersionStore.current`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Specs:
    """The stored specs. `versions` loads the lake; it is called only for audiences of a release that stored none."""

    audiences: AudienceStore
    jobs: JobStore
    versions: Callable[[], CurrentVersions]

    def stored(self, audience: Audience) -> ImportSpec:
        """The stored spec of an audience; in one from before columns were stored, the columns of its newest version."""
        if audience.state != "before" or (current := self.versions().current(ref_of(audience))) is None:
            return audience.spec
        made_by = self.jobs.find(current.import_id)
        return with_version_columns(audience.spec, current.row_schema, None if made_by is None else made_by.spec)

    def store_columns(self, job: Job) -> None:
        """After the version of a job is published: the audience is `standing`, with the columns of its versions."""
        audience = None if job.audience_id is None else self.audiences.by_id(job.audience_id)
        if audience is None:
            return
        found = self.stored(audience)

        def update(audience_now: Audience) -> ImportSpec:
            if audience_now.state == "awaited":
                return first_spec(job.spec)
            return updated_spec(found if audience_now.state == "before" else audience_now.spec, job.spec)

        self.audiences.update_spec(audience.audience_id, update)

    def for_activity(self, tenant: TenantName, kind: ImportKind, overrides: Mapping[str, Any]) -> ImportSpec:
        """The spec of an import of events or profiles.

        Raises `UserError` UNKNOWN_TENANT, BAD_SPEC, COLUMNS_WOULD_CHANGE.
        """
        self.audiences.require_tenant(tenant)
        stored = self.audiences.activity_spec(tenant, kind)
        spec = activity_spec(kind, overrides, stored)
        _check_kept(spec, overrides)
        if stored is not None:
            given = {column.name: column for column in spec.columns}
            after = RowSchema(columns=tuple(given.get(c.name, c) for c in stored.known_columns))
            before = RowSchema(columns=stored.known_columns)
            check_change(RESERVED[kind], before, after, drop=frozenset(), retype={*spec.retype_columns})
        return spec

    def store_activity_columns(self, job: Job) -> None:
        """After an import of events or profiles is stored: store the types of the columns that it named."""
        if job.spec.known_columns:
            self.audiences.update_activity_spec(job.tenant, job.kind, lambda kept: learned_spec(kept, job.spec))
