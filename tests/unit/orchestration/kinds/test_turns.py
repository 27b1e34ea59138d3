"""Waiting for a turn: no job begins beyond the limits, and an admitted one is notified until it has begun."""

import threading

import pytest

from orchestration.catalog.tables import jobs
from orchestration.composition import control_plane
from orchestration.kinds.compute_target import COMPARED, MEMBER_BYTES
from orchestration.kinds.timeouts import LONGEST_S, group_timeout_s, timeouts
from orchestration.platform.settings import MIB, Settings
from orchestration.workflow.resources import function_specs
from schemas.errors import UserError
from schemas.ids import TenantName
from segmentation.admission import LaneLimit
from tests.fakes.deployment import Deployment
from tests.unit.orchestration.control.test_lost_markers import Alive

TOKEN = "turn-1"


def test_job_starts_immediately_with_a_free_slot(deployment: Deployment) -> None:
    assert deployment.register().state == "VERIFYING"


def test_job_beyond_the_limit_is_notified_of_its_turn_until_it_starts(deployment: Deployment) -> None:
    context = deployment.context
    vars(context)["lanes"] = {small: LaneLimit(jobs=1, per_tenant=1) for small in (True, False)}
    first = deployment.register()
    second = deployment.register(deployment.request("second"))
    assert (second.state, context.jobs.queue_position(second.job_id)) == ("REGISTERED", 1)
    deployment.begin_await(second, TOKEN)
    answers = control_plane.answers(context, Alive(), Alive())
    answers.answer(context.jobs.get(second.job_id), deployment.later(minutes=1))
    assert deployment.workflow.said() == []

    assert deployment.run(first).state == "READY"
    assert context.jobs.admit(context.lanes, now_ms=1) == [second.job_id]
    for _ in range(2):  # the first answer may be lost
        answers.answer(context.jobs.get(second.job_id), deployment.later(minutes=1))
    assert [(kind, said["taskToken"]) for kind, said in deployment.workflow.answers] == [("success", TOKEN)] * 2
    deployment.step(second, "verify_file")
    answers.answer(context.jobs.get(second.job_id), deployment.later(minutes=1))
    assert len(deployment.workflow.answers) == 2
    assert deployment.run(second).state == "READY"


def test_job_with_an_early_turn_is_answered_immediately(deployment: Deployment) -> None:
    with deployment.full():
        job = deployment.register()
    deployment.context.jobs.admit(deployment.context.lanes, now_ms=1)
    deployment.begin_await(job, TOKEN)
    assert deployment.workflow.said() == ["success"]


def test_a_small_file_does_not_wait_for_a_large_one(deployment: Deployment) -> None:
    context = deployment.context
    vars(context)["lanes"] = {small: LaneLimit(jobs=1, per_tenant=1) for small in (True, False)}
    for name in ("large", "larger"):
        too_many = bytes(context.settings.small_file_bytes + 1)
        deployment.objects.put(context.settings.inbox_bucket, f"acme/{name}/a.csv", too_many)
    jobs = [deployment.register(deployment.request(name)) for name in ("large", "larger", "small", "smaller")]
    assert [(job.small, job.state) for job in jobs] == [
        (False, "VERIFYING"),
        (False, "REGISTERED"),
        (True, "VERIFYING"),
        (True, "REGISTERED"),
    ]


def test_verification_waits_for_its_turn(deployment: Deployment) -> None:
    job = deployment.at("REGISTERED")
    assert deployment.step(job, "verify_file")["state"] == "REGISTERED"
    assert deployment.scans == 0


def test_cancelled_waiting_job_gives_its_place_to_the_next(deployment: Deployment) -> None:
    context = deployment.context
    vars(context)["lanes"] = {small: LaneLimit(jobs=1, per_tenant=1) for small in (True, False)}
    deployment.register()
    second, third = (deployment.register(deployment.request(name)) for name in ("second", "third"))
    assert context.jobs.queue_position(third.job_id) == 2
    context.import_jobs.cancel(second.job_id)
    assert context.jobs.queue_position(second.job_id) is None
    assert context.jobs.queue_position(third.job_id) == 1


