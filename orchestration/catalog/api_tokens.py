"""Tokens of the API in the catalog: digests, lifetimes and caps, never the tokens themselves."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from orchestration.catalog.access_records import ApiToken, Credentials
from orchestration.catalog.engine import Database
from orchestration.catalog.principals import granted_to
from orchestration.catalog.selected import from_row, time_of
from orchestration.catalog.tables import api_tokens, principals, token_caps
from orchestration.records.access import Principal, Token
from schemas.errors import UserError
from schemas.ids import JobId


class TokenStore:
    """Tokens. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: ApiToken) -> None:
        """Add a token of a known principal."""
        values = {name: getattr(new, name) for name in new.__dataclass_fields__ if name != "cap"}
        with self._database.write() as connection:
            connection.execute(api_tokens.insert().values(**values))
            for scope, role in sorted(set(new.cap)):
                connection.execute(token_caps.insert().values(token_id=new.token_id, scope=scope, role=role))

    def credentials(self, token_id: JobId) -> Credentials | None:
        """A token with its owner and the owner's present grants, whether or not it is still valid. None if unknown."""
        query = (
            sa.select(api_tokens, principals.c.kind, principals.c.name.label("principal_name"))
            .add_columns(time_of(principals.c.created_at_ms).label("principal_since"))
            .join(principals, principals.c.principal_id == api_tokens.c.principal_id)
            .where(api_tokens.c.token_id == token_id)
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
            if row is None:
                return None
            owner = Principal(
                principal=row["principal_id"],
                kind=row["kind"],
                name=row["principal_name"],
                created_at=row["principal_since"],
            )
            return Credentials(
                token=_with_caps(connection, [row])[0],
                principal=owner,
                granted=granted_to(connection, row["principal_id"]),
            )

    def digest(self, token_id: JobId) -> str | None:
        """SHA-256 of a token, whether or not it is still valid. None if unknown."""
        with self._database.read() as connection:
            query = sa.select(api_tokens.c.digest).where(api_tokens.c.token_id == token_id)
            found: str | None = connection.execute(query).scalar()
            return found

    def page(
        self,
        *,
        principal_id: JobId | None = None,
        scope: str | None = None,
        before: JobId | None = None,
        limit: int,
    ) -> list[Token]:
        """Tokens, newest first: [of a principal] [that reach a scope, as it sees them] [older than one]."""
        query = sa.select(api_tokens).order_by(api_tokens.c.token_id.desc()).limit(limit)
        if principal_id is not None:
            query = query.where(api_tokens.c.principal_id == principal_id)
        if scope is not None:
            query = query.where(_reaches(scope))
        if before is not None:
            query = query.where(api_tokens.c.token_id < before)
        with self._database.read() as connection:
            found = _with_caps(connection, list(connection.execute(query).mappings()))
        return [one.shown(scope) for one in found]

    def touch(self, token_id: JobId, now_ms: int) -> None:
        """Record that a token was used."""
        with self._database.write() as connection:
            key = api_tokens.c.token_id == token_id
            connection.execute(api_tokens.update().where(key).values(used_at_ms=now_ms))

    def forget(self, ended_before_ms: int) -> None:
        """Remove tokens that expired before a time; the audit trail keeps their ids."""
        old = sa.select(api_tokens.c.token_id).where(api_tokens.c.expires_at_ms < ended_before_ms)
        with self._database.write() as connection:
            connection.execute(token_caps.delete().where(token_caps.c.token_id.in_(old)))
            connection.execute(api_tokens.delete().where(api_tokens.c.expires_at_ms < ended_before_ms))

    def revoke(self, token_id: JobId, *, principal_id: JobId | None = None, now_ms: int) -> Token:
        """Revoke a token [of a principal]; no effect on a revoked one. Raises `UserError` UNKNOWN_TOKEN."""
        key = api_tokens.c.token_id == token_id
        if principal_id is not None:
            key &= api_tokens.c.principal_id == principal_id
        with self._database.write() as connection:
            return _revoke(connection, _get(connection, key, token_id), now_ms).shown()

    def revoke_in(self, token_id: JobId, scope: str, *, principal_id: JobId | None = None, now_ms: int) -> Token:
        """Take a scope from a token [of a principal]; a token left without any is revoked. Returns what the scope sees.

        A token that reaches other scopes keeps them: who administers one tenant has no say in another.
        Raises `UserError` UNKNOWN_TOKEN if it does not reach this scope.
        """
        key = (api_tokens.c.token_id == token_id) & _reaches(scope)
        if principal_id is not None:
            key &= api_tokens.c.principal_id == principal_id
        with self._database.write() as connection:
            found = _get(connection, key, token_id)
            if {one for one, _ in found.cap} == {scope}:
                return _revoke(connection, found, now_ms).shown(scope)
            here = (token_caps.c.token_id == token_id) & (token_caps.c.scope == scope)
            connection.execute(token_caps.delete().where(here))
            return _get(connection, api_tokens.c.token_id == token_id, token_id).shown(scope)


def token_of(connection: sa.Connection, token_id: str) -> ApiToken | None:
    """The token with that id. None if there is none."""
    rows = list(connection.execute(sa.select(api_tokens).where(api_tokens.c.token_id == token_id)).mappings())
    return next(iter(_with_caps(connection, rows)), None)


def _revoke(connection: sa.Connection, token: ApiToken, now_ms: int) -> ApiToken:
    key = api_tokens.c.token_id == token.token_id
    still = key & api_tokens.c.revoked_at_ms.is_(None)
    connection.execute(api_tokens.update().where(still).values(revoked_at_ms=now_ms))
    return _get(connection, key, token.token_id)


def _reaches(scope: str) -> sa.ColumnElement[bool]:
    cap = (token_caps.c.token_id == api_tokens.c.token_id) & (token_caps.c.scope == scope)
    return sa.exists().where(cap)


def _get(connection: sa.Connection, key: sa.ColumnElement[bool], token_id: JobId) -> ApiToken:
    row = connection.execute(sa.select(api_tokens).where(key).with_for_update()).mappings().first()
    if row is None:
        raise UserError(
            "UNKNOWN_TOKEN", f"there is no token {token_id}; `muster tokens list` shows yours", token=token_id
        )
    return _with_caps(connection, [row])[0]


def _with_caps(connection: sa.Connection, rows: list[sa.RowMapping]) -> list[ApiToken]:
    query = sa.select(token_caps).where(token_caps.c.token_id.in_([row["token_id"] for row in rows]))
    caps: dict[str, list[tuple[str, str]]] = {}
    for cap in connection.execute(query.order_by(token_caps.c.scope, token_caps.c.role)).mappings():
        caps.setdefault(cap["token_id"], []).append((cap["scope"], cap["role"]))
    return [_token(row, caps.get(row["token_id"], [])) for row in rows]


def _token(row: Mapping[Any, Any], cap: list[tuple[str, str]]) -> ApiToken:
    return from_row(ApiToken, row, cap=tuple(cap))
