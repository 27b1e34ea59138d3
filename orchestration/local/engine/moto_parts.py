"""How the patches reach into moto."""

import functools
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

PARSER: Final = "moto.stepfunctions.parser."
OFFERINGS: Final = "/instance_type_offerings/"
SERVICE: Final = PARSER + "asl.component.state.exec.state_task.service.state_task_service"


def module(name: str) -> Any:
    """A module of moto, typed as what it is for us: anything."""
    return importlib.import_module(name)


@contextmanager
def imported_lightly() -> Iterator[None]:
    """While moto is imported: without this, half of the time goes into lists that nobody asks the engine for.

    moto has a session of boto3 in several places, of which each reads all endpoints of AWS, and reads which types of
    machines there are in each zone.
    """
    import boto3

    session = boto3.Session
    boto3.Session = functools.cache(session)  # type: ignore[assignment, misc]
    resources = module("moto.utilities.utils")
    load = resources.load_resource
    resources.load_resource = lambda name: [] if OFFERINGS in name else load(name)
    try:
        yield
    finally:
        boto3.Session = session  # type: ignore[misc]
        resources.load_resource = load


def replace_everywhere(name: str, old: object, new: object) -> None:
    """A function that other modules have imported by name is replaced in each of them."""
    for loaded in list(sys.modules.values()):
        if getattr(loaded, name, None) is old:
            setattr(loaded, name, new)
