"""One run of the command line: its flags, and the context for its command."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.platform.deferred import deferred

if TYPE_CHECKING:
    from orchestration.context import Context
    from orchestration.operations.availability import Service
    from orchestration.platform.settings import Settings

with deferred(__name__):
    from orchestration import context as contexts
    from orchestration.operations import availability
    from orchestration.platform import settings as environment


@dataclass(slots=True)
class Session:
    """Flags of the running command. `json`: results and errors as JSON on stdout.

    `note`: the name that --as gives, for the service. `resources`: closed when the command ends.
    """

    debug: bool = False
    json: bool = False
    actor: str = ""
    note: str = ""
    resources: ExitStack = field(default_factory=ExitStack, compare=False)

    def end(self) -> None:
        """Close the command's connections and reset all state: the next command of this process starts fresh."""
        self.resources.close()
        self.debug = self.json = False
        self.actor, self.note = "", ""


SESSION = Session()
"""A process runs one command at a time."""


def settings() -> "Settings":
    """The settings of this process. Raises `UserError` BAD_SETTINGS."""
    return environment.Settings.load()


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
    context = contexts.Context(loaded)
    SESSION.resources.callback(context.close)
    return context