def test_concurrent_admissions_respect_the_limit(deployment: Deployment) -> None:
    context = deployment.context
    context.audiences.add_tenant(TenantName("beta"), 1)
    with deployment.full():
        for number in range(6):
            deployment.register(deployment.request(f"a{number}", tenant="acme" if number % 2 else "beta"))
    lanes = {small: LaneLimit(jobs=3, per_tenant=2) for small in (True, False)}
    barrier = threading.Barrier(8)

    def admit() -> None:
        barrier.wait()
        context.jobs.admit(lanes, now_ms=1)

    threads = [threading.Thread(target=admit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(job.state for job in context.jobs.live()) == ["REGISTERED"] * 3 + ["VERIFYING"] * 3


@pytest.mark.parametrize("failed_in", ["IMPORTING", "AWAITING", "BUILDING"])
def test_retry_resumes_at_importing_without_verifying_again(deployment: Deployment, failed_in: str) -> None:
    job = deployment.at(failed_in)
    failure = {"Error": "States.Timeout", "Cause": ""}
    assert deployment.step(job, "mark_failed", failure=failure)["state"] == "FAILED"
    assert deployment.context.jobs.get(job.job_id).failed_in == failed_in
    calls = dict(deployment.calls)
    again = deployment.retry(job)
    assert (again.state, again.retry_of, again.attempt) == ("IMPORTING", job.job_id, 0)
    ended = deployment.run(again)
    assert (ended.state, ended.attempt, deployment.scans) == ("READY", 1, 1)
    assert deployment.calls["verify_file"] == calls["verify_file"]
    assert deployment.context.jobs.history(again.job_id)[1].cause == f"verified by job {job.job_id}"


def test_a_retry_of_a_job_that_failed_in_verification_verifies(deployment: Deployment) -> None:
    job = deployment.at("VERIFYING")
    deployment.step(job, "mark_failed", failure={"Error": "States.Timeout", "Cause": ""})
    again = deployment.retry(job)
    assert again.state == "VERIFYING"
    assert deployment.run(again).state == "READY"
    assert deployment.scans == 1


def test_retry_of_a_deleted_object_fails(deployment: Deployment) -> None:
    job = deployment.at("IMPORTING")
    deployment.context.import_jobs.cancel(job.job_id)
    deployment.objects.put(str(job.source["bucket"]), str(job.source["key"]), b"user_id\nother\n")
    again = deployment.retry(job)
    assert again.error is not None
    assert (again.state, again.error.code) == ("FAILED", "SOURCE_GONE")


def test_retry_waits_for_its_turn(deployment: Deployment) -> None:
    job = deployment.at("IMPORTING")
    deployment.context.import_jobs.cancel(job.job_id)
    with deployment.full():
        again = deployment.retry(job)
    assert again.state == "REGISTERED"
    deployment.context.jobs.admit(deployment.context.lanes, now_ms=1)
    assert deployment.context.jobs.get(again.job_id).state == "IMPORTING"


def test_a_published_job_is_not_retried(deployment: Deployment) -> None:
    job = deployment.run(deployment.register())
    with pytest.raises(UserError, match="NOT_RETRIABLE"):
        deployment.retry(job)


def test_timeouts_grow_with_the_file_up_to_a_day() -> None:
    small, large = timeouts(0), timeouts(10 * 1024**3)
    assert small == {"verify_s": 300, "import_s": 300, "build_s": 300, "publish_s": 300}
    assert large == {"verify_s": 5420, "import_s": 20780, "build_s": 5420, "publish_s": 2860}
    assert set(timeouts(10**15).values()) == {LONGEST_S}
    merged = timeouts(0, members=20_000_000)
    assert (merged["build_s"], merged["publish_s"], merged["verify_s"]) == (1300, 1300, 300)
    assert timeouts(0, target="machine")["verify_s"] == 300 + 1800  # until a machine has room


def test_step_timeouts_in_functions_fit_the_function_timeout() -> None:
    largest = Settings().lambda_file_bytes
    members = largest // MEMBER_BYTES
    limits = {spec.name: spec.timeout_s for spec in function_specs()}
    assert {limits[n] for n in ("VerifyFile", "ImportToKafka", "BuildVersion", "PublishVersion")} == {900}
    assert max(*timeouts(largest).values(), *timeouts(0, members).values()) <= 900
    assert group_timeout_s(largest) <= limits["WriteExportGroup"]


def test_large_replace_is_published_in_a_task(deployment: Deployment) -> None:
    context, members = deployment.context, COMPARED * (Settings().lambda_file_bytes // MEMBER_BYTES + 1)
    job = deployment.at("PUBLISHING")
    small = deployment.step(job, "read_outcome")
    other = deployment.run(deployment.register(deployment.request(key="acme/vip/b.csv")))
    with context.database.write() as connection:
        published = jobs.update().where(jobs.c.job_id == other.job_id)
        connection.execute(published.values(outcome={**(other.outcome or {}), "members": members}))
    large = deployment.step(job, "read_outcome")
    assert (small["place"], large["place"]) == ("function", "task")
    assert large["timeouts"]["publish_s"] - small["timeouts"]["publish_s"] == members // COMPARED // 20_000


def test_every_view_has_the_timeouts_of_its_file(deployment: Deployment) -> None:
    deployment.objects.put(deployment.context.settings.inbox_bucket, "acme/vip/a.csv", bytes(17 * 1024 * 1024))
    view = deployment.step(deployment.at("AWAITING"), "read_outcome")
    assert view["timeouts"] == {"verify_s": 308, "import_s": 334, "build_s": 308, "publish_s": 304}


@pytest.mark.parametrize(
    ("file_bytes", "place"), [(256 * MIB, "function"), (256 * MIB + 1, "task"), (2**36, "task"), (2**36 + 1, "machine")]
)
def test_the_size_of_the_file_decides_where_it_is_verified(deployment: Deployment, file_bytes: int, place: str) -> None:
    job = deployment.at("VERIFYING")
    deployment.context.jobs.put(job.job_id, source={**job.source, "size": file_bytes})
    view = deployment.step(job, "read_outcome")
    assert view["place"] == place
    assert view["timeouts"] == timeouts(file_bytes, target=place)  # type: ignore[arg-type]


def test_build_size_decides_where_and_how_long_to_publish(deployment: Deployment) -> None:
    job = deployment.at("BUILDING")
    deployment.materialise(job)
    deployment.context.jobs.put(job.job_id, source={**job.source, "size": 0})
    deployment.step(job, "build_version")
    build = deployment.context.jobs.get(job.job_id).build
    assert build is not None
    places = {}
    for members in (4 * MIB, 5 * MIB, 1200 * MIB):
        deployment.context.jobs.put(job.job_id, build={**build, "parts": [{"rows": members - 1}, {"rows": 1}]})
        view = deployment.step(job, "read_outcome")
        assert view["state"] == "PUBLISHING"
        places[view["place"]] = view["timeouts"] == timeouts(0, members, view["place"])
    assert places == {"function": True, "task": True, "machine": True}


def test_large_base_is_built_outside_lambda_with_more_time(deployment: Deployment) -> None:
    context = deployment.context
    first = deployment.run(deployment.register())
    deployment.objects.put(context.settings.inbox_bucket, "acme/vip/a.csv", b"user_id\nsecond\n")
    small = deployment.step(deployment.at("BUILDING"), "read_outcome")
    assert (small["place"], small["timeouts"]) == ("function", timeouts(0))
    context.jobs.put(first.job_id, outcome={**(first.outcome or {}), "members": 20_000_000})
    large = deployment.step(context.jobs.live()[0], "read_outcome")
    assert (large["place"], large["timeouts"]) == ("task", timeouts(0, 20_000_000))
