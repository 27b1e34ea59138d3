"""`muster import --dry-run`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.cli.console import print_json, print_line, print_pairs
from orchestration.cli.exits import ExitCode
from orchestration.cli.formatting import number, safe
from orchestration.cli.rendering import column_pairs
from orchestration.cli.session import SESSION

if TYPE_CHECKING:
    from orchestration.context import Context
    from orchestration.operations.activity_dry_run import ActivityDryRun
    from orchestration.operations.dry_run import DryRun


def run_dry(context: "Context", source: str, tenant: str, audience: str, overrides: dict[str, Any]) -> ExitCode:
    """Verify a file, and say what its import would come to, how long it would take and what it would cost."""
    from connectors.sources.parsing import ParseProgress
    from orchestration.cli.quotes import print_quote
    from orchestration.cli.rendering import stage_line
    from orchestration.cli.screen import screen
    from orchestration.operations.activity_dry_run import ActivityDryRun, activity_dry_run
    from orchestration.operations.dry_run import DryRun, dry_run
    from orchestration.operations.follow import StageView
    from orchestration.operations.quoting import prices_of, quote_of
    from orchestration.operations.submit import check_readable, source_of
    from schemas.ids import tenant_name
    from schemas.import_targets import kind_of_target, target_name

    kind = kind_of_target(audience)
    names = tenant_name(tenant), target_name(audience)
    if source.startswith("s3://"):
        pinned: Any = context.objects.pin(*source_of(context, names[0], source))
    else:
        pinned = Path(source)
        check_readable(pinned)
    prices = prices_of(context.settings)  # a broken file of prices is told before a large file is read
    began = time.monotonic()
    with screen() as place:

        def report(p: ParseProgress) -> None:
            elapsed = time.monotonic() - began
            total = p.source_size or 0
            speed = p.source_bytes / elapsed if elapsed > 0 and p.source_bytes else None
            line = stage_line(
                StageView(
                    name="verify",
                    state="running",
                    done=p.source_bytes,
                    total=total,
                    unit="bytes",
                    rows=p.rows,
                    rate=speed,
                    left_s=(total - p.source_bytes) / speed if speed else None,
                )
            )
            place.show([line], line.strip())

        result: DryRun | ActivityDryRun
        if kind == "audience":
            result = dry_run(
                context, pinned, tenant=names[0], audience=names[1], overrides=overrides, on_progress=report
            )
        else:
            result = activity_dry_run(
                context, pinned, tenant=names[0], kind=kind, overrides=overrides, on_progress=report
            )
    quoted = quote_of(context, pinned, result, prices)
    if SESSION.json:
        print_json({**result.as_record(), "quote": quoted.as_record()})
        return ExitCode.USER_ERROR if result.problems else ExitCode.OK
    if isinstance(result, ActivityDryRun):
        _print_activity(result)
    else:
        _print_dry_run(result)
    print_quote(quoted)
    return ExitCode.USER_ERROR if result.problems else ExitCode.OK


def _print_dry_run(result: "DryRun") -> None:
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


def _print_activity(result: "ActivityDryRun") -> None:
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
