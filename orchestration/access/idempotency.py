"""Idempotency: a request with a key starts its job once, however often it is sent.

1. The catalog keeps the key, what it asks for, and the id of the job to be, before anything starts.
2. The job starts under that id, at most once however often it is started. After a crash between 1 and 3, the next
   request with the key takes over once the lease of the dead one is over, and starts the same job.
3. The catalog keeps the answer; later requests with the key get it, after their permission was checked.

Outages and limits are not kept: the next request tries again at once, under the same id.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar, cast

from orchestration.access.authentication import Caller
from orchestration.access.pages import Record
from orchestration.catalog.idempotency import Claim, KeyedRequest
from orchestration.composition.service import Services
from orchestration.platform.clock import fresh_id, now_ms
from schemas.errors import MusterError, UserError
from schemas.records import as_record, from_record

ValueT = TypeVar("ValueT")
MAX_KEY: Final = 255
LIMITS: Final = frozenset(
    {"QUERY_RUNNING", "TOO_MANY_COUNTS", "TOO_MANY_QUESTIONS", "TOO_MANY_STREAMS", "TOO_MANY_TESTS", "TOO_MANY_UPLOADS"}
)
"""Errors of the service's limits, which are not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """An idempotency key, and a digest of what the request asks for."""

    text: str
    request: str

    @classmethod
    def of(cls, text: str | None, method: str, path: str, body: Any) -> Self:
        """The key of a request. Raises `UserError` NO_IDEMPOTENCY_KEY, BAD_IDEMPOTENCY_KEY."""
        if text is None:
            raise UserError(
                "NO_IDEMPOTENCY_KEY",
                "send a fresh random text in the header Idempotency-Key, and the same one whenever you repeat the "
                "request",
                member="Idempotency-Key",
            )
        if not 1 <= len(text) <= MAX_KEY or not (text.isascii() and text.isprintable()):
            raise UserError(
                "BAD_IDEMPOTENCY_KEY",
                f"an idempotency key has 1 to {MAX_KEY} printable characters of ASCII",
                member="Idempotency-Key",
            )
        asked = json.dumps([method, path, body], sort_keys=True, separators=(",", ":"))
        return cls(text=text, request=hashlib.sha256(asked.encode()).hexdigest())


def once(
    record: type[ValueT],
    services: Services,
    caller: Caller,
    tenant: str,
    key: RequestKey,
    start: Callable[[Claim], ValueT],
) -> ValueT:
    """The `record` that `start` returns, or has returned or refused before for this key.

    `start` may be called again with the same claim after a crash, so it begins under the id in the claim what can begin
    only once under an id. Raises `UserError` IDEMPOTENCY_KEY_REUSED, REQUEST_IN_PROGRESS, and what `start` raises.
    """
    asked = KeyedRequest(
        principal_id=caller.principal_id,
        tenant=tenant,
        key=key.text,
        request=key.request,
        holder=caller.request_id,
    )
    claim = services.idempotency.claim(asked, new_id=fresh_id(), now_ms=now_ms())  # 1
    if claim.request != key.request:
        raise UserError(
            "IDEMPOTENCY_KEY_REUSED",
            "this idempotency key belongs to another request; use a fresh one for each request",
            member="Idempotency-Key",
        )
    if claim.answer is not None:
        return from_record(record, _repeated(claim.answer))
    if not claim.mine:
        raise UserError(
            "REQUEST_IN_PROGRESS", "a request with this idempotency key is being carried out; repeat it in a moment"
        )
    try:
        value = start(claim)  # 2
    except UserError as exc:
        if exc.code in LIMITS:
            _release(services, asked)
        else:
            services.idempotency.answer(asked, {"error": exc.as_record()})
        raise
    except Exception:
        _release(services, asked)
        raise
    services.idempotency.answer(asked, {"value": as_record(cast(Any, value))})  # 3
    return value


def _repeated(answer: Record) -> Record:
    if "error" in answer:
        raise MusterError.from_record(answer["error"])
    value: Record = answer["value"]
    return value


def _release(services: Services, asked: KeyedRequest) -> None:
    with suppress(MusterError):  # the lease expires
        services.idempotency.release(asked)
