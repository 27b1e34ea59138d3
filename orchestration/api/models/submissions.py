"""Jobs that are started, cancelled and retried."""

from typing import ClassVar, Literal

from orchestration.access.bodies.common import JOB, Example, Id, Shape
from orchestration.api.models.jobs import ExportJob, ImportJob


class Started(Shape):
    """A job that was started. It is registered within seconds: until then its id is unknown."""

    job: Id
    state: Literal["SUBMITTED"]
    example: ClassVar[Example] = {"job": JOB, "state": "SUBMITTED"}


class StartedExport(Shape):
    """An export that was started. It is registered within seconds: until then its id is unknown."""

    export: Id
    state: Literal["SUBMITTED"]
    example: ClassVar[Example] = {"export": JOB, "state": "SUBMITTED"}


class CancelledImport(ImportJob):
    """A cancelled import or snapshot. `already`: it was cancelled before. `warnings`: what is done within seconds."""

    already: bool
    warnings: list[str]
    example: ClassVar[Example] = {**ImportJob.example, "state": "CANCELLED", "already": False, "warnings": []}


class CancelledExport(ExportJob):
    """A cancelled export."""

    already: bool
    warnings: list[str]


class Retry(Shape):
    """How to run a job again.

    `with_audience_settings`: with the present settings of its audience. `force`: even if the file was at fault.
    `allow_shrink`: for this run, however many members leave the audience.
    """

    with_audience_settings: bool = False
    force: bool = False
    allow_shrink: bool = False
    example: ClassVar[Example] = {"with_audience_settings": True}


class Retried(Started):
    """A new job for the source of an earlier one."""

    retry_of: Id
    example: ClassVar[Example] = {**Started.example, "retry_of": JOB}


class RetriedExport(StartedExport):
    """A new export of the same version to the same destination."""

    retry_of: Id
    example: ClassVar[Example] = {**StartedExport.example, "retry_of": JOB}


class ExportFile(Shape):
    """One file; `key` is its path below the manifest. `url` is valid for five minutes."""

    key: str
    rows: int
    bytes: int
    sha256: str
    url: str


class ExportFiles(Shape):
    """The files of an export. `manifest`: the URL of its manifest."""

    export: Id
    version: int
    rows: int
    manifest: str
    items: list[ExportFile]
    example: ClassVar[Example] = {
        "export": JOB,
        "version": 3,
        "rows": 3,
        "manifest": "https://s3.example/staging/download/acme/x/manifest.json?X-Amz-Signature=...",
        "items": [
            {
                "key": "vip-v3-00000.csv.gz",
                "rows": 3,
                "bytes": 120,
                "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "url": "https://s3.example/staging/download/acme/x/vip-v3-00000.csv.gz?X-Amz-Signature=...",
            }
        ],
    }
