"""Access to the internals of moto, for the patches."""

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
    """A module of moto, typed as `Any`."""
    return importlib.import_module(name)


@contextmanager
def imported_lightly() -> Iterator[None]:
    """For the import of moto: without this, half of its time goes into lists that nothing here requests.

    moto creates boto3 sessions in several places, each of which reads all AWS endpoints, and it reads the instance
    types of each zone.
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


def forget_instances() -> None:
    """Do not keep a list of all records ever made, which moto has for pages that this engine does not serve."""
    module("moto.core.common_models").BaseModel.__new__ = lambda cls, *_args, **_options: object.__new__(cls)


def replace_everywhere(name: str, old: object, new: object) -> None:
    """Replace a function in every module that has imported it by name."""
    for loaded in list(sys.modules.values()):
        if getattr(loaded, name, None) is old:
            setattr(loaded, name, new)
