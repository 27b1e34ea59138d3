"""A check of an uploaded file before its import: an inspection, and a dry run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.views.audiences import Audiences
from orchestration.access.views.jobs import Jobs
from orchestration.access.views.operations import Operations
from orchestration.access.views.uploads import Uploads
from orchestration.console.context import PageContext, ask
from orchestration.console.faults import Fault, RejectCount, fault_of, rejects_of
from orchestration.console.forms import form_of, fresh_key
from orchestration.console.frame import Frame, frame_of
from orchestration.console.import_form import OTHERS, files_of, null_values_text, others_of, settings_of
from orchestration.console.inspection_texts import FindingText, finding_texts
from orchestration.console.language import Texts
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.receipts import Column as ResultColumn
from orchestration.console.receipts import Sum, columns_of, sums_of
from orchestration.console.rendering import shown
from orchestration.records.jobs import ImportJob
from orchestration.records.operations import Operation
from schemas.columns import ROUNDED, ImportMode
from schemas.errors import UserError
from schemas.import_formats import IMPORT_FORMATS
from schemas.import_spec import ImportSpec
from schemas.records import as_record
from schemas.text_form import DELIMITER_NAMES, ENCODING_LABELS, Delimiter, TextEncoding

MODES: Final[tuple[ImportMode, ...]] = get_args(ImportMode)
CHECKS: Final = frozenset({"inspection", "dry_run"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedColumn:
    """A column that can be kept. `index`: names its fields in the form.

    `lacking`: it is not in the file, but among the columns that the audience or the earlier import keeps; `may_lack`:
    it is allowed to be missing.
    """

    index: int
    name: str
    source: str
    type: str
    nulls: int
    examples: str
    kept: bool
    lacking: bool = False
    may_lack: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPart:
    """What the check of the file has found: nothing yet, a fault, an inspection, or what an import would do."""

    running_path: str | None
    fault: Fault | None
    rows: int = 0
    format: str = ""
    rejects: Sequence[RejectCount] = ()
    rejected: int = 0
    findings: Sequence[FindingText] = ()
    upload_path: str = ""
    columns: Sequence[CheckedColumn] = ()
    result_columns: Sequence[ResultColumn] = ()
    id_column: str = ""
    id_columns: Sequence[str] = ()
    audience: str = ""
    mode: str = "replace"
    modes: Sequence[str] = MODES
    max_reject_percent: str = "0"
    delimiter: str = ","
    encoding: str = "utf-8"
    timezone: str = ""
    null_values: str = ""
    try_path: str = ""
    start_path: str = ""
    key: str = ""
    sums: Sequence[Sum] = ()
    problems: Sequence[Fault] = ()
    tried: bool = False

    @property
    def delimiters(self) -> Mapping[str, Delimiter]:
        """The delimiters that are read, by their names."""
        return DELIMITER_NAMES

    @property
    def encodings(self) -> Mapping[TextEncoding, str]:
        """The encodings that are read, with their labels."""
        return ENCODING_LABELS

    @property
    def is_csv(self) -> bool:
        """Whether the file has a delimiter, and an encoding that is not fixed."""
        return any(name == self.format and traits.untyped for name, traits in IMPORT_FORMATS.items())

    @property
    def may_round(self) -> bool:
        """Whether the file may hold numbers that no double holds."""
        return any(name == self.format and traits.is_binary for name, traits in IMPORT_FORMATS.items())


async def check(request: Request) -> Response:
    """Begin to inspect the file."""
    await form_of(request)
    given = _given(request)

    def call(context: PageContext) -> Response:
        frame, upload = frame_of(request, context, "upload"), request.path_params["upload"]
        source = context.view(Uploads).get_upload(upload).source
        begun = context.view(Operations).inspect(source, kind="audience", format_=None)
        return _part(context, frame, upload, begun, given)

    return await ask(request, call)


async def try_it(request: Request) -> Response:
    """Begin a dry run with the settings of the form."""
    form = await form_of(request)
    wanted, others = settings_of(form), others_of(request)

    def call(context: PageContext) -> Response:
        frame, upload = frame_of(request, context, "upload"), request.path_params["upload"]
        files = files_of(upload, others)
        begun = context.view(Operations).try_import(
            None, **files, target=form.get("audience", ""), spec=wanted.changes()
        )
        return _part(context, frame, upload, begun, {OTHERS: others})

    return await ask(request, call)


async def show_check(request: Request) -> Response:
    """Progress and findings of the check of a file."""
    given = _given(request)

    def call(context: PageContext) -> Response:
        frame, upload = frame_of(request, context, "upload"), request.path_params["upload"]
        found = context.view(Operations).get_operation(request.path_params["operation"])
        if found.kind not in CHECKS:
            raise UserError("UNKNOWN_OPERATION", "this operation is no look at a file")
        return _part(context, frame, upload, found, given)

    return await ask(request, call)


Given = Mapping[str, Any]
"""What the address of a check carries on: the audience, the job whose settings apply, and the other files."""


def _given(request: Request) -> Given:
    given = {name: request.query_params.get(name, "")[:63] for name in ("audience", "like")}
    return {**given, OTHERS: others_of(request)}


def _part(context: PageContext, frame: Frame, upload: str, found: Operation, given: Given) -> Response:
    t, result = frame.texts, found.result
    path = in_tenant(context.tenant, "uploads", upload, "checks", found.operation, **given)
    part = CheckPart(running_path=path if found.running else None, fault=fault_of(found.error, t))
    if result is not None:
        fault = fault_of(result.get("fault"), t)
        part = replace(part, fault=fault, **(_tried(result, t) if found.kind == "dry_run" else {}))
        if found.kind == "inspection":
            part = replace(part, **_inspected(context, upload, result, given, t))
    return shown("parts/check.html", frame, part)


def _inspected(context: PageContext, upload: str, result: Record, given: Given, t: Texts) -> dict[str, Any]:
    findings = result.get("findings", ())
    if any(one["blocking"] for one in findings):
        return {"findings": finding_texts(findings, t), "upload_path": in_tenant(context.tenant, "upload", **given)}
    suggested = result["spec"] or as_record(ImportSpec())
    like = _settings_of(context, given["like"]) if given.get("like") else None
    saved = None if like is not None else _saved(context, given.get("audience", ""))
    spec = like if like is not None else _as_saved(saved, suggested)
    kept = {one["source"] or one["name"]: one for one in spec["columns"]}
    offered = {one["source"] or one["name"]: one for one in suggested["columns"]}
    seen = {one["name"]: one for one in result["columns"]}
    columns = [
        CheckedColumn(
            index=index,
            name=str(kept.get(source, one)["name"]),
            source=source,
            type=_type_of(kept.get(source, one)),
            nulls=seen.get(source, {}).get("nulls", 0),
            examples=", ".join(seen.get(source, {}).get("examples", ())),
            kept=source in kept,
        )
        for index, (source, one) in enumerate(offered.items())
    ]
    before = spec if like is not None else saved or suggested
    present = {one["name"] for source, one in kept.items() if source in offered}
    lacking = [one for one in before["columns"] if one["name"] not in present]
    columns += [
        CheckedColumn(
            index=len(offered) + index,
            name=one["name"],
            source=one["source"] or one["name"],
            type=one["type"],
            nulls=result["rows"],
            examples="",
            kept=True,
            lacking=True,
            may_lack=one["name"] in before.get("allow_missing_columns", ()),
        )
        for index, one in enumerate(lacking)
    ]
    findings = [_as_offered(one, {column.source: column.type for column in columns}) for one in findings]
    tolerated = any(one["detail"].get("rejects") is True for one in findings)
    percent = (10_000 * result["rejected"] // result["rows"] + 1) / 100 if tolerated and result["rejected"] else 0.0
    return {
        "rows": result["rows"],
        "format": str(result["format"] or ""),
        "rejected": result["rejected"],
        "rejects": rejects_of(result["rejected_by_code"], t),
        "findings": finding_texts(findings, t),
        "columns": columns,
        "id_column": spec["id_column"],
        "id_columns": [one["name"] for one in result["columns"]],
        "audience": given.get("audience", ""),
        "mode": spec["mode"],
        "max_reject_percent": f"{max(100 * spec['max_reject_share'], percent):g}",
        "delimiter": suggested.get("delimiter", ","),
        "encoding": suggested.get("encoding", "utf-8"),
        "timezone": spec["timezone"] or suggested["timezone"] or "",
        "null_values": null_values_text(dict.fromkeys([*spec["null_values"], *suggested["null_values"]])),
        "try_path": in_tenant(context.tenant, "uploads", upload, "try", **{OTHERS: given[OTHERS]}),
        "start_path": in_tenant(context.tenant, "uploads", upload, "start", **{OTHERS: given[OTHERS]}),
        "key": fresh_key(),
    }


def _settings_of(context: PageContext, job: str) -> Record | None:
    """The settings of an import; None for an export."""
    found = context.view(Jobs).get_job(job)
    return found.spec if isinstance(found, ImportJob) else None


def _saved(context: PageContext, audience: str) -> Record | None:
    """The settings of an existing audience."""
    try:
        return context.view(Audiences).get_audience(audience).record.spec if context.may(Action.READ) else None
    except UserError:  # a new one, or a name that the form will refuse
        return None


def _as_saved(saved: Record | None, suggested: Record) -> Record:
    """The suggested settings, with how an existing audience reads the columns that it has."""
    if saved is None:
        return suggested
    known = {key: one for one in saved["columns"] for key in (one["name"], one["source"]) if key}
    columns = []
    for one in suggested["columns"]:
        source = one["source"] or one["name"]
        as_known = known.get(source) or known.get(one["name"]) or one
        columns.append({**as_known, "source": None if source == as_known["name"] else source})
    return {**suggested, "columns": columns, **{name: saved[name] for name in ("mode", "timezone", "null_values")}}


def _as_offered(finding: Record, types: Mapping[str, str]) -> Record:
    """What the offered type of a column rejects, which may be the audience's instead of the suggested one."""
    if finding["code"] != "mostly_typed":
        return finding
    rejects = types.get(finding["column"]) == finding["detail"]["type"]
    return {**finding, "detail": {**finding["detail"], "rejects": rejects}}


def _type_of(column: Record) -> str:
    """A choice of the form: the type, and whether numbers may be rounded."""
    return f"{column['type']}{ROUNDED if column.get('rounded') else ''}"


def _tried(result: Record, t: Texts) -> dict[str, Any]:
    problems = [fault for one in result.get("problems", ()) if (fault := fault_of(one, t)) is not None]
    receipt = {**result, "members": result["membership"]["members"]} if "membership" in result else result
    return {
        "sums": sums_of(receipt, t),
        "result_columns": columns_of(receipt, t) if "membership" in result else (),
        "problems": problems,
        "rejected": result["rejected"],
        "rejects": rejects_of(result["rejected_by_code"], t),
        "tried": True,
    }


_UPLOAD: Final = f"{IN_TENANT}/uploads/{{upload}}"
ROUTES: Final = (
    Route(f"{_UPLOAD}/check", check, methods=["POST"]),
    Route(f"{_UPLOAD}/try", try_it, methods=["POST"]),
    Route(f"{_UPLOAD}/checks/{{operation}}", show_check),
)
