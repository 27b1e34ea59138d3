"""The control plane's looks at jobs, in the order of its table."""

from orchestration.context import Context
from orchestration.control import wiring


def sweep(context: Context, now_ms: int) -> None:
    """One look at the executions of live jobs, and at what ended ones have left."""
    wiring.job_reconciler(context).tick(now_ms)
    wiring.ended_jobs(context).tick(now_ms)
