"""People as an identity provider knows them, in the catalog."""

from collections.abc import Collection

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.principals import add_principal, select_principals
from orchestration.catalog.tables import external_identities, group_grants, principals
from orchestration.records.access import Principal
from schemas.ids import JobId

MAX_NAME = 100


class IdentityStore:
    """Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def enter(
        self,
        issuer: str,
        subject: str,
        *,
        name: str,
        roles: Collection[tuple[str, str]],
        new_id: JobId,
        now_ms: int,
    ) -> Principal:
        """The principal of a person, made at the first login; its roles by groups become `roles`.

        Roles that were given by hand stay. The name is that of the first login; with a part of the id if it is taken.
        """
        try:
            return self._enter(issuer, subject, name, roles, new_id, now_ms)
        except sa.exc.IntegrityError:  # another login of the same person was first
            return self._enter(issuer, subject, name, roles, new_id, now_ms)

    def _enter(
        self,
        issuer: str,
        subject: str,
        name: str,
        roles: Collection[tuple[str, str]],
        new_id: JobId,
        now_ms: int,
    ) -> Principal:
        known = (external_identities.c.issuer == issuer) & (external_identities.c.subject == subject)
        query = sa.select(external_identities.c.principal_id).where(known)
        with self._database.write() as connection:
            found = select_principals(connection, principals.c.principal_id == query.scalar_subquery())
            if not found:
                found = [add_principal(connection, new_id, "person", _free(connection, name, new_id), now_ms)]
                identity = {"issuer": issuer, "subject": subject, "principal_id": new_id, "created_at_ms": now_ms}
                connection.execute(external_identities.insert().values(**identity))
            made = found[0]
            connection.execute(group_grants.delete().where(group_grants.c.principal_id == made.principal))
            for scope, role in sorted(roles):
                grant = {"principal_id": made.principal, "scope": scope, "role": role, "granted_at_ms": now_ms}
                connection.execute(group_grants.insert().values(**grant))
            return made


def _free(connection: sa.Connection, name: str, new_id: JobId) -> str:
    short = name[:MAX_NAME]
    taken = connection.scalar(sa.select(principals.c.name).where(principals.c.name == short))
    return short if taken is None else f"{name[: MAX_NAME - 11]} {new_id[-10:]}"
