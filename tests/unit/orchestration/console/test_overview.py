"""The first page of a tenant."""

import re
from dataclasses import replace

from orchestration.catalog.records import JobError
from orchestration.catalog.segment_sizes import HOUR_MS
from orchestration.platform.clock import fresh_id, now_ms
from tests.contract.test_catalog import new_job
from tests.contract.test_segments import status
from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import ACME, FAILED_JOB, JOB, NIGHTLY, World, id_of
from tests.unit.orchestration.console.test_segments import send, text_of

OVERVIEW = "/console/tenants/acme/overview"


def test_console_opens_with_what_failed_is_late_and_runs(client: AsgiClient, world: World) -> None:
    assert send(client, world, "/console").headers["location"] == OVERVIEW
    nightly = world.services.schedules.get(ACME, NIGHTLY)
    for name, late_s, enabled in (("behind", 3600, True), ("resting", 3600, False), ("soon", 60, True)):
        due = now_ms() - late_s * 1000
        world.services.schedules.add(
            replace(nightly, schedule_id=fresh_id(), name=name, next_due_ms=due, enabled=enabled)
        )
    at_us = (now_ms() - 2 * HOUR_MS) * 1000
    world.services.segments.put_statuses(status(partition=number, at_us=at_us) for number in range(2))
    late = text_of(send(client, world, OVERVIEW)).partition(" Late ")[2]
    assert re.match(r"behind Its run is 1 h (0 min )?late .*buyers Members are as of 2 h (0 min )?ago ", late)
    assert not {"resting", "soon"} & set(late.split())


def test_only_jobs_that_failed_today_are_shown(client: AsgiClient, world: World) -> None:
    jobs = world.services.jobs
    owner = jobs.get(id_of("acme", JOB)).audience_id
    today = jobs.register(replace(new_job(), job_id=fresh_id(), audience_id=owner, created_at_ms=now_ms()))
    jobs.fail(today, JobError(kind="user", code="EMPTY_FILE", message="no rows", detail={}), now_ms=now_ms())
    failed, _, rest = send(client, world, OVERVIEW).body.decode().partition("Late</h2>")
    assert (today in failed, today in rest, id_of("acme", FAILED_JOB) in failed) == (True, False, False)
