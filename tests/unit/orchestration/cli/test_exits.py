"""Exit codes show how a job or a command ended."""

from typing import cast

import pytest

from orchestration.catalog.records import JobError
from orchestration.cli.exits import ExitCode, code_for_error, code_for_job
from schemas.errors import FatalError, RetriableError, UserError
from schemas.messages import JobState
from schemas.records import as_record
from tests.unit.orchestration.cli.jobs import job


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("READY", ExitCode.OK),
        ("SUPERSEDED", ExitCode.SUPERSEDED),
        ("CANCELLED", ExitCode.CANCELLED),
        ("AWAITING", ExitCode.NOT_FINISHED),
        ("FAILED", ExitCode.SYSTEM_ERROR),
    ],
)
def test_job_state_determines_the_exit_code(state: str, code: ExitCode) -> None:
    assert code_for_job(as_record(job(state=cast(JobState, state)).shown)) is code


@pytest.mark.parametrize(("kind", "code"), [("user", ExitCode.USER_ERROR), ("system", ExitCode.SYSTEM_ERROR)])
def test_failed_job_exit_code_distinguishes_user_and_system_errors(kind: str, code: ExitCode) -> None:
    error = JobError(kind=kind, code="X", message="x", detail={})
    assert code_for_job(as_record(job(state="FAILED", error=error).shown)) is code


def test_error_class_determines_the_exit_code() -> None:
    assert code_for_error(UserError("X", "x")) == 3
    assert code_for_error(RetriableError("X", "x")) == 1
    assert code_for_error(FatalError("X", "x")) == 1


def test_every_code_has_a_meaning() -> None:
    assert all(code.meaning for code in ExitCode)
