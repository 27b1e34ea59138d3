"""What the end of a job, or an error of the API, means for a task: success, another try, or failure at once.

| job or error | task |
|---|---|
| READY | succeeds |
| FAILED or `ApiError` of the kind `retriable` | fails, and is retried as often as the task says |
| FAILED or `ApiError` of another kind | fails without a retry: the file, the request or the deployment needs someone |
| CANCELLED, SUPERSEDED | fails without a retry: someone, or a newer import, has decided |
"""

from collections.abc import Mapping
from typing import Any, Final

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from muster import ApiError

RETRIABLE: Final = "retriable"
ENDED: Final = {
    "CANCELLED": "was cancelled",
    "SUPERSEDED": "was superseded: a newer import of the audience was published first",
}


def failure(job: str, found: Mapping[str, Any]) -> AirflowException | None:
    """Why a task fails whose job has ended like this. None if the job is READY."""
    state, error = str(found["state"]), found["error"]
    if state == "READY":
        return None
    if error is None:
        return AirflowFailException(f"job {job} {ENDED.get(state, f'has ended as {state}')}")
    return _exception(f"job {job} failed with {error['code']}: {error['message']}", str(error["kind"]))


def refusal(error: ApiError) -> AirflowException:
    """Why a task fails whose request was answered with this error, or not at all."""
    request = f" (request {error.request_id})" if error.request_id else ""
    return _exception(f"{error}{request}", error.kind)


def _exception(message: str, kind: str) -> AirflowException:
    return AirflowException(message) if kind == RETRIABLE else AirflowFailException(message)
