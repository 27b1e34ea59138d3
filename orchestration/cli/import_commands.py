"""`muster import`."""

import json
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from muster.records import Record
from orchestration.cli import options, remote
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_line
from orchestration.cli.dry_runs import DryRunView, show_dry_run
from orchestration.cli.exits import ExitCode, code_for_job
from orchestration.cli.following import Followed, Submitted, duplicate_text, show_end, wait_for, with_receipt
from orchestration.cli.formatting import safe, size
from orchestration.cli.import_target import Audience, Kind, OnlyColumns, target_of, written_by
from orchestration.cli.options import with_import_settings
from orchestration.cli.rendering import local_line
from orchestration.cli.screen import screen
from orchestration.platform.deferred import deferred
from orchestration.platform.local_files import check_readable
from schemas.file_lists import MAX_LIST_BYTES, parse_list
from schemas.ids import JobId
from schemas.import_targets import target_name

if TYPE_CHECKING:
    from muster.client import Client

with deferred(__name__):
    from muster import errors, following

S3: Final = "s3://"
TOP = Group("")
REGISTRATION_POLL_S: Final = 5.0
"""Without --wait: how long to wait for the registration, to report a duplicate or a refusal at once."""
TICK_S: Final = 0.25
MAX_KEY: Final = 200
"""Characters of a request's key: the service takes 255, and keys of uploads have an end of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """An import that was started without waiting for its end, in its present state."""

    job: Followed
    job_id: str

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return self.job.as_record()


def _show_import(found: Submitted | Registered | Followed | DryRunView) -> None:
    match found:
        case DryRunView():
            show_dry_run(found)
        case Followed():
            show_end(found)
        case Registered():
            print_line(found.job_id)
        case Submitted():
            print_line(found.job_id)


@command(
    TOP,
    "import",
    "muster import people.csv --audience vip --wait",
    "muster import s3://bucket/people.csv.gz --audience vip --mode append",
    "muster import s3://bucket/parts/ --audience vip",
    "muster import --list files.txt --audience vip",
    "muster import people.csv --audience vip --id-column email --column age:long=Age",
    "muster import people.csv --audience vip --dry-run",
    "muster import people.csv --audience vip --key people-2026-12-07",
    "muster import vip-3.csv --audience copy --manifest manifest.json",
    "muster import orders.csv --kind events --column total:double --timezone Europe/Berlin",
    show=_show_import,
)
@with_import_settings
def import_(
    *,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="A local file, or s3://bucket/key; s3://bucket/prefix/ for all files below (repeatable).",
        ),
    ] = None,
    listed: Annotated[
        str | None,
        typer.Option(
            "--list", metavar="FILE", help="Import the files that this names: a URI a line, or an UNLOAD's manifest."
        ),
    ] = None,
    audience: Audience = None,
    kind: Kind = "audience",
    only_columns: OnlyColumns = False,
    tenant: options.MeantTenant = None,
    changes: dict[str, Any],
    manifest: Annotated[
        str | None,
        typer.Option("--manifest", metavar="MANIFEST", help="Read SOURCE as the export with this manifest wrote it."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Import the file even if it was imported before.")] = False,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="Text of your own for this import: a repeat gives the same job."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Verify, count and quote; change nothing.")] = False,
    wait: options.Wait = False,
    timeout: options.Timeout = None,
) -> Answer[Submitted | Registered | Followed | DryRunView]:
    """Import members, events or profile changes from a file, or from several as one.

    Members become the next version of the audience; a missing audience is created. Omitted options are taken from the
    settings of the audience.
    """
    if (listed is None) == (not sources):
        raise typer.BadParameter("name one or more files, or a list of files with --list", param_hint="SOURCE")
    if manifest is not None and (listed is not None or len(sources or ()) > 1):
        raise typer.BadParameter("says how one file was written", param_hint="--manifest")
    named = tuple(sources or ())
    target, changes = target_of(kind, audience, changes, only_columns=only_columns, manifest=manifest is not None)
    if dry_run and (wait or again or key is not None):
        raise typer.BadParameter("--dry-run starts no job: --wait, --again and --key do not apply")
    if key is not None and not 1 <= len(key) <= MAX_KEY:
        raise typer.BadParameter(f"a key has 1 to {MAX_KEY} characters", param_hint="--key")
    target_name(target)
    if manifest is not None and not manifest.startswith(S3):
        changes, manifest = {**written_by(Path(manifest), named[0]), **changes}, None
    with remote.service() as found:
        meant = remote.resolve_tenant(found, tenant)
        wanted = Wanted(found, meant, named, listed, key or secrets.token_hex(16))
        if dry_run:
            return _tried(wanted, target, changes, manifest)
        job_id = _start(wanted, _order(kind, audience, changes, manifest, again=again))
    return wait_for(job_id, timeout_s=timeout) if wait else _registered(job_id)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be imported into a tenant: sources, or the files of a list."""

    found: "Client"
    tenant: str
    sources: tuple[str, ...]
    listed: str | None
    key: str
    """Of the request; those of its uploads begin with it."""

    def given(self) -> tuple[dict[str, Any], list[str]]:
        """The members of a request that name the files, and the uploads made for it.

        Local files are checked before the first is sent.
        """
        sources, sent = self.sources, list[str]()

        def send(path: Path) -> Record:
            upload = _sent(self.found, self.tenant, path, f"{self.key}-upload{'' if not sent else f'-{len(sent)}'}")
            sent.append(str(upload["upload"]))
            return upload

        if self.listed is not None:
            if self.listed.startswith(S3):
                return {"list": self.listed}, sent
            parse_list(_content(Path(self.listed)))
            return {"list": send(Path(self.listed))["source"]}, sent
        local = [Path(source) for source in sources if not source.startswith(S3)]
        for path in local:
            check_readable(path)
        if len(sources) == 1:
            return ({"upload": send(local[0])["upload"]} if local else {"source": sources[0]}), sent
        if len(local) == len(sources):
            for path in local:
                send(path)
            return {"uploads": sent}, sent
        uris = [source if source.startswith(S3) else str(send(Path(source))["source"]) for source in sources]
        if prefixes := [uri for uri in uris if uri.endswith("/")]:
            raise typer.BadParameter(f"{prefixes[0]} is a prefix: import it alone", param_hint="SOURCE")
        with TemporaryDirectory(prefix="muster-import-") as folder:
            written = Path(folder) / "files.json"
            written.write_text(json.dumps(uris))
            return {"list": send(written)["source"]}, sent


