"""Arguments and options shared by several commands."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, get_args

import typer

from orchestration.platform.deferred import deferred
from schemas.import_formats import ImportFormat
from schemas.text_form import DELIMITER_NAMES

with deferred(__name__):
    from orchestration.cli import spec_changes
    from segmentation.rules import windows

AnswerT = TypeVar("AnswerT")

Tenant = Annotated[str, typer.Option("--tenant", "-t", help="Name of the tenant.", metavar="TENANT")]
MeantTenant = Annotated[
    str | None, typer.Option("--tenant", "-t", metavar="TENANT", help="Name of the tenant [the only one you have].")
]
MeantJob = Annotated[
    str | None, typer.Argument(metavar="JOB", help="Job id, as `muster jobs list` shows it, or the beginning of it.")
]
Latest = Annotated[bool, typer.Option("--latest", help="Take the newest job.")]
AudienceArgument = Annotated[str, typer.Argument(metavar="AUDIENCE", help="Name of the audience.")]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Follow the job; the exit code reports its outcome.")]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", min=0, help="Stop waiting after this time, with exit code 6."),
]
Mode = Annotated[
    str | None, typer.Option("--mode", metavar="replace|append|remove", help="How the file changes the audience.")
]
IdColumn = Annotated[
    str | None, typer.Option("--id-column", metavar="NAME", help="Column with the user ids in the file [user_id].")
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="NAME[:TYPE][=SOURCE]",
        help="Extra column to keep (repeatable); types: string long double double:rounded boolean date timestamp.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="|".join(get_args(ImportFormat)), help="File format; overrides the file extension."
    ),
]
Timezone = Annotated[
    str | None,
    typer.Option("--timezone", metavar="ZONE", help="IANA time zone of timestamps without an offset."),
]
MaxRejectShare = Annotated[
    float | None,
    typer.Option("--max-reject-share", metavar="SHARE", help="Tolerated share of bad rows, from 0 to 1 [0]."),
]
AllowEmpty = Annotated[
    bool | None, typer.Option("--allow-empty/--refuse-empty", help="Accept or refuse a file without rows.")
]
AllowShrink = Annotated[
    bool, typer.Option("--allow-shrink", help="Publish regardless of how many members are removed.")
]
MaxShrink = Annotated[
    float | None,
    typer.Option(
        "--max-shrink", metavar="PERCENT", help="Refuse a version that loses more than this share of members [50]."
    ),
]
NullValues = Annotated[
    list[str] | None,
    typer.Option("--null", metavar="TEXT", help='Text that means "no value" in extra columns (repeatable) [""].'),
]
DelimiterOption = Annotated[
    str | None,
    typer.Option("--delimiter", metavar="|".join(DELIMITER_NAMES), help="Character between the fields of CSV [comma]."),
]
EncodingOption = Annotated[
    str | None, typer.Option("--encoding", metavar="NAME", help="Encoding of CSV, such as cp932 [utf-8].")
]
DropColumns = Annotated[
    list[str] | None,
    typer.Option("--drop-column", metavar="NAME", help="Column that the audience may lose (repeatable)."),
]
Retyped = Annotated[
    list[str] | None,
    typer.Option("--retype", metavar="NAME", help="Column whose type --column may change (repeatable)."),
]
MissingColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-missing-column", metavar="NAME", help="Column that the file may lack: it is then null (repeatable)."
    ),
]
OnlyTenant = Annotated[str | None, typer.Option("--tenant", "-t", metavar="TENANT", help="Limit to this tenant.")]
OnlyAudience = Annotated[str | None, typer.Option("--audience", "-a", metavar="NAME", help="Limit to this audience.")]
OnlyStates = Annotated[
    list[str] | None, typer.Option("--state", metavar="STATE", help="Limit to this state (repeatable).")
]
NewestLimit = Annotated[int, typer.Option("--limit", min=1, help="Show at most this many, the newest ones.")]
Emails = Annotated[
    list[str] | None,
    typer.Option("--notify-email", metavar="USER@HOST", help="Address to notify by mail (repeatable)."),
]
Webhooks = Annotated[
    list[str] | None, typer.Option("--notify-webhook", metavar="URL", help="URL to notify by webhook (repeatable).")
]
Nobody = Annotated[bool, typer.Option("--notify-nobody", help="Remove all recipients that are not named here.")]
SnapshotAudience = Annotated[
    str | None, typer.Option("--audience", "-a", metavar="NAME", help="Target audience [SEGMENT-snapshot].")
]
AllowSnapshotShrink = Annotated[
    bool, typer.Option("--allow-shrink", help="Publish regardless of how many members are removed.")
]
OutputPath = Annotated[
    Path | None, typer.Option("--to", metavar="PATH", help="Write all of them to this Parquet file.")
]
RowsPath = Annotated[
    Path | None,
    typer.Option("--to", metavar="FILE", help="Write all rows to this file, by its end as Parquet, CSV or JSON Lines."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing FILE.")]


SETTINGS: Final = {
    "mode": "mode",
    "id-column": "id_column",
    "column": "columns",
    "format": "format",
    "timezone": "timezone",
    "max-reject-share": "max_reject_share",
    "allow-empty": "allow_empty",
    "null": "null_values",
    "delimiter": "delimiter",
    "encoding": "encoding",
    "drop-column": "drop_columns",
    "retype": "retype_columns",
    "allow-missing-column": "allow_missing_columns",
}
"""Settings by their options, without --max-shrink, which has a value for "no limit": none means something else."""


def unset(option: str, names: Sequence[str], known: Mapping[str, str], given: Collection[str]) -> dict[str, None]:
    """None for each setting whose option `option` names; `known` are settings by their options.

    Raises `typer.BadParameter` for an unknown option, and for one whose setting is also `given`.
    """
    if unknown := sorted(set(names) - known.keys()):
        raise typer.BadParameter(f"{option} takes {', '.join(known)}, not {unknown[0]!r}")
    if both := [name for name in names if known[name] in given]:
        raise typer.BadParameter(f"give --{both[0]} or {option} {both[0]}, not both")
    return {known[name]: None for name in names}


def import_settings(
    *,
    mode: Mode = None,
    id_column: IdColumn = None,
    column: Columns = None,
    format_: Format = None,
    timezone: Timezone = None,
    max_reject_share: MaxRejectShare = None,
    allow_empty: AllowEmpty = None,
    allow_shrink: AllowShrink = False,
    max_shrink: MaxShrink = None,
    null: NullValues = None,
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    drop_column: DropColumns = None,
    retype: Retyped = None,
    allow_missing_column: MissingColumns = None,
) -> dict[str, Any]:
    """The options of an import spec as changes. Raises `UserError` BAD_COLUMN, BAD_SPEC."""
    if allow_shrink and max_shrink is not None:
        raise typer.BadParameter("give --allow-shrink or --max-shrink, not both")
    return spec_changes.spec_changes(
        mode=mode,
        id_column=id_column,
        columns=column or (),
        format_=format_,
        timezone=timezone,
        max_reject_share=max_reject_share,
        allow_empty=allow_empty,
        allow_shrink=allow_shrink,
        max_shrink=max_shrink,
        null_values=null or (),
        delimiter=delimiter,
        encoding=encoding,
        drop_columns=drop_column or (),
        retype_columns=retype or (),
        allow_missing_columns=allow_missing_column or (),
    )


def with_import_settings(function: Callable[..., AnswerT]) -> Callable[..., AnswerT]:
    """Replace a command's parameter `changes` with the options of `import_settings`; it receives their values."""
    shared = signature(import_settings).parameters
    return with_options(function, "changes", list(shared.values()), lambda given: import_settings(**given))


