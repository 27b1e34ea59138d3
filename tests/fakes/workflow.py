"""Step Functions as the control plane, the sweeper and the CLI see it: executions with a status, answered tokens."""

from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError


@dataclass(slots=True)
class InMemoryWorkflow:
    """Executions by ARN, and the answers to each token. An execution missing from `statuses` does not exist.

    `away`: executions can be neither started nor described.
    """

    statuses: dict[str, str] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)
    away: bool = False
    answers: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def forget(self) -> None:
        """As if nothing had been started yet."""
        for found in (self.statuses, self.causes, self.started, self.inputs, self.answers):
            found.clear()
        self.away = False

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803  # boto3's names
        self._reached()
        if executionArn not in self.statuses:
            raise _error("ExecutionDoesNotExist", "DescribeExecution")
        return {
            "executionArn": executionArn,
            "status": self.statuses[executionArn],
            "cause": self.causes.get(executionArn, ""),
        }

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:  # noqa: A002, N803
        self._reached()
        arn = f"{stateMachineArn.replace(':stateMachine:', ':execution:')}:{name}"
        if arn in self.statuses and arn in self.inputs:  # same as Step Functions and the engine
            if self.statuses[arn] == "RUNNING" and self.inputs[arn] == input:
                return {"executionArn": arn}
            raise _error("ExecutionAlreadyExists", "StartExecution")
        self.statuses[arn], self.inputs[arn] = "RUNNING", input
        self.started.append(input)
        return {"executionArn": arn}

    def stop_execution(self, *, executionArn: str, error: str = "", cause: str = "") -> dict[str, Any]:  # noqa: N803
        if executionArn not in self.statuses:
            raise _error("ExecutionDoesNotExist", "StopExecution")
        self.statuses[executionArn], self.causes[executionArn] = "ABORTED", f"{error}: {cause}"
        return {}

    def send_task_success(self, **said: Any) -> None:
        self.answers.append(("success", said))

    def send_task_failure(self, **said: Any) -> None:
        self.answers.append(("failure", said))

    def send_task_heartbeat(self, **said: Any) -> None:
        self.answers.append(("heartbeat", said))

    def _reached(self) -> None:
        if self.away:
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    def said(self) -> list[str]:
        """Kinds of the answers given so far, in order."""
        return [kind for kind, _ in self.answers]


def _error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)
