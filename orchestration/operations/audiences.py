"""Operations on audiences and their versions. The lake changes before the catalog, which only describes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from orchestration.catalog.records import Audience, Retention
from orchestration.catalog.references import ref_of
from orchestration.operations.submit import check_names, require_tenant
from orchestration.platform.clock import fresh_id, now_ms
from schemas.columns import ImportKind, RowSchema
from schemas.errors import RetriableError, UserError
from schemas.file_lists import Folders
from schemas.ids import AudienceName, JobId, Version, audience_name, tenant_name
from schemas.import_spec import ImportSpec
from schemas.import_targets import activity_spec, configured_spec
from schemas.records import as_record
from segmentation.columns import ColumnChanges, check_change, ordered
from segmentation.versions import AlreadyPublished, BaseMoved, Expired, Published, PublishOutcome, SupersededBy

if TYPE_CHECKING:
    from orchestration.catalog.audiences import AudienceStore
    from orchestration.catalog.consent import ConsentStore
    from orchestration.catalog.jobs import JobStore
    from orchestration.catalog.segments import SegmentStore
    from orchestration.kinds.specs import CurrentVersions, Specs
    from segmentation.versions import AudienceRef, VersionInfo, VersionStore


class NumberedVersions(Protocol):
    """Part of `VersionStore`, which the service has without the lake."""

    def version(self, audience: "AudienceRef", number: Version) -> "VersionInfo":
        """See `VersionStore.version`."""


COLUMN_KEYS: Final = frozenset({"columns", "drop_columns", "retype_columns", "allow_missing_columns"})
"""Keys of an import spec that are checked against existing versions."""


def find(audiences: "AudienceStore", tenant: str, name: str) -> Audience:
    """The audience with that name. Raises `UserError` BAD_NAME, UNKNOWN_AUDIENCE."""
    return audiences.get(tenant_name(tenant), audience_name(name))


def create(
    audiences: "AudienceStore", tenant: str, name: str, changes: Mapping[str, Any], retention: Mapping[str, int | None]
) -> Audience:
    """Create an audience. Raises `UserError` BAD_NAME, UNKNOWN_TENANT, AUDIENCE_EXISTS, BAD_SPEC, BAD_RETENTION."""
    tenant_, name_ = check_names(audiences, tenant, name)
    spec = replace(ImportSpec().with_changes(changes), drop_columns=(), retype_columns=())
    kept = changed_retention(Retention(), retention)
    audience = audiences.create(tenant_, name_, new_id=fresh_id(), now_ms=now_ms(), spec=spec)
    if retention:
        audiences.configure(audience.audience_id, spec=spec, retention=kept)
    return audiences.get(tenant_, name_)


def configure(
    tenant: str,
    name: str,
    changes: Mapping[str, Any],
    retention: Mapping[str, int | None],
    *,
    audiences: "AudienceStore",
    specs: "Specs",
    versions: "Callable[[], CurrentVersions]",
    folders: Folders | None = None,
    recipients: Mapping[str, Sequence[str]] = MappingProxyType({}),
    check: Callable[[Audience], None] = lambda _: None,
) -> Audience:
    """Change spec, retention and, by channel, recipients; running jobs keep theirs. None: see `_with_defaults`.

    Columns of the current version that the new settings drop or retype must be named; they may then change once.
    `versions` is called only if columns change, since the lake is slow to load. `check` may refuse by the audience and
    its recipients as they are before.

    Raises `UserError` UNKNOWN_AUDIENCE, BAD_SPEC, NO_SUCH_COLUMN, COLUMNS_WOULD_CHANGE.
    """
    audience = find(audiences, tenant, name)
    check(audience)
    kept_versions = changed_retention(audience.retention, retention)
    changes = _with_defaults(changes, ImportSpec())
    spec, with_columns = audience.spec.with_changes(changes), not COLUMN_KEYS.isdisjoint(changes)
    if with_columns:
        spec = _with_changed_columns(audience, changes, specs=specs, versions=versions())
    audiences.configure(
        audience.audience_id,
        spec=spec,
        retention=kept_versions,
        folders=folders,
        with_columns=with_columns,
        recipients=recipients,
        check=check,
    )
    return find(audiences, tenant, name)


def _with_defaults(changes: Mapping[str, Any], default: ImportSpec) -> dict[str, Any]:
    """Changes whose None is replaced by the default; without permissions for columns, which have none.

    None stays a value of `max_shrink_percent`.
    """
    written = {"delimiter": default.delimiter, "encoding": default.encoding}  # not in the record of a default
    defaults = {"allow_missing_columns": [], **written, **default.as_record(), "max_shrink_percent": None}
    given = {name: defaults.get(name) if value is None else value for name, value in changes.items()}
    return {name: value for name, value in given.items() if value is not None or name in defaults}


def _with_changed_columns(
    audience: Audience, changes: Mapping[str, Any], *, specs: "Specs", versions: "CurrentVersions"
) -> ImportSpec:
    current, kept = versions.current(ref_of(audience)), specs.stored(audience)
    spec, before = kept.with_changes(changes), RowSchema() if current is None else current.row_schema
    named = {name for key in sorted(COLUMN_KEYS - {"columns"}) for name in changes.get(key, ())}
    if unknown := sorted(named - {c.name for c in (*kept.columns, *before.columns, *spec.columns)}):
        raise UserError(
            "NO_SUCH_COLUMN",
            f"audience {audience.name} has no column {', '.join(unknown)}; it has "
            f"{', '.join(c.name for c in (kept.columns or before.columns)) or 'none'}",
            audience=audience.name,
            columns=unknown,
        )
    check_change(audience.name, before, spec.row_schema, drop={*spec.drop_columns}, retype={*spec.retype_columns})
    due = ColumnChanges.between(before, spec.row_schema)
    return replace(
        spec,
        columns=ordered(spec.columns, kept.columns),
        drop_columns=tuple(c.name for c in due.dropped),
        retype_columns=tuple(c.name for c in due.retyped),
    )


def configure_activity(
    tenant: str, kind: ImportKind, changes: Mapping[str, Any], *, audiences: "AudienceStore", specs: "Specs"
) -> ImportSpec:
    """Change how all files of events or profiles of a tenant are read; returns the resulting spec. None as above.

    Raises `UserError` UNKNOWN_TENANT, BAD_SPEC, COLUMNS_WOULD_CHANGE.
    """
    tenant_ = tenant_name(tenant)
    require_tenant(audiences, tenant_)
    changes = _with_defaults(changes, activity_spec(kind, {}))
    specs.for_activity(tenant_, kind, changes)
    audiences.update_activity_spec(tenant_, kind, lambda kept: configured_spec(kept, kind, changes))
    return activity_settings(audiences, tenant, kind)


def activity_settings(audiences: "AudienceStore", tenant: str, kind: ImportKind) -> ImportSpec:
    """How files of events or profiles of a tenant are read. Raises `UserError` UNKNOWN_TENANT."""
    tenant_ = tenant_name(tenant)
    require_tenant(audiences, tenant_)
    return audiences.activity_spec(tenant_, kind) or activity_spec(kind, {})


def changed_retention(retention: Retention, changes: Mapping[str, int | None]) -> Retention:
    """Retention with `versions` or `days` changed; None for its default. Raises `UserError` BAD_RETENTION."""
    default = Retention()
    changed = replace(retention, **{name: getattr(default, name) if n is None else n for name, n in changes.items()})
    if changed.versions < 1 or changed.days < 0:
        raise UserError("BAD_RETENTION", "at least 1 version and 0 days are kept", **as_record(changed))
    return changed


def rollback(
    versions: "VersionStore",
    audience: Audience,
    to_version: int,
    reason: str = "",
    *,
    operation: JobId | None = None,
) -> Published | AlreadyPublished:
    """Publish an older version's members as a new version, once for each id of an operation.

    Raises `UserError` NO_SUCH_VERSION, `RetriableError` VERSION_MOVED.
    """
    operation = operation or fresh_id()
    outcome = versions.rollback(
        ref_of(audience),
        Version(to_version),
        operation_id=operation,
        order_key=_order_key(operation),
        at=datetime.now(UTC),
        reason=reason,
    )
    return _published(audience, outcome)


def compact(
    versions: "VersionStore", audience: Audience, target_bytes: int, *, operation: JobId
) -> Published | AlreadyPublished:
    """Publish the same members in fewer files, as a new version, once for each id of an operation.

    Raises `UserError` NOTHING_PUBLISHED, `RetriableError`.
    """
    ref = ref_of(audience)
    require_published(audience, versions.current(ref))
    outcome = versions.compact(ref, operation_id=operation, at=datetime.now(UTC), target_bytes=target_bytes)
    return _published(audience, outcome)


def require_published(audience: Audience, current: "VersionInfo | None") -> None:
    """Raises `UserError` NOTHING_PUBLISHED without a current version."""
    if current is None:
        raise UserError("NOTHING_PUBLISHED", f"audience {audience.name} has no version yet", audience=audience.name)


def expire(
    audiences: "AudienceStore",
    jobs: "JobStore",
    store: "VersionStore",
    audience: Audience,
    *,
    versions: int | None,
    days: int | None,
) -> Expired:
    """Expire old versions by the audience's retention, or by the given numbers. Raises `UserError` BAD_RETENTION."""
    changes = {name: n for name, n in (("versions", versions), ("days", days)) if n is not None}
    retention = changed_retention(audience.retention, changes)
    return store.expire(
        ref_of(audience),
        keep_last=retention.versions,
        keep_younger_than=timedelta(days=retention.days),
        now=datetime.now(UTC),
        pins=audiences.retained(audience.audience_id),
        live_imports=frozenset(live_jobs(jobs, audience)),
    )


