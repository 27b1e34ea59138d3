"""Turns a run of a recurring export into a definite request: its id, and its address."""

from collections.abc import Mapping

from orchestration.kinds.scheduled import resolve


def resolve_scheduled(event: object) -> object:
    """The event with a definite request if a schedule sent it; any other event unchanged.

    Raises `UserError` BAD_EVENT, BAD_PLACEHOLDER.
    """
    resolved, scheduled_run = resolve(event, "export")
    if scheduled_run is None or not isinstance(resolved, Mapping):
        return event
    return {"export": {**resolved["export"], "schedule": scheduled_run.schedule_id}}
