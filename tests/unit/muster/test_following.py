"""A job is followed until it has ended: before it is registered, through outages, and not for ever."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, chain, repeat
from typing import Any

import pytest

from muster.access import Access
from muster.client import Client
from muster.errors import ApiError
from muster.following import (
    FINAL_STATES,
    FIRST_POLL_S,
    MAX_POLL_S,
    OUTAGE_S,
    REGISTRATION_S,
    follow,
    submitted_s,
)
from schemas.ids import new_job_id
from segmentation import export_jobs, jobs

MADE_S = 1_795_000_000.25
JOB = new_job_id(int(MADE_S * 1000), b"0123456789")
UNKNOWN = ApiError("UNKNOWN_JOB", "unknown", kind="user", status=404)
AWAY = ApiError("API_UNREACHABLE", "away", kind="retriable")


@dataclass
class Service:
    """Answers with these states and errors, one after the other; time passes only while one sleeps."""

    answers: Iterator[str | ApiError]
    now: float = MADE_S
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def follow(self) -> Iterator[Mapping[str, Any]]:
        client = Client(Access(url="http://127.0.0.1:1", token="t"))
        client.find_job = self._job  # type: ignore[method-assign]
        return follow(client, JOB, sleep=self.sleep, clock=lambda: self.now, now=lambda: self.now)

    def _job(self, job: str) -> Any:
        assert job == JOB
        answer = next(self.answers)
        if isinstance(answer, ApiError):
            raise answer
        return {"state": answer}


def states(service: Service) -> list[str]:
    return [job["state"] for job in service.follow()]


def test_job_is_polled_until_its_end() -> None:
    service = Service(iter(["VERIFYING", "AWAITING", "READY", "never asked for"]))
    assert states(service) == ["VERIFYING", "AWAITING", "READY"]
    assert len(service.slept) == 2


def test_long_job_is_polled_less_often() -> None:
    service = Service(chain(repeat("AWAITING", 3000), ["READY"]))
    assert states(service)[-1] == "READY"
    assert (service.slept[0], service.slept[-1]) == (FIRST_POLL_S, MAX_POLL_S)
    assert service.slept == sorted(service.slept)
    waited = list(accumulate(service.slept, initial=0.0))
    assert all(
        pause <= max(FIRST_POLL_S, 0.05 * so_far + 1e-6) for pause, so_far in zip(service.slept, waited, strict=False)
    )


def test_unregistered_job_is_awaited_only_if_just_submitted() -> None:
    assert states(Service(iter([UNKNOWN, UNKNOWN, "REGISTERED", "FAILED"]))) == ["REGISTERED", "FAILED"]
    old = Service(repeat(UNKNOWN), now=MADE_S + REGISTRATION_S + 1)
    with pytest.raises(ApiError, match="UNKNOWN_JOB"):
        states(old)
    assert old.slept == []


def test_waiting_for_registration_is_bounded() -> None:
    early = Service(repeat(UNKNOWN), now=MADE_S - 10 * REGISTRATION_S)  # a clock that is behind
    with pytest.raises(ApiError, match="NOT_REGISTERED") as refused:
        states(early)
    assert refused.value.kind == "fatal"
    assert REGISTRATION_S < sum(early.slept) < REGISTRATION_S + 2


def test_short_outages_are_waited_out_and_long_ones_reported() -> None:
    assert states(Service(iter(["AWAITING", AWAY, AWAY, "AWAITING", AWAY, "CANCELLED"]))) == [
        "AWAITING",
        "AWAITING",
        "CANCELLED",
    ]
    away = Service(repeat(AWAY))
    with pytest.raises(ApiError, match="API_UNREACHABLE"):
        states(away)
    assert OUTAGE_S < sum(away.slept) < OUTAGE_S + 2


def test_invalid_request_is_reported_immediately() -> None:
    service = Service(repeat(ApiError("TOKEN_EXPIRED", "expired", kind="user", status=401)))
    with pytest.raises(ApiError, match="TOKEN_EXPIRED"):
        states(service)
    assert service.slept == []


def test_final_states_cover_all_kinds_of_jobs() -> None:
    assert {*jobs.FINAL, *export_jobs.ENDED} == FINAL_STATES


@pytest.mark.parametrize("made_ms", [0, 1, 1_700_000_000_123, 2**48 - 1])
def test_job_id_contains_its_creation_time(made_ms: int) -> None:
    assert submitted_s(new_job_id(made_ms, b"0123456789")) == made_ms / 1000
