"""Codes that are used once, soon: each is taken by the first who has it."""

from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.tables import one_time_codes

CodeKind = Literal["console", "login", "cli"]
"""console: becomes a session; login: the state of a login at the identity provider; cli: becomes a token."""


class OneTimeCodes:
    """Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, kind: CodeKind, digest: str, record: Mapping[str, Any], *, expires_at_ms: int) -> None:
        """Keep a code by its digest."""
        values = {"kind": kind, "digest": digest, "record": dict(record), "expires_at_ms": expires_at_ms}
        with self._database.write() as connection:
            connection.execute(one_time_codes.insert().values(**values))

    def find(self, kind: CodeKind, digest: str, *, now_ms: int) -> Mapping[str, Any] | None:
        """The record of a code, which stays. None if it is unknown, used, expired, or of another kind."""
        query = sa.select(one_time_codes.c.record).where(
            (one_time_codes.c.digest == digest)
            & (one_time_codes.c.kind == kind)
            & (one_time_codes.c.expires_at_ms > now_ms)
        )
        with self._database.read() as connection:
            found = connection.execute(query).scalar()
            return None if found is None else dict(found)

    def take(self, kind: CodeKind, digest: str, *, now_ms: int) -> Mapping[str, Any] | None:
        """The record of a code, which is used up. None if it is unknown, used, expired, or of another kind."""
        key = (one_time_codes.c.digest == digest) & (one_time_codes.c.kind == kind)
        with self._database.write() as connection:
            row = connection.execute(sa.select(one_time_codes).where(key).with_for_update()).mappings().first()
            if row is None or not connection.execute(one_time_codes.delete().where(key)).rowcount:
                return None
        return None if row["expires_at_ms"] <= now_ms else dict(row["record"])

    def forget(self, expired_before_ms: int) -> None:
        """Remove codes that nobody has used."""
        with self._database.write() as connection:
            connection.execute(one_time_codes.delete().where(one_time_codes.c.expires_at_ms < expired_before_ms))