def _content(path: Path) -> bytes:
    check_readable(path)
    with path.open("rb") as file:
        return file.read(MAX_LIST_BYTES + 1)


def _order(
    kind: str, audience: str | None, changes: dict[str, Any], manifest: str | None, *, again: bool
) -> dict[str, Any]:
    """An import without its source, as the service takes it."""
    settings = {name: value for name, value in changes.items() if name != "other_columns"}
    return {
        "kind": kind,
        "audience": audience,
        "settings": settings,
        "only_columns": "other_columns" in changes,
        "manifest": manifest,
        "again": again,
    }


def _start(wanted: Wanted, order: dict[str, Any]) -> JobId:
    """Start the import, for which local files are uploaded with progress; returns the id of its job."""
    members, _ = wanted.given()
    return JobId(wanted.found.start_import(wanted.tenant, key=wanted.key, **members, **order)["job"])


def _tried(
    wanted: Wanted, target: str, changes: dict[str, Any], manifest: str | None
) -> Answer[Submitted | Registered | Followed | DryRunView]:
    """The result that the import would have. Local files are uploaded for it, and these uploads removed."""
    found, tenant = wanted.found, wanted.tenant
    members, sent = wanted.given()
    try:
        begun = found.begin_dry_run(tenant, target, **members, spec=changes, manifest=manifest)
        result = following.result(found, tenant, begun)
    finally:
        for upload in sent:
            with suppress(errors.ApiError):  # unused uploads are removed after a while, too
                found.delete_upload(tenant, upload)
    code = ExitCode.USER_ERROR if result["problems"] else ExitCode.OK
    return Answer(value=DryRunView(result=result), code=code)


def _sent(found: "Client", tenant: str, path: Path, key: str) -> Record:
    """Upload a local file with progress."""
    check_readable(path)
    total, began = path.stat().st_size, time.monotonic()
    sent, drawn = 0, 0.0

    with screen() as display:

        def count(piece: int) -> None:
            nonlocal sent, drawn
            sent += piece
            now = time.monotonic()
            if now - drawn >= TICK_S or sent >= total:
                drawn = now
                line = local_line("upload", sent, total, now - began)
                display.show([line], line.strip())

        display.show([local_line("upload", 0, total, 0.0)], f"upload {safe(path.name)}, {size(total)}")
        return dict(found.send_file(tenant, path, key=key, on_bytes=count))


def _registered(job_id: JobId) -> Answer[Submitted | Registered | Followed | DryRunView]:
    """Without --wait: the job's id."""
    with remote.service() as found:
        job = _find(found, job_id)
        if job is None:
            return Answer(value=Submitted(job_id=job_id), notes=[_submitted_note(job_id)])
        value = Registered(job=with_receipt(found, job), job_id=job["job"])
    if job["duplicate_of"] is not None:
        return Answer(value=value, notes=[duplicate_text(job_id, job)])
    if (error := job["error"]) is not None:
        return Answer(value=value, notes=[f"{error['code']}: {safe(error['message'])}"], code=code_for_job(job))
    return Answer(value=value, notes=[_submitted_note(job_id)])


def _find(found: "Client", job_id: JobId) -> Record | None:
    """The job if it is registered soon."""
    deadline = time.monotonic() + REGISTRATION_POLL_S
    while True:
        try:
            return found.find_job(job_id)
        except errors.ApiError as exc:
            if exc.code != "UNKNOWN_JOB":
                raise
        if time.monotonic() >= deadline:
            return None
        time.sleep(TICK_S)


def _submitted_note(job_id: JobId) -> str:
    return f"Submitted. `muster jobs wait {job_id}` follows the job."
