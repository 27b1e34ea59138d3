"""Admission of waiting jobs: one transaction, so that concurrent control planes and handlers never admit too many.

A job waits in REGISTERED; admission moves it to VERIFYING, or to IMPORTING if an earlier job has left the evidence of
its verification.
"""

from typing import Final

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.job_rows import JOB_TABLE, history_columns
from orchestration.catalog.life_cycle import JOB_ID, of_job
from orchestration.catalog.tables import jobs
from schemas.ids import Attempt, JobId
from schemas.messages import JobState
from segmentation.admission import Lanes, Ticket, admitted, position
from segmentation.jobs import FINAL

WAITING_STATE: Final[JobState] = "REGISTERED"
_LOCK: Final = 0x6D757374  # "must": the advisory lock of admission; SQLite has one writer anyway
_TICKET: Final = (jobs.c.job_id, jobs.c.tenant, jobs.c.small, jobs.c.state)
_WAITING: Final = (
    sa.select(jobs.c.state, jobs.c.retry_of, jobs.c.evidence.is_not(None).label("verified"))
    .where(jobs.c.job_id == JOB_ID)
    .with_for_update()
)


def admit(database: Database, lanes: Lanes, *, now_ms: int) -> list[JobId]:
    """Admit the jobs whose turn it is; returns their ids."""
    with database.write() as connection:
        if database.dialect == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        started = admitted(*_tickets(connection), lanes)
        for job_id in started:
            row = connection.execute(_WAITING, of_job(job_id)).one()
            if row.state != WAITING_STATE:  # cancelled just now
                continue
            state, cause = ("IMPORTING", f"verified by job {row.retry_of}") if row.verified else ("VERIFYING", None)
            JOB_TABLE.enter(connection, job_id, state, cause, now_ms, values={}, line=history_columns(Attempt(0)))
    return started


def queue_position(database: Database, job_id: JobId) -> int | None:
    """Position of a job among those waiting in its lane, from 1. None if it does not wait."""
    with database.read() as connection:
        return position(job_id, *_tickets(connection))


def _tickets(connection: sa.Connection) -> tuple[list[Ticket], list[Ticket]]:
    """Live jobs: (waiting, running)."""
    waiting: list[Ticket] = []
    running: list[Ticket] = []
    for row in connection.execute(sa.select(*_TICKET).where(jobs.c.state.not_in(FINAL))):
        ticket = Ticket(job_id=JobId(row.job_id), tenant=row.tenant, small=row.small)
        (waiting if row.state == WAITING_STATE else running).append(ticket)
    return waiting, running
