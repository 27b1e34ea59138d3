"""One round of the control plane's tasks for jobs, in the order of its table."""

from orchestration.context import Context
from orchestration.control import wiring


def sweep(context: Context, now_ms: int) -> None:
    """Tick the reconciler for executions of live jobs, then the garbage collection of ended ones."""
    wiring.job_reconciler(context).tick(now_ms)
    wiring.ended_jobs(context).tick(now_ms)
