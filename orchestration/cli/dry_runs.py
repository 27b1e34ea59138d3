"""`muster import --dry-run`, as the service answers it."""

from dataclasses import dataclass
from typing import Any

from muster.records import Record
from orchestration.cli.console import print_line, print_pairs
from orchestration.cli.formatting import number, safe
from orchestration.cli.quotes import print_quote
from orchestration.cli.rendering import column_pairs, kept_text, value_pairs


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
