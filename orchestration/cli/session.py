"""One run of the command line: its flags and settings."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.platform.deferred import deferred

if TYPE_CHECKING:
    from orchestration.platform.settings import Settings

with deferred(__name__):
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
