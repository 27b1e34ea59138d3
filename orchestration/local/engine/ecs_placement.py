# ruff: noqa: SLF001 - the private parts of moto are what is used
"""RunTask on machines of one's own (launch type EC2) that have no room: ECS names each machine in `failures`.

moto answers with neither a task nor a failure.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from orchestration.local.engine.moto_parts import module

LIMITED: Final = ("CPU", "MEMORY")


def install() -> None:
    """Let moto's RunTask tell why it has placed fewer tasks than it was asked for."""
    responses: Any = module("moto.ecs.responses")
    response = responses.EC2ContainerServiceResponse
    run_task = response.run_task

    def run(self: Any) -> Any:
        result = run_task(self).result
        if len(result["tasks"]) < self._get_int_param("count", 1):
            backend = self.ecs_backend
            definition = backend.describe_task_definition(self._get_param("taskDefinition"))
            needed = backend._calculate_task_resource_requirements(definition)
            cluster = backend._get_cluster(self._get_param("cluster", "default"))
            result["failures"] = failures(needed, backend.container_instances.get(cluster.name, {}).values())
        return responses.ActionResult(result)

    response.run_task = run


def failures(needed: Mapping[str, int], machines: Iterable[Any]) -> list[dict[str, str]]:
    """What each machine lacks first; where it has enough of everything else, ports are taken."""
    found = []
    for machine in machines:
        left = {r["name"]: r["integerValue"] for r in machine.remaining_resources if r["name"] in LIMITED}
        lacking = next((name for name in LIMITED if needed[name] > left[name]), "PORTS")
        found.append({"arn": machine.container_instance_arn, "reason": f"RESOURCE:{lacking}"})
    return found
