"""Every pair of handlers at once on the same job, in every state, on every database that may hold the catalog.

The simulator interleaves the same handlers between calls, in `make test`; these are races inside of the calls. One
state on PostgreSQL runs with every change, the others take their turn.

Whichever handler is faster: only errors that a step may raise, a history that the table of states allows, and at most
one version. Afterwards the job continues to a good end.
"""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.catalog.records import Job
from orchestration.platform.clock import now_ms
from orchestration.platform.settings import Secret
from schemas.errors import UserError
from segmentation.jobs import JOB_LIFE_CYCLE
from segmentation.life_cycle import Change
from tests.fakes.deployment import Deployment, make_deployment

FAILURE = {"Error": "MaterialisationFailed", "Cause": "partition 1"}
HANDLERS = (
    "register_import",
    "verify_file",
    "import_to_kafka",
    "begin_await",
    "retry_import",
    "build_version",
    "publish_version",
    "mark_failed",
    "read_outcome",
    "notify",
    "cancel",
    "admit",
)
TAKES_ITS_TURN = pytest.mark.faults("78 pairs of handlers, each with a job of its own", seconds=30)
STATES = (
    "PUBLISHING",
    *(pytest.param(s, marks=TAKES_ITS_TURN) for s in ("REGISTERED", "VERIFYING", "IMPORTING", "AWAITING", "BUILDING")),
)
FORESEEN = {"FatalError", "RetriableError", "UnavailableError"}
"""Errors that a handler may raise if another was faster: the workflow gets them, and looks again."""


@pytest.fixture(
    params=[
        pytest.param("sqlite", marks=TAKES_ITS_TURN),
        pytest.param("postgresql", marks=pytest.mark.containers),
    ]
)
def deployment(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    sqlite = request.param == "sqlite"
    url = Secret(f"sqlite:///{tmp_path / 'c.db'}") if sqlite else request.getfixturevalue("empty_postgres_catalog")
    made = make_deployment(url, tmp_path, monkeypatch, max_small_jobs=1000, max_small_jobs_per_tenant=1000)
    yield made
    made.context.database.close()


def call(deployment: Deployment, job_id: str, execution: str, handler: str) -> str | None:
    """Run a handler; returns the name of the error that it raised, or None."""
    failure = {"failure": FAILURE}
    more: dict[str, dict[str, Any]] = {"retry_import": failure, "mark_failed": failure, "notify": {"outcome": "ready"}}
    event = {"job_id": job_id, "execution": execution, **more.get(handler, {})}
    try:
        match handler:
            case "cancel":
                deployment.context.import_jobs.cancel(deployment.context.jobs.get(job_id).job_id)  # type: ignore[arg-type]
            case "admit":
                deployment.context.jobs.admit(deployment.context.lanes, now_ms=now_ms())
            case "register_import":
                deployment.call(handler, input={"resume": job_id}, execution=execution)
            case "begin_await":
                deployment.call(handler, **event, task_token="t")
            case _:
                deployment.call(handler, **event)
    except UserError as exc:
        return exc.code
    except Exception as exc:  # noqa: BLE001  # distinguished by the caller
        return type(exc).__name__
    return None


def both(deployment: Deployment, job: Job, pair: tuple[str, str]) -> list[tuple[str, str | None]]:
    """Run two handlers at once; returns the error of each."""
    barrier = threading.Barrier(2)
    raised: list[tuple[str, str | None]] = []

    def run(handler: str) -> None:
        barrier.wait()
        raised.append((handler, call(deployment, job.job_id, str(job.execution), handler)))

    threads = [threading.Thread(target=run, args=(handler,)) for handler in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.timeout(600)
@pytest.mark.parametrize("state", STATES)
def test_concurrent_handlers_leave_a_job_that_can_continue(deployment: Deployment, state: str) -> None:
    pairs = list(itertools.combinations_with_replacement(HANDLERS, 2))
    for number, pair in enumerate(pairs):
        # a separate audience for each pair, since two jobs on one audience are a different test
        deployment.audience = f"pair-{number}"
        job = deployment.at(state)
        if state in {"AWAITING", "BUILDING", "PUBLISHING"}:
            deployment.materialise(job)
        raised = both(deployment, job, pair)
        for handler, error in raised:
            allowed = error is None or error in FORESEEN or (handler == "cancel" and error == "TOO_LATE")
            assert allowed, (state, pair, raised)
        way = deployment.states(job)
        for before, after in itertools.pairwise(way):
            assert JOB_LIFE_CYCLE.change(before, after) is Change.APPLIED, (state, pair, way)  # type: ignore[arg-type]
        # Workers do not know the job's state: a builder or publisher may have moved it on right after the importer.
        deployment.materialise(deployment.context.jobs.get(job.job_id))
        ended = deployment.run(job)
        assert ended.state == "READY" or {"cancel", "mark_failed"} & set(pair), (pair, ended.error)
        assert deployment.versions(ended) == ([1] if ended.state == "READY" else []), (pair, way)
        sequences = [t.sequence for t in deployment.context.jobs.history(job.job_id)]
        assert sequences == list(range(1, len(sequences) + 1))
