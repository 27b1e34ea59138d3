"""Contexts for commands that bypass the service, closed when the command ends."""

from typing import TYPE_CHECKING

from orchestration.cli.session import SESSION, settings
from orchestration.platform.deferred import deferred

if TYPE_CHECKING:
    from orchestration.composition.context import Context
    from orchestration.operations.availability import Service
    from orchestration.platform.settings import Settings

with deferred(__name__):
    from orchestration.composition import context as composition
    from orchestration.operations import availability


def catalog_context() -> "Context":
    """A context for commands that need only the catalog. Raises `RetriableError` STACK_NOT_RUNNING."""
    loaded = settings()
    availability.require_catalog(loaded)
    return plain_context(loaded)


def lake_context() -> "Context":
    """A context for commands that read and write the lake. Raises `RetriableError` STACK_NOT_RUNNING."""
    return _with_services("object store")


def receiver_context(address: str) -> "Context":
    """A context for users who have only an address: a local one needs no stack. Raises as `lake_context`."""
    return lake_context() if "://" in address else plain_context(settings())


def stack_context() -> "Context":
    """A context for commands that start a job or a run. Raises `RetriableError` STACK_NOT_RUNNING."""
    return _with_services("object store", "workflow engine", "Kafka")


def _with_services(*services: "Service") -> "Context":
    loaded = settings()
    availability.require_services(loaded, *services)
    return plain_context(loaded)


def plain_context(loaded: "Settings") -> "Context":
    """A context that is closed when the command ends. It needs no running stack."""
    context = composition.Context(loaded)
    SESSION.resources.callback(context.close)
    return context
