"""Access to the internals of moto, for the patches."""

import functools
import gzip
import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

PARSER: Final = "moto.stepfunctions.parser."
OFFERINGS: Final = "/instance_type_offerings/"
POLICIES: Final = ModuleType("moto.iam.aws_managed_policies")
POLICIES.aws_managed_policies_data = "{}"  # type: ignore[attr-defined]
UNREAD: Final[Mapping[str, Any]] = {"ec2/resources/instance_types.json": {}}
SERVICE: Final = PARSER + "asl.component.state.exec.state_task.service.state_task_service"


def module(name: str) -> Any:
    """A module of moto, typed as `Any`."""
    return importlib.import_module(name)


@contextmanager
def imported_lightly() -> Iterator[None]:
    """For the import of moto: without this, half of its time and memory goes into lists that nothing here requests.

    moto creates boto3 sessions in several places, each of which reads all AWS endpoints. To list the regions of EC2, it
    reads the description of that whole service, and it reads all instance types, those of each zone, and all policies
    of AWS.
    """
    import boto3

    _share_descriptions()
    sys.modules[POLICIES.__name__] = POLICIES
    botocore: Any = module("botocore.session").Session
    session, describe = boto3.Session, botocore.get_service_data
    boto3.Session = functools.cache(session)  # type: ignore[assignment, misc]
    botocore.get_service_data = lambda _self, name: {"metadata": {"endpointPrefix": name}}
    resources = module("moto.utilities.utils")
    load = resources.load_resource
    resources.load_resource = lambda name: UNREAD[name] if name in UNREAD else [] if OFFERINGS in name else load(name)
    try:
        yield
    finally:
        boto3.Session = session  # type: ignore[misc]
        botocore.get_service_data = describe
        resources.load_resource = load


def _share_descriptions() -> None:
    """Let all botocore sessions of the process share the files that they parse and only read, as plain dicts.

    Each session has its own otherwise, and the engine has one for each client and one for the server's side of it.
    """
    files: Any = module("botocore.loaders").JSONFileLoader

    @functools.cache
    def parsed(path: str) -> Any:
        if (plain := Path(f"{path}.json")).is_file():
            return json.loads(plain.read_bytes())
        packed = Path(f"{path}.json.gz")
        return json.loads(gzip.decompress(packed.read_bytes())) if packed.is_file() else None

    files.load_file = lambda _self, path: parsed(path)


def forget_instances() -> None:
    """Do not keep a list of all records ever made, which moto has for pages that this engine does not serve."""
    module("moto.core.common_models").BaseModel.__new__ = lambda cls, *_args, **_options: object.__new__(cls)


def replace_everywhere(name: str, old: object, new: object) -> None:
    """Replace a function in every module that has imported it by name."""
    for loaded in list(sys.modules.values()):
        if getattr(loaded, name, None) is old:
            setattr(loaded, name, new)
