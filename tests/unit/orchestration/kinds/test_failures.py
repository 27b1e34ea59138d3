"""User errors and system errors on their way from a step to the catalog."""

import json

import pytest

from orchestration.catalog.records import JobError
from orchestration.entrypoints import handlers
from orchestration.entrypoints.handlers import errors_by_name
from orchestration.kinds.failures import error_of, extract_cause
from orchestration.platform.settings import Settings
from schemas.errors import FatalError, MusterError, RetriableError, UserError
from schemas.ids import JobId

JOB = JobId("01m87b5fjxy5p23eqzcwh67tr0")


@pytest.mark.parametrize(
    ("error_class", "code", "name"),
    [
        (UserError, "SOME_CODE", "UserError"),
        (RetriableError, "SOME_CODE", "RetriableError"),
        (RetriableError, "SOME_SERVER_UNAVAILABLE", "UnavailableError"),
        (FatalError, "SOME_CODE", "FatalError"),
    ],
)
def test_product_error_leaves_a_handler_with_class_name_and_record(
    error_class: type[MusterError], code: str, name: str
) -> None:
    @errors_by_name
    def handler(event: object, context: object) -> dict[str, object]:
        raise error_class(code, "what, where, what to do", line=7)

    with pytest.raises(Exception, match=code) as caught:
        handler({}, None)
    assert type(caught.value).__name__ == name
    assert json.loads(str(caught.value))["detail"] == {"line": 7}


def test_handler_without_a_context_parameter_creates_none(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(Settings, "load", lambda: made.append("settings"))
    handlers.forget_context()

    handlers.extract_cause({"job_id": JOB, "failure": {"Error": "X"}}, None)

    assert made == []


def test_cause_of_a_user_error_round_trips() -> None:
    record = UserError("EMPTY_FILE", "the file is empty", bytes=0).as_record()
    cause = json.dumps({"errorMessage": json.dumps(record), "errorType": "UserError", "stackTrace": []})
    assert extract_cause(JOB, {"Error": "UserError", "Cause": cause}) == {
        "job_id": JOB,
        "error": {"kind": "user", "code": "EMPTY_FILE", "message": "the file is empty", "detail": {"bytes": 0}},
    }


def test_exhausted_retries_become_a_system_error() -> None:
    record = RetriableError("S3_UNAVAILABLE", "no answer").as_record()
    failure = {"Error": "RetriableError", "Cause": json.dumps({"errorMessage": json.dumps(record)})}
    assert error_of(failure) == JobError(kind="system", code="S3_UNAVAILABLE", message="no answer", detail={})


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        ({"Error": "States.Timeout", "Cause": ""}, "States.Timeout", "States.Timeout"),
        ({"Error": "KeyError", "Cause": '{"errorMessage": "\'x\'"}'}, "KeyError", "'x'"),
        ({"Error": "MaterialisationFailed", "Cause": "partition 3"}, "MaterialisationFailed", "partition 3"),
        ({"Error": "X", "Cause": "[1]"}, "X", "[1]"),
        ({}, "Unknown", "Unknown"),
    ],
)
def test_unknown_engine_failure_becomes_a_system_error_with_its_text(
    failure: dict[str, str], code: str, message: str
) -> None:
    assert error_of(failure) == JobError(kind="system", code=code, message=message, detail={})
