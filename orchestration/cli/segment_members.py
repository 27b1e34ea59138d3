"""`muster segments members`."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import typer

from orchestration.cli import options, remote
from orchestration.cli.commands import Answer, command
from orchestration.cli.formatting import safe
from orchestration.cli.segment_commands import Name, segments
from orchestration.cli.session import SESSION
from orchestration.cli.sql_rows import Queried, Written, check_rows_file, queried, show_queried, written

MEMBERS: Final = "select user_id from segment($segment) where user_id > $after order by user_id"


@command(
    segments,
    "members",
    "muster segments members buyers",
    "muster segments members buyers --after ann --limit 1000 --json",
    "muster segments members buyers --to buyers.parquet",
    show=show_queried,
)
def members(
    *,
    name: Name,
    after: Annotated[str, typer.Option("--after", metavar="USER", help="Begin after this user id.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="List at most this many.")] = 100,
    to: options.RowsPath = None,
    overwrite: options.Overwrite = False,
    tenant: options.MeantTenant = None,
) -> Answer[Queried | Written]:
    """List the members of a segment by user id.

    By its rule over the archive, which is some seconds behind the topics. It needs the right to read users (analyst,
    engineer, admin), and the audit trail has each listing.
    """
    if to is not None:
        check_rows_file(to, overwrite=overwrite)
    found = SESSION.resources.enter_context(remote.service())
    with remote.translated():
        meant = remote.resolve_tenant(found, tenant)
        text = MEMBERS if to is not None else f"{MEMBERS} limit {limit}"
        streamed = found.stream_query(meant, text, parameters={"segment": name, "after": after})
        columns, rows = SESSION.resources.enter_context(streamed)
    if to is not None:
        return Answer(value=written(queried((columns, rows), limit=limit), to, overwrite=overwrite))
    listed: list[Sequence[Any]] = []
    asked = queried((columns, _remembering(rows, listed)), limit=limit)
    return Answer(value=asked, notes=_more(listed, limit))


def _remembering(rows: Iterator[Sequence[Any]], found: list[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    for row in rows:
        found.append(row)
        yield row


def _more(found: Sequence[Sequence[Any]], limit: int) -> Iterator[str]:
    """How to go on, once all rows have been printed."""
    if len(found) >= limit:
        yield f"--after {safe(found[-1][0])} lists the next ones; --to FILE writes all."
