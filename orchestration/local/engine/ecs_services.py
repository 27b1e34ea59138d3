"""ECS services of the scaled parts: UpdateService writes their wanted counts, DescribeServices says what runs.

The supervisor follows the file of counts (`local.counts`), and its own file says what runs (`local.status`). moto's
records have neither: there, so many processes run as are wanted.
"""

import copy
import importlib
import threading
from typing import Any

from orchestration.local.counts import read_counts, write_counts
from orchestration.local.home import Home
from orchestration.local.status import PartState, read_status
from segmentation.scaling import Scaled


def install(home: Home) -> None:
    """Make moto's UpdateService and DescribeServices those of the parts of a home."""
    models: Any = importlib.import_module("moto.ecs.models")
    invalid = importlib.import_module("moto.ecs.exceptions").InvalidParameterException
    backend = models.EC2ContainerServiceBackend
    update_service, describe_services = backend.update_service, backend.describe_services
    lock = threading.Lock()

    def update(self: Any, service_properties: dict[str, Any]) -> Any:
        name, count = (
            str(service_properties["service"]).rsplit("/", maxsplit=1)[-1],
            service_properties.get("desired_count"),
        )
        if count is not None and int(count) < 0:
            raise invalid("desiredCount must be at least 0")
        with lock:
            service = update_service(self, service_properties)
            if count is not None and name in tuple(Scaled):
                write_counts(home, {**read_counts(home), Scaled(name): int(count)})
        return _as_it_is(service, home)

    def describe(self: Any, cluster_str: str, service_names_or_arns: list[str]) -> Any:
        found, failures = describe_services(self, cluster_str, service_names_or_arns)
        return [_as_it_is(service, home) for service in found], failures

    backend.update_service, backend.describe_services = update, describe


def _as_it_is(service: Any, home: Home) -> Any:
    """A copy of moto's record with the counts of this moment."""
    if service.name not in tuple(Scaled):
        return service
    parts = [part for part in read_status(home).parts if part.kind == service.name]
    answer = copy.copy(service)
    answer.desired_count = read_counts(home).get(Scaled(service.name), len(parts))
    answer.running_count = sum(part.state is PartState.READY for part in parts)
    answer.pending_count = sum(part.starting for part in parts)
    return answer
