"""Executions of the state machines, started under a name, so that a repeat is harmless."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from schemas.errors import FatalError, RetriableError

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

    from orchestration.platform.settings import Settings

IMPORT_MACHINE: Final = "ImportAudience"
EXPORT_MACHINE: Final = "ExportAudience"
RUNNING: Final = frozenset({"RUNNING", "PENDING_REDRIVE"})
_UNKNOWN: Final = frozenset({"ExecutionDoesNotExist", "ResourceNotFoundException"})
_STARTED: Final = "ExecutionAlreadyExists"
_OVERLOADED: Final = frozenset(
    {"ExecutionLimitExceeded", "RequestLimitExceeded", "ThrottledException", "ThrottlingException"}
)
_SERVER_FAULT: Final = 500
"""The lowest HTTP status of a fault of the service itself."""


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution as the engine reports it: its status, and why it was stopped, if it was."""

    status: str
    cause: str

    @property
    def running(self) -> bool:
        """Whether it is still running."""
        return self.status in RUNNING


class WorkflowEngine:
    """Step Functions. Every method raises `RetriableError` ENGINE_UNAVAILABLE and `FatalError` ENGINE_REFUSED.

    `client` is called at first use: boto3 takes a third of a second to load.
    """

    def __init__(self, client: "Callable[[], SFNClient]", settings: "Settings") -> None:
        self._client = client
        s = settings
        self._machines = f"arn:aws:states:{s.aws_region}:{s.account_id}:stateMachine:{s.machine_prefix}"

    def machine_arn(self, machine: str = IMPORT_MACHINE) -> str:
        """ARN of a state machine."""
        return f"{self._machines}{machine}"

    def execution_arn(self, name: str, machine: str = IMPORT_MACHINE) -> str:
        """ARN of an execution of a state machine."""
        return f"{self.machine_arn(machine).replace(':stateMachine:', ':execution:')}:{name}"

    def start(self, machine: str, name: str, event: Mapping[str, object]) -> None:
        """Start an execution. An existing one of that name is an earlier attempt of the same call."""
        arn = self.machine_arn(machine)
        try:
            with engine_errors("Step Functions", "start the job"):
                self._client().start_execution(stateMachineArn=arn, name=name, input=json.dumps(event))
        except FatalError as exc:
            if exc.detail["engine_code"] != _STARTED:
                raise

    def describe(self, execution: str | None) -> Execution | None:
        """An execution. None if the engine does not know it."""
        if execution is None:
            return None
        try:
            with engine_errors("Step Functions", "describe the execution"):
                found = self._client().describe_execution(executionArn=execution)
        except FatalError as exc:
            if exc.detail["engine_code"] in _UNKNOWN:
                return None
            raise
        return Execution(status=found["status"], cause=found.get("cause", ""))

    def any_running(self) -> bool:
        """Whether an execution of any machine runs."""
        with engine_errors("Step Functions", "list executions"):
            return any(
                self._client().list_executions(
                    stateMachineArn=self.machine_arn(machine), statusFilter="RUNNING", maxResults=1
                )["executions"]
                for machine in (IMPORT_MACHINE, EXPORT_MACHINE)
            )

    def stop(self, execution: str, cause: str) -> None:
        """Stop an execution, and the step that it runs."""
        with engine_errors("Step Functions", "stop the execution"):
            self._client().stop_execution(executionArn=execution, error="Cancelled", cause=cause)

    def succeed(self, task_token: str, output: object) -> None:
        """Complete the state that waits for a token with a result."""
        with engine_errors("Step Functions", "take the answer"):
            self._client().send_task_success(taskToken=task_token, output=json.dumps(output))

    def fail(self, task_token: str, error: str, cause: str) -> None:
        """Fail the state that waits for a token; keeps the first 4,000 characters of the cause."""
        with engine_errors("Step Functions", "take the answer"):
            self._client().send_task_failure(taskToken=task_token, error=error, cause=cause[:4000])

    def heartbeat(self, task_token: str) -> None:
        """Send a heartbeat, so that a state waits for its token longer."""
        with engine_errors("Step Functions", "take the heartbeat"):
            self._client().send_task_heartbeat(taskToken=task_token)


def workflow_client(settings: "Settings") -> "SFNClient":
    """A client of Step Functions, or of the local engine."""
    client: SFNClient = engine_client(settings, "stepfunctions")
    return client


def engine_client(settings: "Settings", service: str) -> Any:
    """A client of a service at AWS, or of the local engine, which has several."""
    import boto3  # noqa: PLC0415  # a third of a second

    at = {} if not settings.engine_url else {"endpoint_url": settings.engine_url, **settings.engine_keys()}
    return boto3.client(service, region_name=settings.aws_region, **at)  # type: ignore[call-overload]  # a variable


@contextmanager
def engine_errors(service: str, what: str) -> Iterator[None]:
    """Translate errors of boto3 to `RetriableError` ENGINE_UNAVAILABLE and `FatalError` ENGINE_REFUSED."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # as slow as boto3

    try:
        yield
    except ClientError as exc:
        code = str(exc.response["Error"]["Code"])
        status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _OVERLOADED or status >= _SERVER_FAULT:
            raise RetriableError("ENGINE_UNAVAILABLE", f"{service} cannot {what} now: {code}") from exc
        raise FatalError("ENGINE_REFUSED", f"{service} refuses to {what}: {code}", engine_code=code) from exc
    except BotoCoreError as exc:
        raise RetriableError("ENGINE_UNAVAILABLE", f"{service} cannot be reached: {type(exc).__name__}") from exc
