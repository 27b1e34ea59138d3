"""Tasks wait for the end of an outage as a state of the workflow would."""

from pathlib import Path

import pytest

from orchestration.entrypoints import tasks
from orchestration.entrypoints.tasks import outlast
from orchestration.platform.settings import Secret, Settings
from orchestration.workflow.stages import UNAVAILABLE, Retry
from schemas.errors import MusterError, RetriableError, UserError
from schemas.ids import new_job_id

GONE = RetriableError("CATALOG_UNAVAILABLE", "too many clients already")


class Step:
    """Fails with these errors, one at each attempt, then succeeds; `waits`: seconds between attempts."""

    def __init__(self, *errors: MusterError) -> None:
        self.errors = list(errors)
        self.waits: list[float] = []

    def __call__(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


def test_step_is_run_until_the_outage_ends() -> None:
    step = Step(*[GONE] * len(UNAVAILABLE.delays_s()))
    outlast(step, sleep=step.waits.append)
    assert all(0 <= wait <= longest for wait, longest in zip(step.waits, UNAVAILABLE.delays_s(), strict=True))


def test_outage_without_end_is_left_to_the_state() -> None:
    step = Step(*[GONE] * 1000)
    with pytest.raises(RetriableError, match="too many clients"):
        outlast(step, sleep=step.waits.append)
    assert len(step.waits) == UNAVAILABLE.attempts


@pytest.mark.parametrize(
    "error", [UserError("EMPTY_FILE", "no rows"), RetriableError("PARSER_KILLED", "by the kernel")]
)
def test_other_errors_are_not_waited_for(error: MusterError) -> None:
    step = Step(GONE, error)
    with pytest.raises(type(error), match=error.code):
        outlast(step, sleep=step.waits.append)
    assert len(step.waits) == 1


def test_task_of_an_outage_without_end_may_be_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path, catalog_url=Secret("postgresql+psycopg://x@127.0.0.1:1/x"))
    monkeypatch.setattr(Settings, "load", lambda: settings)  # there is no environment to read
    monkeypatch.setattr(tasks, "configure", lambda _: None)  # pytest's handlers stay
    monkeypatch.setattr(tasks, "UNAVAILABLE", Retry(errors=(), attempts=0))  # or it waits for twenty minutes
    assert tasks.main(["build", new_job_id(1, bytes(10)), "execution"]) == 1
