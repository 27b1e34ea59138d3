"""Tenants and audiences in the catalog."""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.listing import BY_NAME, Listing
from orchestration.catalog.names import VISIBLE, is_awaited, lock_tenant, lock_tenant_of, refuse_segment, require_tenant
from orchestration.catalog.places import EVERYWHERE
from orchestration.catalog.recipients import replace_recipients
from orchestration.catalog.records import Audience, AudienceState, Retention
from orchestration.catalog.selected import from_row
from orchestration.catalog.tables import (
    activated_audiences,
    activity_specs,
    audiences,
    pins,
    recipients,
    segments,
    tenant_places,
    tenants,
)
from orchestration.catalog.upsert import upsert
from schemas.columns import ImportKind
from schemas.errors import UserError
from schemas.file_lists import Folders
from schemas.ids import AudienceName, JobId, TenantName, Version, snapshot_audience
from schemas.import_spec import ImportSpec
from schemas.records import as_record, from_record


class AudienceStore:
    """Tenants and audiences. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_tenant(self, name: TenantName, now_ms: int, *, places: Collection[str] = (EVERYWHERE,)) -> None:
        """Create a tenant if it does not exist. `places`: see `catalog.places`; local commands allow all of them."""
        with self._database.write() as connection:
            if connection.execute(sa.select(tenants.c.name).where(tenants.c.name == name)).first() is None:
                connection.execute(tenants.insert().values(name=name, created_at_ms=now_ms))
                for place in places:
                    connection.execute(tenant_places.insert().values(tenant=name, place=place))

    def tenants(self) -> list[TenantName]:
        """All tenants, sorted."""
        with self._database.read() as connection:
            return [TenantName(name) for name in connection.scalars(sa.select(tenants.c.name).order_by(tenants.c.name))]

    def tenant_page(self, *, after: str = "", limit: int) -> list[TenantName]:
        """Tenants whose names come after one, sorted."""
        query = sa.select(tenants.c.name).where(tenants.c.name > after).order_by(tenants.c.name).limit(limit)
        with self._database.read() as connection:
            return [TenantName(name) for name in connection.scalars(query)]

    def tenants_since(self) -> dict[TenantName, int]:
        """When each tenant was created, in milliseconds."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(tenants.c.name, tenants.c.created_at_ms))
            return {TenantName(name): int(at_ms) for name, at_ms in rows}

    def require_tenant(self, tenant: TenantName) -> None:
        """Raises `UserError` UNKNOWN_TENANT."""
        with self._database.read() as connection:
            require_tenant(connection, tenant)

    def ensure(
        self, tenant: TenantName, name: AudienceName, *, new_id: JobId, now_ms: int, spec: ImportSpec | None = None
    ) -> Audience:
        """The audience of that name; created with `spec` (default: the default spec) if the tenant has none.

        Raises `UserError` UNKNOWN_TENANT, NAME_TAKEN.
        """
        return self._get_or_create(tenant, name, new_id, now_ms, "standing", spec or ImportSpec())[0]

    def create(
        self, tenant: TenantName, name: AudienceName, *, new_id: JobId, now_ms: int, spec: ImportSpec
    ) -> Audience:
        """Create an audience. One that the first imports of that name await becomes it.

        Raises `UserError` UNKNOWN_TENANT, NAME_TAKEN, AUDIENCE_EXISTS.
        """
        audience, created = self._get_or_create(tenant, name, new_id, now_ms, "standing", spec)
        if not created:
            raise UserError(
                "AUDIENCE_EXISTS",
                f"tenant {tenant} already has an audience {name!r}; `muster audiences configure` changes it",
                tenant=tenant,
                audience=name,
            )
        return audience

    def for_import(self, tenant: TenantName, name: AudienceName, *, new_id: JobId, now_ms: int) -> Audience:
        """The audience that an import goes to; a new one is `awaited` until a version is published.

        Raises `UserError` UNKNOWN_TENANT, NAME_TAKEN.
        """
        return self._get_or_create(tenant, name, new_id, now_ms, "awaited", ImportSpec())[0]

    def _get_or_create(
        self, tenant: TenantName, name: AudienceName, new_id: JobId, now_ms: int, state: AudienceState, spec: ImportSpec
    ) -> tuple[Audience, bool]:
        """The audience of that name, and whether this call created it in that state."""
        try:
            return self._get_or_create_once(tenant, name, new_id, now_ms, state, spec)
        except sa.exc.IntegrityError:  # another process created it between our read and our insert
            return self._get_or_create_once(tenant, name, new_id, now_ms, state, spec)

    def _get_or_create_once(
        self, tenant: TenantName, name: AudienceName, new_id: JobId, now_ms: int, state: AudienceState, spec: ImportSpec
    ) -> tuple[Audience, bool]:
        with self._database.write() as connection:
            row: Mapping[Any, Any] | None = connection.execute(_by_name(tenant, name)).mappings().first()
            if row is not None and row["state"] != "awaited":
                return _audience(row), False
            lock_tenant(connection, tenant)
            refuse_segment(connection, tenant, name)
            if row is not None and state == "awaited":
                return _audience(row), False
            values = {"spec": spec.as_record(), "state": state, "created_at_ms": now_ms}
            if row is not None:
                key = audiences.c.audience_id == row["audience_id"]
                connection.execute(audiences.update().where(key).values(**values))
                return _audience({**row, **values}), True
            row = {
                "audience_id": new_id,
                "tenant": tenant,
                "name": name,
                "retention": as_record(Retention()),
                "folders": "files",
                **values,
            }
            connection.execute(audiences.insert().values(**row))
            return _audience(row), True

    def find(self, tenant: TenantName, name: AudienceName) -> Audience | None:
        """The audience of that name. None if it does not exist or is only awaited."""
        with self._database.read() as connection:
            row = connection.execute(_by_name(tenant, name)).mappings().first()
        return None if row is None or row["state"] == "awaited" else _audience(row)

    def get(self, tenant: TenantName, name: AudienceName) -> Audience:
        """The audience of that name. Raises `UserError` UNKNOWN_AUDIENCE."""
        with self._database.read() as connection:
            row = connection.execute(_by_name(tenant, name)).mappings().first()
        if row is not None and row["state"] != "awaited":
            return _audience(row)
        hint = "`muster audiences list` shows those that exist"
        if row is not None:
            hint = f"nothing was published under that name yet; `muster jobs list --audience {name}` shows its imports"
        elif (state := self.segment_state(tenant, name)) is not None:
            resume = f"`muster segments resume {name}`, then " if state == "paused" else ""
            hint = (
                f"there is a {'paused ' if resume else ''}segment of that name: {resume}`muster segments snapshot "
                f"{name} --wait` makes its members a version of the audience {snapshot_audience(name)}, and queries "
                f"read them as segment('{name}')"
            )
        raise UserError(
            "UNKNOWN_AUDIENCE", f"tenant {tenant} has no audience {name!r}; {hint}", tenant=tenant, audience=name
        )

    def segment_state(self, tenant: TenantName, name: AudienceName) -> str | None:
        """State of the segment of that name, which then no audience has. None if there is none."""
        found = sa.select(segments.c.state).where(
            segments.c.tenant == tenant, segments.c.name == name, segments.c.state != "deleted"
        )
        with self._database.read() as connection:
            return connection.execute(found).scalar()

    def by_id(self, audience_id: JobId) -> Audience | None:
        """The audience with an id, including one that is only awaited. None if it was deleted."""
        with self._database.read() as connection:
            row = (
                connection.execute(sa.select(audiences).where(audiences.c.audience_id == audience_id))
                .mappings()
                .first()
            )
        return None if row is None else _audience(row)

    def all(self, tenant: TenantName | None = None, *, awaited: bool = False) -> list[Audience]:
        """All audiences [of a tenant], by tenant and name. `awaited`: include those that only jobs know."""
        query = sa.select(audiences).order_by(audiences.c.tenant, audiences.c.name)
        if not awaited:
            query = query.where(VISIBLE)
        if tenant is not None:
            query = query.where(audiences.c.tenant == tenant)
        with self._database.read() as connection:
            return [_audience(row) for row in connection.execute(query).mappings()]

    def page(self, tenant: TenantName, *, listing: Listing = BY_NAME, after: str = "", limit: int) -> list[Audience]:
        """Audiences of a tenant that come after one in a list."""
        names = audiences.c.name, audiences.c.audience_id
        shown = sa.select(audiences).where(audiences.c.tenant == tenant, VISIBLE, listing.after(after, *names))
        with self._database.read() as connection:
            rows = connection.execute(shown.order_by(listing.by(*names)).limit(limit)).mappings()
            return [_audience(row) for row in rows]

    def count(self, tenant: TenantName, listing: Listing = BY_NAME) -> int:
        """How many audiences of a tenant a list has."""
        own = audiences.c.tenant == tenant, VISIBLE, listing.fits(audiences.c.name)
        with self._database.read() as connection:
            return int(connection.execute(sa.select(sa.func.count()).where(*own)).scalar_one())

    def configure(
        self,
        audience_id: JobId,
        *,
        spec: ImportSpec,
        retention: Retention,
        folders: Folders | None = None,
        with_columns: bool = True,
        recipients: Mapping[str, Sequence[str]] = MappingProxyType({}),
        check: Callable[[Audience], None] | None = None,
    ) -> None:
        """Replace the import spec and retention of an audience; running jobs keep those they were registered with.

        `folders`: None keeps what it has. Without `with_columns`, an audience whose columns were never stored remains
        in that state. `recipients` are replaced by channel. `check` may refuse by the audience and its recipients as
        they are before.
        """
        state: dict[str, str] = {"state": "standing"} if with_columns else {}
        if folders is not None:
            state["folders"] = folders
        mine = audiences.c.audience_id == audience_id
        with self._database.write() as connection:
            lock_tenant_of(connection, audience_id)
            row = connection.execute(sa.select(audiences).where(mine).with_for_update()).mappings().first()
            if row is None:
                return
            if check is not None:
                check(_audience(row))
            values = {"spec": spec.as_record(), "retention": as_record(retention), **state}
            connection.execute(audiences.update().where(mine).values(**values))
            replace_recipients(connection, row["tenant"], audience_id, recipients)

    def update_spec(self, audience_id: JobId, derive: Callable[[Audience], ImportSpec]) -> None:
        """Store the spec that `derive` makes of the current one, and make the audience `standing` unless deleted."""
        query = sa.select(audiences).where(audiences.c.audience_id == audience_id).with_for_update()
        with self._database.write() as connection:
            if (row := connection.execute(query).mappings().first()) is not None:
                values = {"spec": derive(_audience(row)).as_record(), "state": "standing"}
                connection.execute(audiences.update().where(audiences.c.audience_id == audience_id).values(**values))

    def check_publishable(self, audience_id: JobId) -> None:
        """Raises `UserError` AUDIENCE_DELETED, or NAME_TAKEN if a segment has the name of an awaited audience."""
        audience = self.by_id(audience_id)
        if audience is None:
            raise UserError("AUDIENCE_DELETED", "the audience has been deleted", audience=audience_id)
        if audience.state == "awaited":
            self.check_free(audience.tenant, audience.name)

    def activity_spec(self, tenant: TenantName, kind: ImportKind) -> ImportSpec | None:
        """The spec for files of events or profiles of a tenant. None if none was ever set."""
        a = activity_specs.c
        with self._database.read() as connection:
            found = connection.execute(sa.select(a.spec).where(a.tenant == tenant, a.kind == kind)).scalar()
        return None if found is None else ImportSpec.from_record(found)

    def update_activity_spec(
        self, tenant: TenantName, kind: ImportKind, derive: Callable[[ImportSpec | None], ImportSpec]
    ) -> None:
        """Store the spec for a kind of file, made by `derive` of the current one. Raises `UserError` UNKNOWN_TENANT."""
        a = activity_specs.c
        with self._database.write() as connection:
            lock_tenant(connection, tenant)
            found = connection.execute(sa.select(a.spec).where(a.tenant == tenant, a.kind == kind)).scalar()
            spec = derive(None if found is None else ImportSpec.from_record(found))
            upsert(connection, activity_specs, {"tenant": tenant, "kind": kind}, {"spec": spec.as_record()})

    def check_free(self, tenant: TenantName, name: AudienceName) -> None:
        """Raises `UserError` NAME_TAKEN if a segment has the name."""
        with self._database.read() as connection:
            refuse_segment(connection, tenant, name)

    def rename(self, audience_id: JobId, tenant: TenantName, name: AudienceName) -> None:
        """Rename an audience. Raises `UserError` AUDIENCE_EXISTS, NAME_TAKEN."""
        try:
            with self._database.write() as connection:
                lock_tenant(connection, tenant)
                refuse_segment(connection, tenant, name)
                row = connection.execute(_by_name(tenant, name)).mappings().first()
                if row is not None and row["state"] == "awaited" and not is_awaited(connection, tenant, name):
                    connection.execute(audiences.delete().where(audiences.c.audience_id == row["audience_id"]))
                connection.execute(audiences.update().where(audiences.c.audience_id == audience_id).values(name=name))
        except sa.exc.IntegrityError as exc:
            raise UserError(
                "AUDIENCE_EXISTS", f"tenant {tenant} already has an audience {name!r}", tenant=tenant, audience=name
            ) from exc

    def delete(self, audience_id: JobId) -> None:
        """Delete an audience and its pins; its jobs and receipts stay."""
        with self._database.write() as connection:
            connection.execute(pins.delete().where(pins.c.audience_id == audience_id))
            activated = activated_audiences.c.audience_id == audience_id
            connection.execute(activated_audiences.delete().where(activated))
            connection.execute(recipients.delete().where(recipients.c.audience_id == audience_id))
            connection.execute(audiences.delete().where(audiences.c.audience_id == audience_id))

    def retained(self, audience_id: JobId) -> frozenset[Version]:
        """The versions that retention must keep: pinned ones, and those that segments are evaluated with."""
        a = activated_audiences.c
        with self._database.read() as connection:
            row = connection.execute(sa.select(a.version, a.earlier).where(a.audience_id == audience_id)).first()
        activated = () if row is None else row
        return self.pins(audience_id) | {Version(number) for number in activated if number is not None}

    def pins(self, audience_id: JobId) -> frozenset[Version]:
        """The versions that users have pinned."""
        query = sa.select(pins.c.version).where(pins.c.audience_id == audience_id)
        with self._database.read() as connection:
            return frozenset(Version(number) for number in connection.scalars(query))

    def pin(self, audience_id: JobId, version: Version, now_ms: int) -> None:
        """Pin a version against retention. Idempotent."""
        key = (pins.c.audience_id == audience_id) & (pins.c.version == version)
        with self._database.write() as connection:
            if connection.execute(sa.select(pins.c.version).where(key)).first() is None:
                connection.execute(pins.insert().values(audience_id=audience_id, version=version, pinned_at_ms=now_ms))

    def unpin(self, audience_id: JobId, version: Version) -> bool:
        """Release a version to retention; returns whether it was pinned."""
        key = (pins.c.audience_id == audience_id) & (pins.c.version == version)
        with self._database.write() as connection:
            return connection.execute(pins.delete().where(key)).rowcount > 0


def _by_name(tenant: TenantName, name: AudienceName) -> sa.Select[Any]:
    return sa.select(audiences).where(audiences.c.tenant == tenant, audiences.c.name == name)


def _audience(row: Mapping[Any, Any]) -> Audience:
    return from_row(
        Audience,
        row,
        spec=ImportSpec.from_record(row["spec"]),
        retention=from_record(Retention, row["retention"]),
    )
