"""`muster import --dry-run`, as the service answers it."""

from dataclasses import dataclass
from typing import Any, Final

from muster.records import Record
from orchestration.cli.console import print_line, print_pairs, print_table
from orchestration.cli.formatting import duration, number, safe, size, usd
from orchestration.cli.rendering import column_pairs, kept_text, value_pairs

GB: Final = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunView:
    """The result an import would have, and its cost."""

    result: Record

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        return dict(self.result)


def show_dry_run(view: DryRunView) -> None:
    """Print the result an import would have, then its quote."""
    result = view.result
    if "membership" in result:
        _show_audience(result)
    else:
        _show_activity(result)
    print_quote(result["quote"])


def print_quote(quote: Record) -> None:
    """Print where each stage would run, how long it takes and what it costs, and any obstacles."""
    print_line("")
    here = "" if quote["billed"] else "; here it costs nothing"
    print_line(f"on AWS, at list prices of {quote['prices_of']} for {quote['region']}{here}:")
    rows = [(s["stage"], _where(s), duration(s["seconds"]), usd(s["usd"]["total"])) for s in quote["stages"]]
    print_table(
        ("STAGE", "WHERE", "TIME", "USD"),
        [*rows, ("total", "", duration(quote["seconds"]), usd(quote["usd"]["total"]))],
        right=("TIME", "USD"),
    )
    print_line(
        (
            f"including {usd(quote['paid_anyway_usd'])} USD for workers, which cost the same without a job; "
            if quote["paid_anyway_usd"]
            else ""
        )
        + f"{size(quote['kafka_gb'] * GB)} of the brokers' disks for {quote['kafka_days']:.0f} days"
        + (
            f"; {size(quote['lake_gb'] * GB)} in the lake, {usd(quote['lake_usd_month'])} USD a month"
            if quote["lake_gb"]
            else ""
        )
    )
    for obstacle in quote["warnings"]:
        print_line(f"would not finish: {obstacle['code']}: {obstacle['message']}", style="red")


def _where(stage: Record) -> str:
    runs, at_once = stage["runs"], stage["at_once"]
    return str(stage["where"]) if runs == 1 else f"{number(runs)} x {stage['where']}, {number(at_once)} at once"


def _row_pairs(result: Record) -> list[tuple[str, object]]:
    rows, accepted, rejected = (number(result[name]) for name in ("rows", "accepted", "rejected"))
    by_code = ", ".join(f"{code} {number(n)}" for code, n in result["rejected_by_code"].items())
    return [("rows", f"{rows} = {accepted} accepted + {rejected} rejected"), ("rejected", by_code or "none")]


def _show_audience(result: Record) -> None:
    counts = result["membership"]
    base = "no version yet" if counts["base_version"] is None else f"version {counts['base_version']}"
    print_pairs(
        [
            ("dry run", f"{result['mode']} on {base}; nothing was changed"),
            *_row_pairs(result),
            ("duplicates", number(result["duplicates"])),
            *((name, number(counts[name])) for name in ("added", "removed")),
            ("kept", kept_text(counts)),
            ("members", f"{number(counts['members'])}, now {number(counts['base'])}"),
            *column_pairs(result["columns"], result["column_changes"]),
            *value_pairs(result),
        ]
    )
    _show_problems(result)
    if not result["problems"]:
        print_line("would be published")


def _show_activity(result: Record) -> None:
    columns = ", ".join(safe(f"{c['name']}:{c['type']}") for c in result["columns"])
    print_pairs([("dry run", f"{result['kind']}; nothing was sent"), *_row_pairs(result), ("columns", columns)])
    _show_problems(result)
    if not result["problems"]:
        sent, partitions = number(result["accepted"]), len(result["partitions"])
        print_line(f"would be sent: {sent} rows to {partitions} partitions")


def _show_problems(result: Record) -> None:
    for problem in result["problems"]:
        print_line(f"would be refused: {problem['code']}: {safe(problem['message'])}", style="red")