def pin(audience: Audience, number: int, *, audiences: "AudienceStore", versions: "NumberedVersions") -> None:
    """Keep a version regardless of retention. Raises `UserError` NO_SUCH_VERSION.

    The pin is written before the version is looked up: an expiry that did not see the pin has removed the version by
    then.
    """
    version = Version(number)
    audiences.pin(audience.audience_id, version, now_ms())
    try:
        versions.version(ref_of(audience), version)
    except UserError:
        audiences.unpin(audience.audience_id, version)
        raise


def rename(
    audience: Audience, new_name: str, *, audiences: "AudienceStore", segments: "SegmentStore", versions: "VersionStore"
) -> Audience:
    """Rename an audience. Raises `UserError` BAD_NAME, AUDIENCE_EXISTS, NAME_TAKEN, AUDIENCE_IN_USE."""
    name = audience_name(new_name)
    check_rename(audience, name, audiences=audiences, segments=segments)
    # After a crash between these two, repeating the command repairs it: the lake finds an audience by its id.
    versions.rename(ref_of(audience), name)
    audiences.rename(audience.audience_id, audience.tenant, name)
    return audiences.get(audience.tenant, name)


def delete(
    audience: Audience,
    *,
    audiences: "AudienceStore",
    jobs: "JobStore",
    segments: "SegmentStore",
    versions: "VersionStore",
    consent: "ConsentStore",
) -> None:
    """Delete an audience with all its versions, permanently.

    Raises `UserError` AUDIENCE_BUSY while its jobs run, AUDIENCE_IN_USE.
    """
    check_delete(audience, jobs=jobs, segments=segments, consent=consent)
    versions.drop(ref_of(audience))
    audiences.delete(audience.audience_id)


