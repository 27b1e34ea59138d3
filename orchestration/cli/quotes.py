"""A quote as text."""

from typing import Final

from muster.records import Record
from orchestration.cli.console import print_line, print_table
from orchestration.cli.formatting import duration, size, usd

GB: Final = 10**9


def print_quote(quote: Record) -> None:
    """Print where each stage would run, how long it takes and what it costs, and any obstacles."""
    print_line("")
    here = "" if quote["billed"] else "; here it costs nothing"
    print_line(f"on AWS, at list prices of {quote['prices_of']} for {quote['region']}{here}:")
    rows = [(s["stage"], s["where"], duration(s["seconds"]), usd(s["usd"]["total"])) for s in quote["stages"]]
    print_table(
        ("STAGE", "WHERE", "TIME", "USD"),
        [*rows, ("total", "", duration(quote["seconds"]), usd(quote["usd"]["total"]))],
        right=("TIME", "USD"),
    )
    print_line(
        f"including {usd(quote['paid_anyway_usd'])} USD for workers, which cost the same without a job; "
        f"{size(quote['kafka_gb'] * GB)} of the brokers' disks for {quote['kafka_days']:.0f} days"
        + (
            f"; {size(quote['lake_gb'] * GB)} in the lake, {usd(quote['lake_usd_month'])} USD a month"
            if quote["lake_gb"]
            else ""
        )
    )
    for obstacle in quote["warnings"]:
        print_line(f"would not finish: {obstacle['code']}: {obstacle['message']}", style="red")
