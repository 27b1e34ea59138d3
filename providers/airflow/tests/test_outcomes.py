from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from muster import FINAL_STATES, ApiError
from muster_airflow.operators import MusterExportOperator, MusterImportOperator
from muster_airflow.outcomes import failure, refusal

NO_RETRY, RETRY = AirflowFailException, AirflowException


def _ended(state: str, kind: str | None = None) -> dict[str, Any]:
    error = None if kind is None else {"kind": kind, "code": "SOME_CODE", "message": "what to do"}
    return {"state": state, "error": error}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (_ended("FAILED", "user"), NO_RETRY),
        (_ended("FAILED", "fatal"), NO_RETRY),
        (_ended("FAILED", "retriable"), RETRY),
        (_ended("CANCELLED"), NO_RETRY),
        (_ended("SUPERSEDED"), NO_RETRY),
    ],
    ids=str,
)
def test_only_a_retriable_failure_is_retried(found: dict[str, Any], expected: type[Exception]) -> None:
    failed = failure("01jdcz0000000000000000000a", found)
    assert type(failed) is expected
    assert "01jdcz0000000000000000000a" in str(failed)
    assert found["error"] is None or "SOME_CODE: what to do" in str(failed)


def test_every_final_state_but_ready_is_a_failure() -> None:
    assert {state for state in FINAL_STATES if failure("job", _ended(state)) is None} == {"READY"}


@pytest.mark.parametrize(("kind", "expected"), [("user", NO_RETRY), ("fatal", NO_RETRY), ("retriable", RETRY)])
def test_only_an_outage_of_the_service_is_retried(kind: str, expected: type[Exception]) -> None:
    refused = refusal(ApiError("SOME_CODE", "what to do", kind=kind, request_id="r-1"))
    assert (type(refused), str(refused)) == (expected, "SOME_CODE: what to do (request r-1)")


def test_unknown_option_is_an_error_of_the_dag() -> None:
    with pytest.raises(ValueError, match=r"task import: unknown options colums; there are again, kind, list"):
        MusterImportOperator(task_id="import", audience="vip", source="s3://shop/vip.csv", options={"colums": []})
    with pytest.raises(ValueError, match="unknown options key"):
        MusterExportOperator(task_id="export", audience="vip", to="download", options={"key": "mine"})
