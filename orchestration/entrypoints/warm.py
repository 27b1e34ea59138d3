"""Imports what functions import when they are called, for processes forked from this one.

It creates nothing that belongs to a job: no context, no connection, no thread.
"""

import importlib
import os
import pkgutil
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import duckdb

from connectors.loading import hide_pandas
from connectors.storage.access import DEFAULT_OPTIONS, S3Access, new_client
from orchestration import kinds as steps
from orchestration.platform.tracing import tracing_modules
from orchestration.workflow.resources import function_specs
from schemas.warm import warm as warm_hashing
from streams.memory import release_compiler

ON_DEMAND: Final = (
    "connectors.lake.activity_receipts",
    "connectors.lake.build",
    "connectors.lake.store",
    "encodings.idna",
    "orchestration.catalog.scaling",
    "orchestration.operations.scaling",
    "orchestration.workflow.services",
    "pyiceberg.catalog.sql",
    "pyiceberg.io.pyarrow",
    "sqlalchemy.dialects.sqlite",
    "sqlite3",
)
"""Modules that steps import when they are called, and imports of those."""


def warm() -> None:
    """Import all of it, load the kernels, and read the S3 service description. Takes 1.5 s."""
    hide_pandas()
    for name in (*_handlers(), *_steps(), *ON_DEMAND, *tracing_modules(os.environ)):
        with suppress(Exception):  # the function that needs it reports the error
            importlib.import_module(name)
    duckdb.default_connection().close()  # created by the import, with a thread; another is created on demand
    warm_hashing()
    # boto3 keeps the description of a service in its session. The keys are dummies, and no connection is opened.
    new_client(S3Access(endpoint="", region="us-east-1", access_key="none", secret_key="none"), DEFAULT_OPTIONS)  # noqa: S106
    release_compiler()


def _handlers() -> list[str]:
    return sorted({function.handler.rpartition(".")[0] for function in function_specs()})


def _steps() -> Iterator[str]:
    for module in pkgutil.walk_packages(steps.__path__, f"{steps.__name__}.", onerror=lambda _: None):
        yield module.name
