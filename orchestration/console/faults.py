"""Why a job failed, and why rows were rejected, in the reader's language if there is a text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.console.language import Texts
from orchestration.console.problems import text_of, title_of
from orchestration.records.jobs import ImportJob, Job, JobFault
from schemas.records import from_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a job or an operation failed."""

    title: str
    text: str
    detail: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectCount:
    """Rejected rows with one reason. `path`: of these rows, if there is one."""

    code: str
    text: str
    count: int
    path: str = ""


def fault_of(error: JobFault | Mapping[str, Any] | None, t: Texts) -> Fault | None:
    """An error of a job or an operation, or one in a result, in the reader's language."""
    if error is None:
        return None
    found = error if isinstance(error, JobFault) else from_record(JobFault, error)
    code, kind = found.code, "file" if found.kind == "user" else "system"
    return Fault(title=title_of(t, code, kind), text=text_of(t, code, kind), detail=found.message, code=code)


def counted_rejects(job: Job) -> Mapping[str, Any]:
    """`rejected` and `rejected_by_code` of a job, once they are counted; they failed it, if there is no evidence."""
    evidence = job.evidence if isinstance(job, ImportJob) else None
    return evidence or ({} if job.error is None else job.error.detail)


def reject_text(code: str, t: Texts) -> str:
    """Why a row was rejected, in the reader's language."""
    return t(f"reject.{code}") if t.has(f"reject.{code}") else code


def rejects_of(by_code: Mapping[str, int], t: Texts) -> list[RejectCount]:
    """The most frequent reason first."""
    return [
        RejectCount(code=code, text=reject_text(code, t), count=count)
        for code, count in sorted(by_code.items(), key=lambda item: (-item[1], item[0]))
    ]
