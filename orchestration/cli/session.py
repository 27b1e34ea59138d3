"""One run of the command line: its flags, and the context that commands work with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.context import Context
    from orchestration.settings import Settings


@dataclass(slots=True)
class Session:
    """Flags of the running command. `json`: results and errors as JSON on stdout."""

    debug: bool = False
    json: bool = False


SESSION = Session()
"""A process runs one command."""


def settings() -> "Settings":
    """The settings of this process. Raises `UserError` BAD_SETTINGS."""
    from orchestration.settings import Settings

    return Settings.load()


def catalog_context() -> "Context":
    """A context for commands that read the catalog alone. Raises `RetriableError` STACK_NOT_RUNNING."""
    from orchestration.operations.availability import require_catalog

    loaded = settings()
    require_catalog(loaded)
    return _context(loaded)


def stack_context() -> "Context":
    """A context for commands that need the whole deployment. Raises `RetriableError` STACK_NOT_RUNNING."""
    from orchestration.operations.availability import require_stack

    loaded = settings()
    require_stack(loaded)
    return _context(loaded)


def _context(loaded: "Settings") -> "Context":
    from orchestration.context import Context

    return Context(loaded)
