"""How the patches reach into moto."""

import importlib
import sys
from typing import Any, Final

PARSER: Final = "moto.stepfunctions.parser."
SERVICE: Final = PARSER + "asl.component.state.exec.state_task.service.state_task_service"


def module(name: str) -> Any:
    """A module of moto, typed as what it is for us: anything."""
    return importlib.import_module(name)


def replace_everywhere(name: str, old: object, new: object) -> None:
    """A function that other modules have imported by name is replaced in each of them."""
    for loaded in list(sys.modules.values()):
        if getattr(loaded, name, None) is old:
            setattr(loaded, name, new)
