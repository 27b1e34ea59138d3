"""Idempotency keys in the catalog: which request a key belongs to, the id of what it starts, and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.tables import idempotency
from schemas.ids import JobId

LEASE_MS: Final = 30_000
"""How long a request alone carries out what it asks for. Calls of the service end after 10 s."""
KEPT_MS: Final = 72 * 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedRequest:
    """A request with an idempotency key. `request`: a digest of all that it asks for. `holder`: its own id."""

    principal_id: JobId
    tenant: str
    key: str
    request: str
    holder: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the catalog knows of a key. `mine`: this request carries it out, under `job_id`, as begun at `at_ms`."""

    request: str
    job_id: JobId
    at_ms: int
    mine: bool
    answer: Mapping[str, Any] | None


class IdempotencyStore:
    """Keys. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, asked: KeyedRequest, *, new_id: JobId, now_ms: int) -> Claim:
        """Take a key for 30 s, unless it has an answer, belongs to another request, or a live request holds it."""
        try:
            return self._claim_once(asked, new_id, now_ms)
        except sa.exc.IntegrityError:  # another program has used the key between our read and our insert
            return self._claim_once(asked, new_id, now_ms)

    def _claim_once(self, asked: KeyedRequest, new_id: JobId, now_ms: int) -> Claim:
        held = {"holder": asked.holder, "held_until_ms": now_ms + LEASE_MS}
        with self._database.write() as connection:
            found = connection.execute(sa.select(idempotency).where(_row(asked)).with_for_update()).mappings().first()
            if found is None:
                values = {"request": asked.request, "job_id": new_id, "created_at_ms": now_ms, **held}
                connection.execute(idempotency.insert().values(**_key(asked), **values, answer=None))
                return Claim(request=asked.request, job_id=new_id, at_ms=now_ms, mine=True, answer=None)
            mine = found["request"] == asked.request and found["answer"] is None and found["held_until_ms"] <= now_ms
            if mine:
                connection.execute(idempotency.update().where(_row(asked)).values(**held))
            return Claim(
                request=found["request"],
                job_id=JobId(found["job_id"]),
                at_ms=found["created_at_ms"],
                mine=mine,
                answer=found["answer"],
            )

    def answer(self, asked: KeyedRequest, answer: Mapping[str, Any]) -> None:
        """Keep the answer of a request, unless another one has taken over."""
        self._update(asked, answer=dict(answer))

    def release(self, asked: KeyedRequest) -> None:
        """Let the next request with the key carry it out at once."""
        self._update(asked, held_until_ms=0)

    def forget(self, before_ms: int) -> int:
        """Delete keys that were first used before a time; returns how many."""
        with self._database.write() as connection:
            return connection.execute(idempotency.delete().where(idempotency.c.created_at_ms < before_ms)).rowcount

    def _update(self, asked: KeyedRequest, **values: Any) -> None:
        mine = _row(asked) & (idempotency.c.holder == asked.holder)
        with self._database.write() as connection:
            connection.execute(idempotency.update().where(mine).values(**values))


def _key(asked: KeyedRequest) -> dict[str, Any]:
    return {"principal_id": asked.principal_id, "tenant": asked.tenant, "key": asked.key}


def _row(asked: KeyedRequest) -> sa.ColumnElement[bool]:
    return sa.and_(*(idempotency.c[name] == value for name, value in _key(asked).items()))
