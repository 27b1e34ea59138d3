"""Follows jobs and operations until they have ended, through short outages and before a job is registered."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from muster.client import Client
from muster.errors import ApiError
from muster.records import Record

FIRST_POLL_S: Final = 0.3
MAX_POLL_S: Final = 1.0
POLL_SHARE: Final = 0.05
"""Share of the time waited so far. A long wait learns of the end a little later, and leaves the 20 requests a second
of its principal to others. The event stream would be no cheaper: a principal may open ten, and it would still have to
poll while a job is not registered, in outages, and from the eleventh job on."""
REGISTRATION_S: Final = 120.0
"""How long the workflow may take to register a job: its first function may start cold on a busy host."""
OUTAGE_S: Final = 120.0
ENDED: Final = frozenset({"READY", "FAILED", "CANCELLED", "SUPERSEDED"})
_BASE32: Final = "0123456789abcdefghjkmnpqrstvwxyz"


def follow(
    client: Client,
    job: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
) -> Iterator[Record]:
    """The job again and again, as `Client.job`, until it has ended: the last one is final.

    Raises `ApiError` UNKNOWN_JOB, unless the id is so young that the workflow may not have registered it yet;
    NOT_REGISTERED if it does not within `REGISTRATION_S`; and that of an outage that lasts `OUTAGE_S`.
    """
    began = answered = clock()
    while True:
        try:
            found = client.find_job(job)
        except ApiError as exc:
            if exc.code == "UNKNOWN_JOB":
                answered = clock()
                if now() - submitted_s(job) > REGISTRATION_S:
                    raise
                if answered - began > REGISTRATION_S:
                    raise _not_registered(job) from exc
            elif exc.kind != "retriable" or clock() - answered > OUTAGE_S:
                raise
        else:
            answered = clock()
            yield found
            if found["state"] in ENDED:
                return
        sleep(pause_s(clock() - began))


def result(
    client: Client,
    tenant: str,
    operation: Record,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Record:
    """The result of an operation, once it is done. Raises its error as `ApiError`, and that of a long outage."""
    began = answered = clock()
    while operation["state"] not in {"done", "failed"}:
        sleep(pause_s(clock() - began))
        try:
            operation = client.operation(tenant, operation["operation"])
        except ApiError as exc:
            if exc.kind != "retriable" or clock() - answered > OUTAGE_S:
                raise
        else:
            answered = clock()
    if (error := operation["error"]) is not None:
        raise ApiError(error["code"], error["message"], kind=error["kind"], values=error["detail"])
    found: Record = operation["result"]
    return found


def pause_s(waited_s: float) -> float:
    """How long to wait before asking again."""
    return min(MAX_POLL_S, max(FIRST_POLL_S, POLL_SHARE * waited_s))


def submitted_s(job: str) -> float:
    """When the id was made, in seconds since 1970: a ULID begins with the time, 48 bits in ten digits of base 32."""
    milliseconds = 0
    for digit in job[:10]:
        milliseconds = milliseconds * 32 + _BASE32.index(digit)
    return milliseconds / 1000


def _not_registered(job: str) -> ApiError:
    return ApiError(
        "NOT_REGISTERED",
        f"the workflow did not register job {job} within {REGISTRATION_S:.0f} s; run `muster doctor`",
        kind="fatal",
        values={"job": job},
    )
