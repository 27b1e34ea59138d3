"""`muster import --dry-run`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.cli.commands import Answer
from orchestration.cli.console import print_line, print_pairs
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import number, safe
from orchestration.cli.quotes import print_quote
from orchestration.cli.rendering import column_pairs, local_line
from orchestration.cli.screen import screen
from orchestration.platform.deferred import deferred
from schemas.ids import tenant_name
from schemas.import_targets import kind_of_target, target_name

if TYPE_CHECKING:
    from connectors.sources.parsing import ParseProgress
    from orchestration.context import Context
    from orchestration.operations.activity_dry_run import ActivityDryRun
    from orchestration.operations.dry_run import DryRun
    from orchestration.quoting.quote import Quote

with deferred(__name__):
    from orchestration.operations import activity_dry_run, quoting, submit, wiring


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunView:
    """The result an import would have, and its cost."""

    result: "DryRun | ActivityDryRun"
    quote: "Quote"

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {**self.result.as_record(), "quote": self.quote.as_record()}


def run_dry(context: "Context", source: str, tenant: str, audience: str, overrides: dict[str, Any]) -> Answer[Any]:
    """Verify a file, and report the result, duration and cost its import would have."""
    kind = kind_of_target(audience)
    names = tenant_name(tenant), target_name(audience)
    if source.startswith("s3://"):
        pinned: Any = context.objects.pin(*submit.source_of(context.settings, names[0], source))
    else:
        pinned = Path(source)
        submit.check_readable(pinned)
    prices = quoting.prices_of(context.settings)  # report a broken price file before reading a large file
    began = time.monotonic()
    with screen() as display:

        def report(p: "ParseProgress") -> None:
            elapsed = time.monotonic() - began
            line = local_line("verify", p.source_bytes, p.source_size or 0, elapsed, rows=p.rows)
            display.show([line], line.strip())

        result: DryRun | ActivityDryRun
        if kind == "audience":
            result = wiring.dry_runs(context).run(
                pinned, tenant=names[0], audience=names[1], overrides=overrides, on_progress=report
            )
        else:
            result = wiring.activity_dry_runs(context).run(
                pinned, tenant=names[0], kind=kind, overrides=overrides, on_progress=report
            )
    view = DryRunView(
        result=result,
        quote=quoting.quote_of(pinned, result, prices, objects=context.objects, settings=context.settings),
    )
    return Answer(value=view, code=ExitCode.USER_ERROR if result.problems else ExitCode.OK)


def show_dry_run(view: DryRunView) -> None:
    """Print the result an import would have, then its quote."""
    if isinstance(view.result, activity_dry_run.ActivityDryRun):
        _show_activity(view.result)
    else:
        _show_audience(view.result)
    print_quote(view.quote)


def _show_audience(result: "DryRun") -> None:
    counts = result.counts
    base = "no version yet" if counts.base_version is None else f"version {counts.base_version}"
    by_code = ", ".join(f"{code} {number(n)}" for code, n in result.rejected_by_code.items())
    print_pairs(
        [
            ("dry run", f"{result.mode} on {base}; nothing was changed"),
            (
                "rows",
                f"{number(result.rows)} = {number(result.accepted)} accepted + {number(result.rejected)} rejected",
            ),
            ("rejected", by_code or "none"),
            ("duplicates", number(result.duplicates)),
            ("added", number(counts.added)),
            ("removed", number(counts.removed)),
            ("kept", number(counts.kept)),
            ("members", f"{number(counts.members)}, now {number(counts.base)}"),
            *column_pairs(
                result.columns.as_record(),
                None if result.column_changes is None else result.column_changes.as_record(),
            ),
        ]
    )
    for problem in result.problems:
        print_line(f"would be refused: {problem.code}: {safe(problem.message)}", style="red")
    if not result.problems:
        print_line("would be published")


def _show_activity(result: "ActivityDryRun") -> None:
    by_code = ", ".join(f"{code} {number(n)}" for code, n in result.rejected_by_code.items())
    print_pairs(
        [
            ("dry run", f"{result.kind}; nothing was sent"),
            (
                "rows",
                f"{number(result.rows)} = {number(result.accepted)} accepted + {number(result.rejected)} rejected",
            ),
            ("rejected", by_code or "none"),
            ("columns", ", ".join(safe(f"{c.name}:{c.type}") for c in result.columns)),
        ]
    )
    for problem in result.problems:
        print_line(f"would be refused: {problem.code}: {safe(problem.message)}", style="red")
    if not result.problems:
        print_line(f"would be sent: {number(result.accepted)} rows to {len(result.partitions)} partitions")
