"""Notify, for an execution that could not register a job."""

from collections.abc import Mapping
from typing import Any

from orchestration.kinds.fail import error_of
from orchestration.notifications.notices import Notices
from orchestration.platform.clock import now_ms


def notify_unregistered(notices: Notices, event: object, failure: Mapping[str, Any], execution: str) -> None:
    """Tell the operators that an import could not be registered: `failure` says why.

    `event` is what the execution was started with, whatever that is; it may name the object.
    """
    cause = error_of(failure)
    told = {"kind": cause.kind, "code": cause.code, "message": cause.message}
    rows = notices.of_unregistered(event, execution, told, now_ms())
    notices.courier().deliver_at_once(rows)
