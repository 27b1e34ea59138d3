"""Tasks wait for the end of an outage as a state of the workflow would."""

import pytest

from orchestration.entrypoints.tasks import outlast
from orchestration.workflow.stages import UNAVAILABLE
from schemas.errors import MusterError, RetriableError, UserError

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
