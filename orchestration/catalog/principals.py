"""Principals and their grants in the catalog."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.access_records import HeldRoles, Principal
from orchestration.catalog.engine import Database
from orchestration.catalog.tables import api_tokens, grants, group_grants, principals, sessions
from orchestration.platform.clock import now_ms
from schemas.errors import UserError
from schemas.ids import JobId

_LOCK: Final = 0x6772616E74  # "grant": the advisory lock of changes of grants; SQLite has one writer anyway
GROUP_ROLES_MS: Final = 30 * 24 * 3600 * 1000
"""Roles of groups count for this long after the login that named the groups: who has left logs in no more."""
Held = Sequence[HeldRoles]


class PrincipalStore:
    """Principals and grants. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: Principal) -> None:
        """Add a principal. Raises `UserError` PRINCIPAL_EXISTS."""
        values = {name: getattr(new, name) for name in new.__dataclass_fields__}
        try:
            with self._database.write() as connection:
                connection.execute(principals.insert().values(**values))
        except sa.exc.IntegrityError as exc:
            raise UserError("PRINCIPAL_EXISTS", f"a principal is already called {new.name!r}", name=new.name) from exc

    def named(self, name: str) -> Principal | None:
        """The principal of that name. None if there is none."""
        return next(iter(self._select(principals.c.name == name)), None)

    def find(self, principal_id: JobId) -> Principal | None:
        """The principal with that id. None if there is none."""
        return next(iter(self._select(principals.c.principal_id == principal_id)), None)

    def page(self, *, after: str = "", limit: int) -> list[Principal]:
        """Principals whose names come after one, by name."""
        return self._select(principals.c.name > after, limit=limit)

    def granted(self, principal_id: JobId) -> frozenset[tuple[str, str]]:
        """The (scope, role)s that a principal has at present, by hand and by groups."""
        with self._database.read() as connection:
            return granted_to(connection, principal_id)

    def grants(self, scope: str) -> Held:
        """Principals with a role in a scope, given by hand or by a group, by name."""
        with self._database.read() as connection:
            return _held(connection, scope)

    def replace_grants(
        self,
        scope: str,
        wanted: Mapping[JobId, Collection[str]],
        *,
        now_ms: int,
        check: Callable[[Held, Held], None],
    ) -> tuple[Held, Held]:
        """Replace all roles in a scope that were given by hand; returns those before and after.

        `check` gets both and may raise; nothing has changed then. Changes are serialized, so that what it saw still
        holds. Raises `UserError` NO_SUCH_PRINCIPAL.
        """
        with self._database.write() as connection:
            if self._database.dialect == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            before = _held(connection, scope)
            kept = {(one.principal.principal_id, role) for one in before for role in one.roles}
            roles = {(principal_id, role) for principal_id, held in wanted.items() for role in held}
            _require(connection, {principal_id for principal_id, _ in roles}, code="NO_SUCH_PRINCIPAL")
            for principal_id, role in kept - roles:
                key = (grants.c.principal_id == principal_id) & (grants.c.role == role)
                connection.execute(grants.delete().where(grants.c.scope == scope, key))
            for principal_id, role in sorted(roles - kept):
                connection.execute(
                    grants.insert().values(principal_id=principal_id, scope=scope, role=role, granted_at_ms=now_ms)
                )
            after = _held(connection, scope)
            check(before, after)
            return before, after

    def withdraw(
        self, principal_id: JobId, *, now_ms: int, check: Callable[[Held, Held], None]
    ) -> frozenset[tuple[str, str]]:
        """Take all roles, tokens and sessions from a principal; returns the (scope, role)s that it had.

        `check` as of `replace_grants`, for each scope. Raises `UserError` UNKNOWN_PRINCIPAL.
        """
        with self._database.write() as connection:
            if self._database.dialect == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            _require(connection, {principal_id}, code="UNKNOWN_PRINCIPAL")
            had = granted_to(connection, principal_id)
            before = {scope: _held(connection, scope) for scope in sorted({scope for scope, _ in had})}
            for table in (grants, group_grants):
                connection.execute(table.delete().where(table.c.principal_id == principal_id))
            for scope, held in before.items():
                check(held, _held(connection, scope))
            for table in (api_tokens, sessions):
                valid = (table.c.principal_id == principal_id) & table.c.revoked_at_ms.is_(None)
                connection.execute(table.update().where(valid).values(revoked_at_ms=now_ms))
            return had

    def _select(self, *where: sa.ColumnElement[bool], limit: int | None = None) -> list[Principal]:
        query = sa.select(principals).where(*where).order_by(principals.c.name).limit(limit)
        with self._database.read() as connection:
            return [principal_from_row(row) for row in connection.execute(query).mappings()]


def principal_from_row(row: Mapping[Any, Any]) -> Principal:
    """A row of `principals`."""
    return Principal(**{name: row[name] for name in Principal.__dataclass_fields__})


def granted_to(connection: sa.Connection, principal_id: str) -> frozenset[tuple[str, str]]:
    """The (scope, role)s of a principal: those that were given, and those of its groups."""
    found = [
        sa.select(table.c.scope, table.c.role).where(table.c.principal_id == principal_id, *where)
        for table, where in _granting()
    ]
    return frozenset((one.scope, one.role) for one in connection.execute(sa.union(*found)))


def _granting() -> Sequence[tuple[sa.Table, Sequence[sa.ColumnElement[bool]]]]:
    """The tables of grants at present: those given by hand, and those of groups, with the condition that they count."""
    return ((grants, ()), (group_grants, (group_grants.c.granted_at_ms > now_ms() - GROUP_ROLES_MS,)))


def _held(connection: sa.Connection, scope: str) -> Held:
    roles: dict[tuple[JobId, bool], list[str]] = {}
    found: dict[JobId, Principal] = {}
    for by_group, (table, where) in enumerate(_granting()):
        query = (
            sa.select(principals, table.c.role)
            .join(table, table.c.principal_id == principals.c.principal_id)
            .where(table.c.scope == scope, *where)
            .order_by(table.c.role)
        )
        for row in connection.execute(query).mappings():
            found[row["principal_id"]] = principal_from_row(row)
            roles.setdefault((row["principal_id"], bool(by_group)), []).append(row["role"])
    return tuple(
        HeldRoles(
            principal=one, roles=tuple(roles.get((id_, False), ())), group_roles=tuple(roles.get((id_, True), ()))
        )
        for id_, one in sorted(found.items(), key=lambda item: item[1].name)
    )


def _require(connection: sa.Connection, wanted: Collection[JobId], *, code: str) -> None:
    known = set(connection.scalars(sa.select(principals.c.principal_id).where(principals.c.principal_id.in_(wanted))))
    if unknown := sorted(set(wanted) - known):
        raise UserError(
            code,
            f"there is no principal {unknown[0]}; ask its owner for the id, which `GET /v1/me` shows",
            principal=unknown[0],
        )
