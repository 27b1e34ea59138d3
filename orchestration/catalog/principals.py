"""Principals and their grants in the catalog."""

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, Literal

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.listing import BY_NAME, Listing
from orchestration.catalog.selected import columns_of
from orchestration.catalog.tables import api_tokens, grants, group_grants, principals, sessions
from orchestration.platform.clock import iso, now_ms
from orchestration.records.access import Grant, Grants, Principal, PrincipalKind
from schemas.errors import UserError
from schemas.ids import JobId

_LOCK: Final = 0x6772616E74  # "grant": the advisory lock of changes of grants; SQLite has one writer anyway
GROUP_ROLES_MS: Final = 30 * 24 * 3600 * 1000
"""Roles of groups count for this long after the login that named the groups: who has left logs in no more."""
_PRINCIPAL: Final = columns_of(Principal, principals, principal=principals.c.principal_id)


class PrincipalStore:
    """Principals and grants. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new_id: JobId, *, kind: PrincipalKind, name: str, now_ms: int) -> Principal:
        """Add a principal. Raises `UserError` PRINCIPAL_EXISTS."""
        try:
            with self._database.write() as connection:
                return add_principal(connection, new_id, kind, name, now_ms)
        except sa.exc.IntegrityError as exc:
            raise UserError("PRINCIPAL_EXISTS", f"a principal is already called {name!r}", name=name) from exc

    def named(self, name: str) -> Principal | None:
        """The principal of that name. None if there is none."""
        return next(iter(self._select(principals.c.name == name)), None)

    def find(self, principal_id: JobId) -> Principal | None:
        """The principal with that id. None if there is none."""
        return next(iter(self._select(principals.c.principal_id == principal_id)), None)

    def page(self, *, listing: Listing = BY_NAME, after: str = "", limit: int) -> list[Principal]:
        """Principals that come after one in a list."""
        names = principals.c.name, principals.c.principal_id
        with self._database.read() as connection:
            return select_principals(connection, listing.after(after, *names), order_by=listing.by(*names), limit=limit)

    def count(self, listing: Listing = BY_NAME) -> int:
        """How many principals a list has."""
        with self._database.read() as connection:
            found = sa.select(sa.func.count()).where(listing.fits(principals.c.name))
            return int(connection.execute(found).scalar_one())

    def granted(self, principal_id: JobId) -> frozenset[tuple[str, str]]:
        """The (scope, role)s that a principal has at present, by hand and by groups."""
        with self._database.read() as connection:
            return granted_to(connection, principal_id)

    def grants(self, scope: str) -> Grants:
        """Principals with a role in a scope, given by hand or by a group, by name."""
        with self._database.read() as connection:
            return _grants(connection, scope)

    def replace_grants(
        self,
        scope: str,
        wanted: Mapping[JobId, Collection[str]],
        *,
        now_ms: int,
        check: Callable[[Grants, Grants], None],
    ) -> tuple[Grants, Grants]:
        """Replace all roles in a scope that were given by hand; returns those before and after.

        `check` gets both and may raise; nothing has changed then. Changes are serialized, so that what it saw still
        holds. Raises `UserError` NO_SUCH_PRINCIPAL.
        """
        with self._database.write() as connection:
            if self._database.dialect == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            before = _grants(connection, scope)
            kept = {(JobId(one.principal), role) for one in before.items for role in one.roles}
            roles = {(principal_id, role) for principal_id, held in wanted.items() for role in held}
            _require(connection, {principal_id for principal_id, _ in roles}, code="NO_SUCH_PRINCIPAL")
            for principal_id, role in kept - roles:
                key = (grants.c.principal_id == principal_id) & (grants.c.role == role)
                connection.execute(grants.delete().where(grants.c.scope == scope, key))
            for principal_id, role in sorted(roles - kept):
                connection.execute(
                    grants.insert().values(principal_id=principal_id, scope=scope, role=role, granted_at_ms=now_ms)
                )
            after = _grants(connection, scope)
            check(before, after)
            return before, after

    def withdraw(
        self, principal_id: JobId, *, now_ms: int, check: Callable[[Grants, Grants], None]
    ) -> frozenset[tuple[str, str]]:
        """Take all roles, tokens and sessions from a principal; returns the (scope, role)s that it had.

        `check` as of `replace_grants`, for each scope. Raises `UserError` UNKNOWN_PRINCIPAL.
        """
        with self._database.write() as connection:
            if self._database.dialect == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            _require(connection, {principal_id}, code="UNKNOWN_PRINCIPAL")
            had = granted_to(connection, principal_id)
            before = {scope: _grants(connection, scope) for scope in sorted({scope for scope, _ in had})}
            for table in (grants, group_grants):
                connection.execute(table.delete().where(table.c.principal_id == principal_id))
            for scope, held in before.items():
                check(held, _grants(connection, scope))
            for table in (api_tokens, sessions):
                valid = (table.c.principal_id == principal_id) & table.c.revoked_at_ms.is_(None)
                connection.execute(table.update().where(valid).values(revoked_at_ms=now_ms))
            return had

    def _select(self, *where: sa.ColumnElement[bool], limit: int | None = None) -> list[Principal]:
        with self._database.read() as connection:
            return select_principals(connection, *where, limit=limit)


def select_principals(
    connection: sa.Connection,
    *where: sa.ColumnElement[bool],
    order_by: sa.ColumnElement[Any] = principals.c.name,
    limit: int | None = None,
) -> list[Principal]:
    """Principals, by name if no other order is given."""
    query = sa.select(*_PRINCIPAL).where(*where).order_by(order_by).limit(limit)
    return [Principal(**row) for row in connection.execute(query).mappings()]


def add_principal(connection: sa.Connection, new_id: JobId, kind: PrincipalKind, name: str, now_ms: int) -> Principal:
    """Add a principal whose name is free."""
    values = {"principal_id": new_id, "kind": kind, "name": name, "created_at_ms": now_ms}
    connection.execute(principals.insert().values(**values))
    return Principal(principal=new_id, kind=kind, name=name, created_at=iso(now_ms))


def granted_to(connection: sa.Connection, principal_id: str) -> frozenset[tuple[str, str]]:
    """The (scope, role)s of a principal: those that were given, and those of its groups."""
    found = [
        sa.select(table.c.scope, table.c.role).where(table.c.principal_id == principal_id, *where)
        for table, where in _granting().values()
    ]
    return frozenset((one.scope, one.role) for one in connection.execute(sa.union(*found)))


def _granting() -> Mapping[Literal["roles", "group_roles"], tuple[sa.Table, Sequence[sa.ColumnElement[bool]]]]:
    """The tables of present grants, given by hand and by groups, each with the condition that they count."""
    recent = group_grants.c.granted_at_ms > now_ms() - GROUP_ROLES_MS
    return {"roles": (grants, ()), "group_roles": (group_grants, (recent,))}


def _grants(connection: sa.Connection, scope: str) -> Grants:
    found: dict[str, dict[str, Any]] = {}
    for given, (table, where) in _granting().items():
        query = (
            sa.select(*_PRINCIPAL, table.c.role)
            .join(table, table.c.principal_id == principals.c.principal_id)
            .where(table.c.scope == scope, *where)
            .order_by(table.c.role)
        )
        for row in connection.execute(query).mappings():
            one = {**row, "roles": [], "group_roles": []}
            role = one.pop("role")
            found.setdefault(row["principal"], one)[given].append(role)
    return Grants(items=[Grant(**one) for one in sorted(found.values(), key=itemgetter("name"))])


def _require(connection: sa.Connection, wanted: Collection[JobId], *, code: str) -> None:
    known = set(connection.scalars(sa.select(principals.c.principal_id).where(principals.c.principal_id.in_(wanted))))
    if unknown := sorted(set(wanted) - known):
        raise UserError(
            code,
            f"there is no principal {unknown[0]}; ask its owner for the id, which `GET /v1/me` shows",
            principal=unknown[0],
        )
