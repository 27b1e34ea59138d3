"""Upload a file: the browser sends it to the object store, then the service checks it before anything starts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.imports import NewImport
from orchestration.access.policy import Action
from orchestration.access.views.audiences import Audiences
from orchestration.access.views.jobs import Jobs
from orchestration.access.views.submissions import Submissions
from orchestration.access.views.uploads import Uploads
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of, key_of
from orchestration.console.frame import frame_of
from orchestration.console.import_form import OTHERS, files_of, others_of, settings_of
from orchestration.console.job_texts import id_of, title_of
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import see_other, shown
from orchestration.records.jobs import Started
from orchestration.records.uploads import Upload
from schemas.import_formats import COMPRESSED_SUFFIXES, IMPORT_FORMATS

AUDIENCES: Final = 500
MAX_BROWSER_BYTES: Final = 5 * 2**30
"""What one PUT takes; larger files go by the command line, in parts."""
MAX_BROWSER_FILES: Final = 100
"""Of one import: their ids stand in the addresses of the pages."""
SUFFIXES: Final = (*(suffix for traits in IMPORT_FORMATS.values() for suffix in traits.suffixes), *COMPRESSED_SUFFIXES)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPage:
    """Choose a file. `like`: a job whose settings the import takes over, and `like_title`: what it imported."""

    uploads_path: str
    next_path: str
    audiences: Sequence[str]
    audience: str
    like: str
    like_title: str
    max_bytes: int
    max_files: int
    formats: Sequence[str] = tuple(traits.label for traits in IMPORT_FORMATS.values())
    suffixes: Sequence[str] = SUFFIXES


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPage:
    """A file that has arrived, before its import; `others`: files that are imported with it."""

    upload: Upload
    others: Sequence[Upload]
    check_path: str


async def choose(request: Request) -> Response:
    """The page with the drop zone."""
    like, audience = request.query_params.get("like", ""), request.query_params.get("audience", "")[:63]

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "upload")
        uploads = context.view(Uploads)
        job = context.view(Jobs).get_job(like) if like else None
        found = context.view(Audiences).list_audiences(limit=AUDIENCES).items if context.may(Action.READ) else []
        page = UploadPage(
            uploads_path=f"/v1/tenants/{context.tenant}/uploads",
            next_path=in_tenant(context.tenant, "uploads", "UPLOAD"),
            audiences=[one.audience for one in found],
            audience=job.audience if job else audience,
            like="" if job is None else id_of(job),
            like_title="" if job is None else title_of(job, frame.texts),
            max_bytes=MAX_BROWSER_BYTES,
            max_files=MAX_BROWSER_FILES,
        )
        return shown("upload.html", replace(frame, connect=[uploads.origin()]), page)

    return await ask(request, call)


async def show_upload(request: Request) -> Response:
    """The page of a file that has arrived; it requests the check."""
    given = {name: request.query_params.get(name, "")[:63] for name in ("audience", "like")}

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "upload")
        uploads, others = context.view(Uploads), others_of(request)
        found = uploads.get_upload(request.path_params["upload"])
        page = CheckPage(
            upload=found,
            others=[uploads.get_upload(one) for one in others],
            check_path=in_tenant(context.tenant, "uploads", found.upload, "check", **given, **{OTHERS: others}),
        )
        return shown("check.html", frame, page)

    return await ask(request, call)


async def start(request: Request) -> Response:
    """Start the import."""
    form = await form_of(request)
    key, wanted = key_of(request, form), settings_of(form)
    upload, others = request.path_params["upload"], others_of(request)

    def call(context: PageContext) -> Response:
        body = NewImport(audience=form.get("audience", ""), settings=wanted, **files_of(upload, others))
        return _started(context, upload, others, context.view(Submissions).start_import(body, key=key))

    return await ask(request, call)


async def start_again(request: Request) -> Response:
    """Start the import once more, with the settings of the job that it repeats."""
    form = await form_of(request)
    key, like, upload = key_of(request, form), form.get("like", ""), request.path_params["upload"]
    others = others_of(request)

    def call(context: PageContext) -> Response:
        started = context.view(Submissions).import_like(files_of(upload, others), like, key=key)
        return _started(context, upload, others, started)

    return await ask(request, call)


def _started(context: PageContext, upload: str, others: list[str], started: Started) -> Response:
    path = in_tenant(context.tenant, "jobs", started.job, started="1", upload=upload, **{OTHERS: others})
    return see_other(path)


_UPLOAD: Final = f"{IN_TENANT}/uploads/{{upload}}"
ROUTES: Final = (
    Route(f"{IN_TENANT}/upload", choose),
    Route(_UPLOAD, show_upload),
    Route(f"{_UPLOAD}/start", start, methods=["POST"]),
    Route(f"{_UPLOAD}/again", start_again, methods=["POST"]),
)