def with_options(
    function: Callable[..., AnswerT],
    instead: str,
    shared: Sequence[Parameter],
    read: Callable[[dict[str, Any]], Any] = lambda given: given,
) -> Callable[..., AnswerT]:
    """Replace a command's parameter `instead` with the `shared` options; it receives what `read` makes of them."""
    own = signature(function).parameters
    parameters = [p for name, q in own.items() for p in (shared if name == instead else (q,))]

    @wraps(function)
    def command(**given: Any) -> AnswerT:
        found = read({p.name: given.pop(p.name) for p in shared})
        return function(**{instead: found}, **given)

    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    return command


def window_s(text: str, option: str) -> int:
    """Parse the value of an option as a window of rules, such as 1d12h, in seconds."""
    if not (seconds := windows.window(text.strip())):
        raise typer.BadParameter(f"{text!r} is not a time such as 90m, 12h or 1d12h", param_hint=option)
    if windows.is_ambiguous(text):
        raise typer.BadParameter(f"{text!r}: expected {windows.MINUTES}", param_hint=option)
    return seconds


def instant(text: str, option: str) -> datetime:
    """Parse the value of an option as a time with an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise typer.BadParameter(f"{text!r} is not an ISO 8601 time", param_hint=option) from exc
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text} has no offset; for UTC, write {text}Z", param_hint=option)
    return moment
