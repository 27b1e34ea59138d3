"""The control plane's looks at jobs, in the order of its table."""

from orchestration.context import Context
from orchestration.control.sweeper import Sweeper
from orchestration.control.table import job_reconciler


def sweep(context: Context, now_ms: int) -> None:
    """One look at the executions of live jobs, and at what ended ones have left."""
    job_reconciler(context).tick(now_ms)
    Sweeper(context).tick(now_ms)
