# ruff: noqa: SLF001 - the private parts of moto are what is used
"""Placement of RunTask's tasks, as on ECS; moto differs in three ways.

1. Our own machines (launch type EC2) without capacity: ECS names each machine in `failures`. moto returns neither a
   task nor a failure.
2. A capacity provider with managed scaling starts a machine if there is none, so its task is placed sooner or later:
   here at once. One that the cluster does not have is refused. moto considers only existing machines.
3. Fargate refuses a task without a network, and launch type EC2 one in a cluster without machines.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from orchestration.local.engine.moto_parts import module

LIMITED: Final = ("CPU", "MEMORY")
FARGATE: Final = ("FARGATE", "FARGATE_SPOT")
"""Capacity providers that every cluster may use, and that need no machine of our own."""


def install() -> None:
    """Let moto's RunTask place tasks as ECS does."""
    _failures()
    _capacity()


def _failures() -> None:
    responses: Any = module("moto.ecs.responses")
    response = responses.EC2ContainerServiceResponse
    run_task = response.run_task

    def run(self: Any) -> Any:
        result = run_task(self).result
        if not result["failures"] and len(result["tasks"]) < self._get_int_param("count", 1):
            backend = self.ecs_backend
            definition = backend.describe_task_definition(self._get_param("taskDefinition"))
            needed = backend._calculate_task_resource_requirements(definition)
            cluster = backend._get_cluster(self._get_param("cluster", "default"))
            result["failures"] = failures(needed, backend.container_instances.get(cluster.name, {}).values())
        return responses.ActionResult(result)

    response.run_task = run


def _capacity() -> None:
    backend: Any = module("moto.ecs.models").EC2ContainerServiceBackend
    invalid: Any = module("moto.ecs.exceptions").InvalidParameterException
    run_task = backend.run_task
    signature = inspect.signature(run_task)

    def run(self: Any, cluster_str: str, *args: Any, **options: Any) -> Any:
        given = signature.bind(self, cluster_str, *args, **options)
        given.apply_defaults()
        arguments, cluster = given.arguments, self._get_cluster(cluster_str)
        launch_type, strategy = arguments["launch_type"], arguments["capacity_provider_strategy"]
        name = None if launch_type or not strategy else provider_of(strategy)
        provider = None if name in (None, *FARGATE) else self.capacity_providers.get(name)
        if name not in (None, *FARGATE) and (provider is None or name not in (cluster.capacity_providers or [])):
            raise invalid(f"The specified capacity provider '{name}' was not found in cluster {cluster.name}.")
        if (launch_type == "FARGATE" or name in FARGATE) and not arguments["networking_configuration"]:
            raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
        if launch_type == "EC2" and not self.container_instances.get(cluster.name):
            raise invalid("No Container Instances were found in your cluster.")
        scaled = provider is not None and provider.auto_scaling_group_provider["managedScaling"]["status"] == "ENABLED"
        if scaled:
            arguments["capacity_provider_strategy"] = [{"capacityProvider": FARGATE[0]}]  # moto: it needs no machine
        started = run_task(*given.args, **given.kwargs)
        for task in started if scaled else ():
            task.capacity_provider_name, task.launch_type = name, "EC2"
        return started

    backend.run_task = run


def provider_of(strategy: Sequence[Mapping[str, Any]]) -> str:
    """The provider with the largest weight; ECS spreads many tasks over all of them, but a single task has one."""
    return str(max(strategy, key=lambda item: item.get("weight", 0))["capacityProvider"])


def failures(needed: Mapping[str, int], machines: Iterable[Any]) -> list[dict[str, str]]:
    """The first resource that each machine lacks; ports if it has enough of everything else."""
    found = []
    for machine in machines:
        left = {r["name"]: r["integerValue"] for r in machine.remaining_resources if r["name"] in LIMITED}
        lacking = next((name for name in LIMITED if needed[name] > left[name]), "PORTS")
        found.append({"arn": machine.container_instance_arn, "reason": f"RESOURCE:{lacking}"})
    return found