def check_rename(
    audience: Audience, name: AudienceName, *, audiences: "AudienceStore", segments: "SegmentStore"
) -> None:
    """Raises `UserError` as `rename`."""
    _check_unused(segments, audience)
    audiences.check_free(audience.tenant, name)
    if any(other.name == name for other in audiences.all(audience.tenant)):
        raise UserError(
            "AUDIENCE_EXISTS",
            f"tenant {audience.tenant} already has an audience {name!r}",
            tenant=audience.tenant,
            audience=name,
        )


def check_delete(audience: Audience, *, jobs: "JobStore", segments: "SegmentStore", consent: "ConsentStore") -> None:
    """Raises `UserError` as `delete`."""
    _check_unused(segments, audience)
    if consent.uses(audience.tenant, audience.audience_id):
        raise UserError(
            "AUDIENCE_IN_USE",
            f"the consent policy of tenant {audience.tenant} leaves out the members of {audience.name}; take the list "
            f"out of it first (`muster consent remove {audience.name}`)",
            audience=audience.name,
        )
    if live := live_jobs(jobs, audience):
        raise UserError(
            "AUDIENCE_BUSY",
            f"{len(live)} job(s) of audience {audience.name} are running, first {live[0]}; cancel them or wait",
            audience=audience.name,
            jobs=live,
        )


def _check_unused(segments: "SegmentStore", audience: Audience) -> None:
    from segmentation.rules.references import referrers  # readers of audiences need no rules

    if users := referrers("audience", audience.name, segments.rules(audience.tenant)):
        raise UserError(
            "AUDIENCE_IN_USE",
            f"the rules of these segments name {audience.name}: {', '.join(users)}; edit or delete them first",
            audience=audience.name,
            segments=list(users),
        )


def live_jobs(jobs: "JobStore", audience: Audience) -> list[JobId]:
    """Jobs of the audience that have not ended."""
    return [job.job_id for job in jobs.live() if job.audience_id == audience.audience_id]


def _order_key(operation: JobId) -> str:
    """The current time as an import's order key: files last modified earlier are superseded from now on."""
    return f"{now_ms():015d}/{'':0>32}/{operation}"


def _published(audience: Audience, outcome: PublishOutcome) -> Published | AlreadyPublished:
    match outcome:
        case Published() | AlreadyPublished():
            return outcome
        case BaseMoved():
            raise RetriableError(
                "VERSION_MOVED",
                f"version {outcome.current_version} of {audience.name} was published in the meantime; check "
                "it, then try again",
                audience=audience.name,
                current_version=outcome.current_version,
            )
        case SupersededBy():
            raise AssertionError("only an import is superseded, an operation comes after everything")
