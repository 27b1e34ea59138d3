"""One case of the conformance suite, and short builders for its states."""

from dataclasses import dataclass, field
from typing import Any

STATES = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`expected` is part of the answer of DescribeExecution; output is compared whole."""

    name: str
    states: STATES
    data: Any = field(default_factory=dict)
    output: Any = None
    error: str | None = None
    cause: str | None = None
    status: str = "SUCCEEDED"
    top: dict[str, Any] = field(default_factory=dict)

    @property
    def definition(self) -> dict[str, Any]:
        """The complete state machine."""
        return {"StartAt": next(iter(self.states)), "States": self.states, **self.top}


def invoke(function: str, payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A Task state that calls a function of the engine under test."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": f"${{{function}Function}}", "Payload": payload},
        **({"End": True} if "Next" not in more else {}),
        **more,
    }


def choice(rule: dict[str, Any]) -> STATES:
    """States that end with yes or no, by one rule."""
    return {
        "Ask": {"Type": "Choice", "Choices": [{**rule, "Next": "Yes"}], "Default": "No"},
        "Yes": {"Type": "Pass", "Result": "yes", "End": True},
        "No": {"Type": "Pass", "Result": "no", "End": True},
    }


def caught(errors: list[str], failing: dict[str, Any], **catch: Any) -> STATES:
    """A failing state and a catcher."""
    state = {k: v for k, v in failing.items() if k != "End"}
    return {
        "Work": {**state, "Catch": [{"ErrorEquals": errors, "Next": "Caught", **catch}], "Next": "Done"},
        "Caught": {"Type": "Pass", "End": True},
        "Done": {"Type": "Succeed"},
    }
