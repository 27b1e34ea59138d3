"""Sessions of browsers in the catalog: digests of cookies, never the cookies themselves."""

import sqlalchemy as sa

from orchestration.catalog.access_records import IDLE_MS, Session, SessionCredentials
from orchestration.catalog.api_tokens import token_of
from orchestration.catalog.engine import Database
from orchestration.catalog.principals import granted_to, select_principals
from orchestration.catalog.tables import principals, sessions
from orchestration.records import access as answers
from schemas.errors import UserError
from schemas.ids import JobId


class SessionStore:
    """Sessions. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: Session) -> None:
        """Add a session of a known principal."""
        values = {name: getattr(new, name) for name in new.__dataclass_fields__}
        with self._database.write() as connection:
            connection.execute(sessions.insert().values(**values))

    def credentials(self, digest: str) -> SessionCredentials | None:
        """A session with its owner and the owner's present grants, valid or not. None if unknown."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(sessions).where(sessions.c.digest == digest)).mappings().first()
            if row is None:
                return None
            (owner,) = select_principals(connection, principals.c.principal_id == row["principal_id"])
            token_id = row["token_id"]
            return SessionCredentials(
                session=Session(**row),
                token=None if token_id is None else token_of(connection, token_id),
                principal=owner,
                granted=granted_to(connection, row["principal_id"]),
            )

    def of(self, principal_id: JobId, *, now_ms: int, limit: int) -> list[answers.Session]:
        """Sessions of a principal that have not ended, newest first."""
        valid = sessions.c.revoked_at_ms.is_(None) & (sessions.c.expires_at_ms > now_ms)
        used = sessions.c.seen_at_ms > now_ms - IDLE_MS
        query = sa.select(sessions).where(sessions.c.principal_id == principal_id, valid, used)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(sessions.c.session_id.desc()).limit(limit))
            return [Session(**row).shown() for row in found.mappings()]

    def touch(self, session_id: JobId, now_ms: int) -> None:
        """Record that a session was used."""
        with self._database.write() as connection:
            key = sessions.c.session_id == session_id
            connection.execute(sessions.update().where(key).values(seen_at_ms=now_ms))

    def revoke(self, session_id: JobId, *, principal_id: JobId | None = None, now_ms: int) -> answers.Session:
        """End a session [of a principal]; no effect on one that was ended. Raises `UserError` UNKNOWN_SESSION."""
        key = sessions.c.session_id == session_id
        if principal_id is not None:
            key &= sessions.c.principal_id == principal_id
        with self._database.write() as connection:
            still = key & sessions.c.revoked_at_ms.is_(None)
            connection.execute(sessions.update().where(still).values(revoked_at_ms=now_ms))
            row = connection.execute(sa.select(sessions).where(key)).mappings().first()
        if row is None:
            raise UserError("UNKNOWN_SESSION", f"there is no session {session_id}", session=session_id)
        return Session(**row).shown()

    def forget(self, ended_before_ms: int) -> None:
        """Remove sessions that ended before a time."""
        with self._database.write() as connection:
            connection.execute(sessions.delete().where(sessions.c.expires_at_ms < ended_before_ms))
