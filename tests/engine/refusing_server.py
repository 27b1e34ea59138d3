"""An engine whose ECS and Lambda refuse as often as they are asked to: tests cannot cause this in another way.

The variable REFUSED of a task, and `refused` in the event of a function, are
`<error as Step Functions names it> <times> <id>`. ECS gives the answers behind that name: failures, an error that its
API declares, and one that it does not.
"""

import json
from collections import Counter
from typing import Any

from orchestration.local.engine import server
from orchestration.local.engine.moto_parts import imported_lightly

with imported_lightly():
    from moto.awslambda.exceptions import LambdaClientError
    from moto.awslambda.responses import LambdaResponse
    from moto.core.exceptions import JsonRESTError
    from moto.core.responses import ActionResult
    from moto.ecs.responses import EC2ContainerServiceResponse

ANSWERS = {
    "ECS.AmazonECSException": (400, "ThrottlingException", "Rate exceeded"),
    "ECS.ClientException": (400, "ClientException", "You've reached the limit on the number of tasks"),
    "ECS.ServerException": (500, "ServerException", "Service Unavailable. Please try again later."),
}
NO_CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone"


class Refusals:
    """Number of refusals of each id so far."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def due(self, overrides: Any) -> str | None:
        """The error with which to refuse a task now, or None."""
        containers = (overrides or {}).get("containerOverrides", [])
        variables = [v for c in containers for v in c.get("environment", []) if v["name"] == "REFUSED"]
        return next((error for variable in variables if (error := self.next(variable["value"])) is not None), None)

    def next(self, order: str) -> str | None:
        """The error of `<error> <times> <id>`, or None once it was given so often."""
        error, times, id_ = order.split()
        self._seen[id_] += 1
        return error if self._seen[id_] <= int(times) else None


def main() -> None:
    refusals, run_task = Refusals(), EC2ContainerServiceResponse.run_task

    def run(self: Any) -> Any:
        error = refusals.due(self._get_param("overrides"))
        if error is None:
            return run_task(self)
        if error == "AmazonECS.Unknown":
            return ActionResult({"tasks": [], "failures": [{"reason": NO_CAPACITY}]})
        status, code, message = ANSWERS[error]
        answer = JsonRESTError(code, message)
        answer.code = status
        raise answer

    invoke = LambdaResponse.invoke

    def invoke_or_refuse(self: Any) -> Any:
        event = json.loads(self.body or "null")
        order = event.get("refused") if isinstance(event, dict) else None
        error = None if order is None else refusals.next(order)
        if error is None:
            return invoke(self)
        raise LambdaClientError(error.removeprefix("Lambda."), "refused by the test")

    EC2ContainerServiceResponse.run_task = run  # type: ignore[method-assign]
    LambdaResponse.invoke = invoke_or_refuse  # type: ignore[method-assign]
    server.main()


if __name__ == "__main__":
    main()
