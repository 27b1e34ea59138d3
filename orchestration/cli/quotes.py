"""A quote as text."""

from typing import TYPE_CHECKING

from orchestration.cli.console import print_line, print_table
from orchestration.cli.formatting import duration, size, usd
from orchestration.platform.deferred import deferred

if TYPE_CHECKING:
    from orchestration.quoting.quote import Quote

with deferred(__name__):
    from orchestration.quoting import bills
    from orchestration.quoting import quote as quoting


def print_quote(quote: "Quote") -> None:
    """Print where each stage would run, how long it takes and what it costs, and any obstacles."""
    print_line("")
    here = "" if quote.billed else "; here it costs nothing"
    print_line(f"on AWS, at list prices of {quote.prices_of} for {quote.region}{here}:")
    rows = [(stage.stage, stage.where, duration(stage.seconds), usd(stage.usd.total)) for stage in quote.stages]
    print_table(
        ("STAGE", "WHERE", "TIME", "USD"),
        [*rows, ("total", "", duration(quote.seconds), usd(quote.usd.total))],
        right=("TIME", "USD"),
    )
    print_line(
        f"including {usd(quote.paid_anyway.total)} USD for workers, which cost the same without a job; "
        f"{size(quote.kafka_gb * bills.GB)} of the brokers' disks for {quoting.RETENTION_DAYS:.0f} days"
        + (
            f"; {size(quote.lake_gb * bills.GB)} in the lake, {usd(quote.lake_usd_month)} USD a month"
            if quote.lake_gb
            else ""
        )
    )
    for obstacle in quote.obstacles:
        print_line(f"would not finish: {obstacle.code}: {obstacle.message}", style="red")
