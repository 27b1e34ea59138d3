"""Follows jobs and operations until they have ended, through short outages and before a job is registered."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from muster.api_methods import ApiMethods
from muster.errors import ApiError
from muster.records import Record

if TYPE_CHECKING:
    from muster.api_types import ExportJobDetail, ImportJobDetail

FIRST_POLL_S: Final = 0.3
MAX_POLL_S: Final = 1.0
POLL_SHARE: Final = 0.05
"""Share of the time waited so far. A long wait learns of the end a little later, and leaves the 20 requests a second
of its principal to others. The event stream would be no cheaper: a principal may open ten, and it would still have to
poll while a job is not registered, in outages, and from the eleventh job on."""
REGISTRATION_S: Final = 120.0
"""How long the workflow may take to register a job: its first function may start cold on a busy host."""
OUTAGE_S: Final = 120.0
FINAL_STATES: Final = frozenset({"READY", "FAILED", "CANCELLED", "SUPERSEDED"})
"""States in which a job of any kind stays. Only READY is a success."""
_BASE32: Final = "0123456789abcdefghjkmnpqrstvwxyz"


class Follower:
    """Polls one job. `pause_s` says how long to wait before the next `poll`; `ended` whether that was the last."""

    def __init__(
        self,
        client: ApiMethods,
        job: str,
        *,
        timeout_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._job, self._timeout_s = client, job, timeout_s
        self._clock, self._now = clock, now
        self._began = self._answered = clock()
        self.ended = False

    def poll(self) -> "ImportJobDetail | ExportJobDetail | None":
        """The job, or None in an outage or before it is registered. Raises as `follow`."""
        if self._timeout_s is not None and self._clock() - self._began > self._timeout_s:
            raise TimeoutError(f"job {self._job} has not ended after {self._timeout_s:g} s; it continues")
        try:
            found = self._client.find_job(self._job)
        except ApiError as exc:
            if exc.code == "UNKNOWN_JOB":
                self._answered = self._clock()
                if self._now() - submitted_s(self._job) > REGISTRATION_S:
                    raise
                if self._answered - self._began > REGISTRATION_S:
                    raise _not_registered(self._job) from exc
            elif exc.kind != "retriable" or self._clock() - self._answered > OUTAGE_S:
                raise
            return None
        self._answered = self._clock()
        self.ended = found["state"] in FINAL_STATES
        return found

    def pause_s(self) -> float:
        """How long to wait before the next poll."""
        return pause_s(self._clock() - self._began)


def follow(
    client: ApiMethods,
    job: str,
    *,
    timeout_s: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
) -> "Iterator[ImportJobDetail | ExportJobDetail]":
    """The job again and again, as `Client.job`, until it has ended: the last one is final.

    Raises `ApiError` UNKNOWN_JOB, unless the id is so young that the workflow may not have registered it yet;
    NOT_REGISTERED if it does not within `REGISTRATION_S`; that of an outage that lasts `OUTAGE_S`; and `TimeoutError`
    after `timeout_s`.
    """
    follower = Follower(client, job, timeout_s=timeout_s, clock=clock, now=now)
    while not follower.ended:
        if (found := follower.poll()) is not None:
            yield found
        if not follower.ended:
            sleep(follower.pause_s())


def result(
    client: ApiMethods,
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
