"""An engine whose ECS refuses a task as often as its variable says: tests cannot cause this in another way.

REFUSED is `<error as Step Functions names it> <times> <id>`. ECS gives the answers behind that name: failures, an error
that its API declares, and one that it does not.
"""

from collections import Counter
from typing import Any

from orchestration.local.engine import server
from orchestration.local.engine.moto_parts import imported_lightly

with imported_lightly():
    from moto.core.exceptions import JsonRESTError
    from moto.core.responses import ActionResult
    from moto.ecs.responses import EC2ContainerServiceResponse

ANSWERS = {
    "ECS.AmazonECSException": (400, "ThrottlingException", "Rate exceeded"),
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
        for variable in variables:
            error, times, id_ = variable["value"].split()
            self._seen[id_] += 1
            if self._seen[id_] <= int(times):
                return str(error)
        return None


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

    EC2ContainerServiceResponse.run_task = run  # type: ignore[method-assign]
    server.main()


if __name__ == "__main__":
    main()
