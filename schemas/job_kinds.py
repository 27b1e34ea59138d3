"""The kinds of jobs and of requests for them: a row each, which catalog, API, commands and console read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from schemas.columns import ImportKind

RequestKind = Literal["import", "export", "snapshot"]
"""The member of a workflow's input that holds the request; also the kind of a schedule."""
ImportJobKind = Literal[ImportKind, "snapshot"]
"""Kinds of jobs that go through the machine of imports: the kind of rows that they import, or a segment's snapshot."""
JobKind = Literal[ImportJobKind, "export"]
JobKey = Literal["job", "export"]
"""The member of records that holds a job's id; also the word for such a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTraits:
    """`key`: of the jobs that it starts. `address`: the member that may have placeholders; None if none may."""

    key: JobKey
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTraits:
    """`request`: the kind of request that starts it. `of_audience`: False if it concerns the tenant as a whole."""

    request: RequestKind
    of_audience: bool = True

    @property
    def key(self) -> JobKey:
        """The key of its id."""
        return REQUEST_KINDS[self.request].key


REQUEST_KINDS: Final[Mapping[RequestKind, RequestTraits]] = {
    "import": RequestTraits(key="job", address="key"),
    "export": RequestTraits(key="export", address="to"),
    "snapshot": RequestTraits(key="job"),
}
JOB_KINDS: Final[Mapping[JobKind, JobTraits]] = {
    "audience": JobTraits(request="import"),
    "events": JobTraits(request="import", of_audience=False),
    "profiles": JobTraits(request="import", of_audience=False),
    "snapshot": JobTraits(request="snapshot"),
    "export": JobTraits(request="export"),
}


def kind_of(record: Mapping[str, Any]) -> JobKind:
    """The kind of a job, by its record: those of exports have no `kind`."""
    return cast(JobKind, record.get("kind", "export"))


def traits_of(record: Mapping[str, Any]) -> JobTraits:
    """The traits of a job, by its record."""
    return JOB_KINDS[kind_of(record)]


def key_of(record: Mapping[str, Any]) -> JobKey:
    """The key of a job's id, by its record or that of its submission."""
    return "export" if "export" in record else "job"


def id_of(record: Mapping[str, Any]) -> str:
    """The id of a job, likewise."""
    return str(record[key_of(record)])
