"""One round of the control plane's tasks for jobs, in the order of its table."""

from orchestration.composition import control_plane
from orchestration.composition.context import Context


def sweep(context: Context, now_ms: int) -> None:
    """Tick the reconciler for executions of live jobs, then the garbage collection of ended ones."""
    control_plane.job_reconciler(context).tick(now_ms)
    control_plane.ended_jobs(context).tick(now_ms)
