"""The rejected rows of a job: where each is, what is wrong with it, and how it begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.views.jobs import Jobs
from orchestration.api.service import asked_in_tenant
from orchestration.console.context import ask
from orchestration.console.faults import reject_text
from orchestration.console.frame import frame_of
from orchestration.console.paths import IN_TENANT, in_tenant, next_page, page_start
from orchestration.console.rendering import see_other, shown
from orchestration.records.jobs import Reject

ROWS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectRow:
    """A rejected row. `line`: in the file; of formats without lines, the number of the row."""

    reject: Reject
    line: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeChoice:
    """One reason, or all of them."""

    text: str
    count: int
    path: str
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectsPage:
    """A page of rejected rows."""

    job: str
    job_path: str
    file_path: str
    codes: Sequence[CodeChoice]
    rows: Sequence[RejectRow]
    next_path: str | None

    @property
    def several(self) -> bool:
        """Whether the job reads several files."""
        return any(row.reject.file for row in self.rows)


async def show_rejects(request: Request) -> Response:
    """The page. Every view of it is in the audit trail, since it shows data of users."""
    job, tenant = request.path_params["job"], request.path_params["tenant"]
    code = request.query_params.get("code") or None
    after = page_start(request, code=code)
    found = await asked_in_tenant(request, Jobs, tenant, Jobs.rejected_rows, job, code=code, after=after, limit=ROWS)
    frame = await ask(request, lambda context: frame_of(request, context, "jobs"))
    t, id_ = frame.texts, found.job
    by_code = sorted(found.rejected_by_code.items(), key=lambda item: (-item[1], item[0]))
    page = RejectsPage(
        job=id_,
        job_path=in_tenant(tenant, "jobs", id_),
        file_path=in_tenant(tenant, "jobs", id_, "rejects", "file"),
        codes=[
            CodeChoice(
                text=reject_text(one, t) if one else t("rejects.all"),
                count=count,
                path=in_tenant(tenant, "jobs", id_, "rejects", code=one),
                chosen=(one or None) == code,
            )
            for one, count in [("", found.rejected or 0), *by_code]
        ],
        rows=[
            RejectRow(reject=row, line=_line(row, t("rejects.row")), text=reject_text(row.code, t))
            for row in found.items
        ],
        next_path=next_page(request, found.next, code=code),
    )
    return shown("rejects.html", frame, page)


async def fetch_rejects(request: Request) -> Response:
    """Leads to the file with all rejected rows, by an address that is valid for five minutes; recorded as the page is.

    Not a form: pages may not send forms to other hosts, also not by a redirect.
    """
    job = request.path_params["job"]
    return await ask(request, lambda context: see_other(context.view(Jobs).get_rejects_file(job).url))


def _line(row: Reject, word: str) -> str:
    if row.line is not None:
        return f"{row.line:,}"
    return "" if row.ordinal is None else f"{word} {row.ordinal + 1:,}"


ROUTES: Final = (
    Route(f"{IN_TENANT}/jobs/{{job}}/rejects", show_rejects),
    Route(f"{IN_TENANT}/jobs/{{job}}/rejects/file", fetch_rejects),
)
